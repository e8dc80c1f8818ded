//! Which of the variants that prove right is fastest: the products are timed on matrices of the model,
//! once, and the times are kept beside the pipeline cache. They only order the candidates, each of
//! which is validated at every start.

use super::device::Device;
use super::format::PIECE;
use super::kernel::Kernel;
use super::params::{self, Finish, Norm};
use super::permutations::FIRST_ON_CPU;
use super::pipelines::{Pipeline, Pipelines};
use super::plan::{Arena, Split};
use super::variants::Variant;
use super::weights::{Stack, Weights};
use crate::engine::KvType;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wgpu::{Buffer, BufferUsages};

/// What the measurements of a start may take together.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);
/// What one of them takes, about.
const RUN: Duration = Duration::from_millis(4);
/// Most dispatches of one.
const MOST_RUNS: u32 = 64;
/// The most rows that are multiplied.
const MOST_ROWS: u32 = 2048;

/// The last line of the file.
const END: &str = "end\n";

/// Nanoseconds by what was computed and by variant.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Times(BTreeMap<String, BTreeMap<String, u64>>);

impl Times {
    /// Those in a file that were measured on `device`; none if it is damaged or of another device.
    pub fn read(text: &str, device: &str) -> Times {
        Times::parse(text, device).unwrap_or_default()
    }

    fn parse(text: &str, device: &str) -> Option<Times> {
        let mut lines = text.strip_suffix(END)?.lines();
        if lines.next()? != device {
            return None;
        }
        let mut times = Times::default();
        for line in lines {
            let mut fields = line.split('\t');
            let nanoseconds = fields.next()?.parse().ok()?;
            times.add(fields.next()?, fields.next()?, nanoseconds);
            if fields.next().is_some() {
                return None;
            }
        }
        Some(times)
    }

    pub fn write(&self, device: &str) -> String {
        let entries = self.0.iter().flat_map(|(what, variants)| {
            variants.iter().map(move |(variant, time)| format!("{time}\t{what}\t{variant}\n"))
        });
        std::iter::once(format!("{device}\n")).chain(entries).collect::<String>() + END
    }

    fn add(&mut self, what: &str, variant: &str, nanoseconds: u64) {
        self.0.entry(what.into()).or_default().insert(variant.into(), nanoseconds);
    }

    /// Variants and their times, the fastest first.
    fn of(&self, what: &str) -> Vec<(&str, u64)> {
        let variants = self.0.get(what).into_iter().flatten();
        let mut sorted: Vec<_> = variants.map(|(name, time)| (&**name, *time)).collect();
        sorted.sort_by_key(|(_, time)| *time);
        sorted
    }
}

/// The products of a model whose variants were timed, and the variants, the fastest first.
#[derive(Debug, Default)]
pub(super) struct Choices(Vec<(Kernel, Vec<(String, u64)>)>);

impl Choices {
    fn of(&self, kernel: Kernel) -> &[(String, u64)] {
        let timed = timed(kernel);
        let found = self.0.iter().find(|(other, _)| timed == Some(*other));
        found.map_or(&[], |(_, variants)| variants)
    }

    /// Moves the variants to the front that have most in common with the fastest.
    pub fn order(&self, kernel: Kernel, variants: &mut [Variant]) {
        if let Some((fastest, _)) = self.of(kernel).first() {
            let words: Vec<&str> = fastest.split(' ').collect();
            variants.sort_by_key(|variant| {
                let in_common = variant.name.split(' ').filter(|word| words.contains(word));
                std::cmp::Reverse(in_common.count())
            });
        }
    }

    /// What was measured, as text.
    pub fn describe(&self, kernel: Kernel) -> String {
        let all = self.of(kernel).iter();
        all.map(|(name, time)| format!("; {name} took {:.3} ms", *time as f64 / 1e6)).collect()
    }
}

/// The product that is timed for a kernel: that of the same format that ends in the simplest way.
fn timed(kernel: Kernel) -> Option<Kernel> {
    match kernel {
        Kernel::Matmul { format, rounded, .. } => {
            Some(Kernel::Matmul { format, finish: Finish::Store, rounded })
        }
        Kernel::Matvec { format, .. } => Some(Kernel::Matvec {
            format,
            norm: Norm::None,
            finish: Finish::Store,
            kv: KvType::F16,
        }),
        _ => None,
    }
}

/// The variants that differ in more than how they convert halves, in order, alternatives together.
fn candidates(variants: Vec<Variant>) -> Vec<Vec<Variant>> {
    let key = |variant: &Variant| -> Vec<String> {
        let words = variant.name.split(' ').filter(|word| !word.starts_with("half_"));
        words.map(str::to_owned).collect()
    };
    let mut all: Vec<Vec<Variant>> = Vec::new();
    for variant in variants {
        match all.iter_mut().find(|alternatives| key(&alternatives[0]) == key(&variant)) {
            Some(alternatives) => alternatives.push(variant),
            None => all.push(vec![variant]),
        }
    }
    all
}

impl Pipelines {
    /// Times the variants of the products of a model, those that are not in `times`, as long as
    /// the patience lasts.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; what else goes wrong leaves the variants in their usual order.
    pub fn choose(
        &self,
        weights: &Weights,
        times: &mut Times,
        patience: Duration,
    ) -> Result<Choices> {
        let mut choices = Choices::default();
        let mut left = patience;
        let mut formats = Vec::new();
        let tokens = self.device().block;
        for stack in weights.stacks() {
            if formats.contains(&stack.format) {
                continue;
            }
            formats.push(stack.format);
            let format = stack.format;
            let kv = KvType::F16;
            for kernel in [
                Kernel::Matmul { format, finish: Finish::Store, rounded: self.rounded },
                Kernel::Matvec { format, norm: Norm::None, finish: Finish::Store, kv },
            ] {
                let what = format!("{kernel}, {} x {} x {tokens}", rows(stack), stack.cols);
                if times.of(&what).is_empty() {
                    match self.time_all(kernel, stack, &mut left) {
                        Ok(found) => {
                            found.iter().for_each(|(name, time)| times.add(&what, name, *time));
                        }
                        Err(e @ Error::DeviceLost(_)) => return Err(e),
                        Err(e) => log::warn!("the variants of {what} can't be timed: {e}"),
                    }
                }
                let found = times.of(&what).into_iter().map(|(name, time)| (name.to_owned(), time));
                choices.0.push((kernel, found.collect()));
            }
        }
        Ok(choices)
    }

    fn time_all(
        &self,
        kernel: Kernel,
        stack: &Stack,
        left: &mut Duration,
    ) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let abilities = self.device().abilities();
        let mut variants = kernel.variants(abilities);
        // What is made for a CPU takes long elsewhere.
        let for_cpu =
            |variant: &Variant| FIRST_ON_CPU.iter().any(|file| variant.name.contains(file));
        variants.retain(|variant| abilities.software || !for_cpu(variant));
        let candidates = candidates(variants);
        if candidates.len() < 2 {
            return Ok(found);
        }
        let bench = Bench::new(self.device(), stack)?;
        for alternatives in candidates {
            if left.is_zero() {
                break;
            }
            // One without a variant that proves right is not a candidate.
            let pipeline = match self.best_of(kernel, &alternatives) {
                Ok(pipeline) => pipeline,
                Err(e @ Error::DeviceLost(_)) => return Err(e),
                Err(_) => continue,
            };
            let start = Instant::now();
            let time = bench.time(&pipeline)?;
            *left = left.saturating_sub(start.elapsed());
            found.push((pipeline.variant, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)));
        }
        Ok(found)
    }
}

/// Rows of a stack that are multiplied.
fn rows(stack: &Stack) -> u32 {
    stack.parts.first().map_or(0, |part| part.rows.min(MOST_ROWS))
}

/// A product of a stack with inputs of zeros.
struct Bench<'a> {
    device: &'a Device,
    stack: &'a Stack,
    x: Buffer,
    out: Buffer,
    kept: Buffer,
    arena: Buffer,
    tokens: u32,
}

impl<'a> Bench<'a> {
    fn new(device: &'a Device, stack: &'a Stack) -> Result<Bench<'a>> {
        let what = "a measurement";
        let mut arena = Arena::new(Vec::new());
        arena.begin(device.block, Split::WHOLE);
        let words = arena.words();
        let values = |row: u32| 4 * device.block as u64 * u64::from(row);
        let bench = Bench {
            device,
            stack,
            x: device.storage(values(stack.pieces * PIECE as u32), what)?,
            out: device.storage(values(rows(stack)), what)?,
            kept: device.storage(16, what)?,
            arena: device.storage(4 * words.len() as u64, what)?,
            tokens: device.block as u32,
        };
        device.queue.write_buffer(&bench.arena, 0, bytemuck::cast_slice(words));
        Ok(bench)
    }

    /// How long a dispatch takes.
    fn time(&self, pipeline: &Pipeline) -> Result<Duration> {
        let Some(part) = self.stack.parts.first() else { return Ok(Duration::ZERO) };
        let (rows, pieces) = (rows(self.stack), self.stack.pieces);
        let Bench { device, x, out, kept, arena, tokens, .. } = self;
        let (quants, scales) = (&part.quants, &part.scales);
        let (params, buffers, items) = match pipeline.kernel {
            Kernel::Matmul { .. } => {
                let (x_stride, out_stride) = (pieces * PIECE as u32 / 4, rows);
                let part_pieces = pieces;
                let p = params::Matmul {
                    rows,
                    pieces,
                    x_stride,
                    out_stride,
                    part_pieces,
                    ..Default::default()
                };
                let params = bytemuck::bytes_of(&p).to_vec();
                (params, vec![quants, scales, x, out, arena, kept], [rows, *tokens, 1])
            }
            _ => {
                let segment = u32::MAX;
                let p = params::Matvec { rows, pieces, segment, ..Default::default() };
                let params = bytemuck::bytes_of(&p).to_vec();
                (params, vec![quants, scales, x, x, out, arena, kept], [rows / 4, 1, 1])
            }
        };
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let uniform = device.buffer(params.len() as u64, usage, "a measurement")?;
        device.queue.write_buffer(&uniform, 0, &params);
        let bound = std::iter::once(&uniform).chain(buffers);
        let group = device.bind(&pipeline.layout, bound, "a measurement")?;
        let run = |times: u32| -> Result<Duration> {
            let commands = device.commands(|encoder| {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&pipeline.inner);
                pass.set_bind_group(0, &group, &[]);
                let [x, y, z] = pipeline.grid(items);
                (0..times).for_each(|_| pass.dispatch_workgroups(x, y, z));
            })?;
            let start = Instant::now();
            device.submit([commands])?;
            device.wait()?;
            Ok(start.elapsed() / times)
        };
        // The first one pays for whatever the driver puts off.
        run(1)?;
        let once = run(1)?.max(Duration::from_nanos(1));
        let times = (RUN.as_nanos() / once.as_nanos()).clamp(1, u128::from(MOST_RUNS)) as u32;
        Ok(run(times)?.min(run(times)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        let mut times = Times::default();
        times.add("matmul Q4_0, Store, 64 x 64", "matmul format_q4_0 half_builtin", 2000);
        times.add("matmul Q4_0, Store, 64 x 64", "matmul_small format_q4_0 half_builtin", 1000);
        times
    }

    #[test]
    fn times_are_read_as_they_were_written_and_only_on_their_device() {
        let text = times().write("a GPU, version 1");
        assert_eq!(Times::read(&text, "a GPU, version 1"), times());
        assert_eq!(Times::read(&text, "a GPU, version 2"), Times::default());
        assert_eq!(times().of("matmul Q4_0, Store, 64 x 64")[0].1, 1000);
        assert!(times().of("matmul Q4_1, Store, 64 x 64").is_empty());
    }

    #[test]
    fn damaged_times_count_as_none() {
        let text = times().write("a GPU");
        for end in 0..text.len() {
            assert_eq!(Times::read(&text[..end], "a GPU"), Times::default(), "{end}");
        }
        for line in ["x\ta\tb\n", "-1\ta\tb\n", "1\ta\n", "1\ta\tb\tc\n", "\n"] {
            let text = text.replace(END, line) + END;
            assert_eq!(Times::read(&text, "a GPU"), Times::default(), "{line}");
        }
    }
}
