//! `attamba quantize`: a model file in another format.

use crate::common::{self, FileArgs, size};
use crate::interrupt::{Interrupt, Interrupted, Second};
use anyhow::Result;
use attamba::gguf::{Tensor, Writer};
use attamba::quant::{self, DType};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// Convert a model to another type
///
/// Matrices are converted, everything else is copied unchanged: norms and other vectors are small
/// and keep their precision. TYPE is one of F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, Q4_0, Q4_1,
/// IQ4_NL, Q3_K; the last two are slow to run.
///
/// The embedding and the output matrix matter most. With a TYPE of five bits or fewer they become
/// Q6_K unless --embedding says otherwise. If the rows of a matrix don't fill the blocks of a type,
/// the nearest type that they fill is used: Q8_0 for Q6_K and Q5_K, Q4_1 for Q4_K, IQ4_NL for Q3_K,
/// F16 for the others.
///
/// A type with fewer bits than the input's loses precision; start from F16 or F32 if you can. OUT
/// is written completely or not at all.
///
/// Example: attamba quantize model-f16.gguf model-q4.gguf Q4_K
#[derive(clap::Args)]
pub struct Args {
    /// Model file to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Model file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Type of the matrices
    #[arg(value_name = "TYPE", value_parser = writable)]
    dtype: DType,
    /// Type of the embedding and the output matrix
    #[arg(long, value_name = "TYPE", value_parser = writable)]
    embedding: Option<DType>,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    file: FileArgs,
    /// Threads [default: the performance cores]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

/// The conversion of one tensor.
struct Plan<'a> {
    tensor: Tensor<'a>,
    from: DType,
    /// What the user requested.
    wanted: DType,
    /// That type, or the nearest possible one.
    to: DType,
    /// Values per row.
    columns: usize,
}

pub fn run(args: Args) -> Result<()> {
    common::check_output(&args.output, &[&args.input], args.force)?;
    let gguf = args.file.gguf(&args.input)?;
    let plans = gguf.tensors().map(|t| Plan::new(t, &args)).collect::<Result<Vec<_>>>()?;
    if plans.iter().any(|p| p.from.block_len() > 1 && p.to != p.from) {
        common::note(format_args!(
            "{} is already quantized: the lost precision can't be recovered",
            args.input.display()
        ));
    }

    tell_of_others(&plans);

    let mut writer = Writer::default();
    writer.copy_metadata(&gguf, |_| true);
    writer.set("general.file_type", file_type(args.dtype));
    // The version of ggml's block formats; it has been 2 since 2023.
    writer.set("general.quantization_version", 2);
    for plan in &plans {
        let shape = plan.tensor.dims().iter().rev().map(|&d| usize::try_from(d));
        writer.tensor(plan.tensor.name(), &shape.collect::<Result<Vec<_>, _>>()?, plan.to)?;
    }

    let threads = args.threads.map_or_else(attamba::default_threads, usize::from);
    let interrupt = Interrupt::install(None, Second::Waits)?;
    let bar = ProgressBar::new(plans.iter().map(|p| p.tensor.data().len() as u64).sum());
    bar.set_style(ProgressStyle::with_template("{bar:32} {bytes} of {total_bytes}, {eta} left")?);
    let written = writer.write_file(&args.output, |index, sink| {
        let plan = &plans[index];
        plan.write(plan.tensor.data(), threads, sink, &mut |bytes| {
            bar.inc(bytes);
            // Any error will do: it makes the writer remove the unfinished file.
            if interrupt.is_set() { Err(io::Error::other(Interrupted)) } else { Ok(()) }
        })?;
        plan.tensor.release();
        Ok(())
    });
    bar.finish_and_clear();
    if written.is_err() && interrupt.is_set() {
        return Err(Interrupted.into());
    }
    written?;

    let bytes = std::fs::metadata(&args.output).map_or(0, |m| m.len());
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {}, from {}",
        args.output.display(),
        size(bytes),
        size(gguf.file_bytes() as u64)
    )?;
    Ok(out.flush()?)
}

/// Reports which matrices get another type than requested: one line per row length, since models
/// have few of these and many matrices.
fn tell_of_others(plans: &[Plan]) {
    let mut others: Vec<&Plan> = plans.iter().filter(|p| p.to != p.wanted).collect();
    others.sort_by_key(|p| (p.columns, p.wanted as u32));
    for same in others.chunk_by(|a, b| (a.columns, a.wanted) == (b.columns, b.wanted)) {
        let Plan { tensor, wanted, to, columns, .. } = same[0];
        let name = common::printable(tensor.name());
        let more = match same.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        common::note(format_args!(
            "{to} instead of {wanted}, whose blocks rows of {columns} values don't fill: {name}{more}"
        ));
    }
}

impl Plan<'_> {
    fn new<'a>(tensor: Tensor<'a>, args: &Args) -> Result<Plan<'a>> {
        let from = tensor.dtype()?;
        let columns = usize::try_from(tensor.dims().first().copied().unwrap_or(1))?;
        let is_matrix = tensor.dims().len() == 2
            && tensor.name().ends_with(".weight")
            && !tensor.name().contains("conv1d");
        if !is_matrix {
            return Ok(Plan { tensor, from, wanted: from, to: from, columns });
        }
        let is_embedding = matches!(tensor.name(), "token_embd.weight" | "output.weight");
        use DType::{IQ4_NL, Q3_K, Q4_0, Q4_1, Q4_K, Q5_K};
        let few_bits = matches!(args.dtype, Q3_K | IQ4_NL | Q4_0 | Q4_1 | Q4_K | Q5_K);
        let wanted = match (is_embedding, args.embedding) {
            (true, Some(chosen)) => chosen,
            (true, None) if few_bits => DType::Q6_K,
            _ => args.dtype,
        };
        let to = that_fits(wanted, columns);
        Ok(Plan { tensor, from, wanted, to, columns })
    }

    /// Writes the tensor, some rows at a time; `done` gets the number of bytes read.
    fn write(
        &self,
        bytes: &[u8],
        threads: usize,
        sink: &mut dyn Write,
        done: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        /// Values that one thread converts at a time: enough to be worth starting it.
        const PART: usize = 1 << 18;
        if self.from == self.to {
            let mut values = vec![0.0; PART];
            for part in bytes.chunks(PART) {
                // A block of several values may be cut here, and its scale can't be looked at.
                if let Some(size) = self.from.bytes_of(1).filter(|_| self.from.block_len() == 1) {
                    let count = part.len() / size;
                    quant::dequantize(self.from, part, &mut values[..count])
                        .map_err(io::Error::other)?;
                    self.check(&values[..count])?;
                }
                sink.write_all(part)?;
                done(part.len() as u64)?;
            }
            return Ok(());
        }
        let row = |dtype: DType| {
            dtype.bytes_of(self.columns).filter(|&n| n > 0).ok_or_else(|| {
                io::Error::other(format!("rows of {} values in {dtype}", self.columns))
            })
        };
        let (row_in, row_out) = (row(self.from)?, row(self.to)?);
        let rows = (PART / self.columns).max(1);
        let room = threads * rows * row_out;
        let mut converted = Vec::new();
        converted.try_reserve_exact(room)?;
        converted.resize(room, 0);
        for batch in bytes.chunks(threads * rows * row_in) {
            let converted = &mut converted[..batch.len() / row_in * row_out];
            let parts = batch.chunks(rows * row_in).zip(converted.chunks_mut(rows * row_out));
            let parts = Mutex::new(parts);
            let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
            let work = || {
                while let Some((from, to)) = next() {
                    self.convert((from, row_in), (to, row_out))?;
                }
                Ok(())
            };
            std::thread::scope(|scope| {
                // As many as the system allows.
                let other = |_| Builder::new().spawn_scoped(scope, work).ok();
                let others: Vec<_> = (1..threads).map_while(other).collect();
                others.into_iter().fold(work(), |result, other| {
                    let failed = || Err(io::Error::other("a thread that converts has failed"));
                    result.and(other.join().unwrap_or_else(|_| failed()))
                })
            })?;
            sink.write_all(converted)?;
            done(batch.len() as u64)?;
        }
        Ok(())
    }

    /// Refuses what would make every logit of the model useless.
    fn check(&self, values: &[f32]) -> io::Result<()> {
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => Err(io::Error::other(format!(
                "invalid model: tensor {} contains the value {value}",
                self.tensor.name()
            ))),
        }
    }

    /// Converts whole rows.
    fn convert(
        &self,
        (from, row_in): (&[u8], usize),
        (to, row_out): (&mut [u8], usize),
    ) -> io::Result<()> {
        let mut values = vec![0.0; self.columns];
        for (from, to) in from.chunks(row_in).zip(to.chunks_mut(row_out)) {
            quant::dequantize(self.from, from, &mut values).map_err(io::Error::other)?;
            self.check(&values)?;
            quant::quantize(self.to, &values, to).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// The type itself, or the nearest one whose blocks rows of `columns` values fill.
fn that_fits(wanted: DType, columns: usize) -> DType {
    let nearest = match wanted {
        DType::Q6_K | DType::Q5_K => [wanted, DType::Q8_0],
        DType::Q4_K => [wanted, DType::Q4_1],
        DType::Q3_K => [wanted, DType::IQ4_NL],
        _ => [wanted, wanted],
    };
    let fits = |t: &DType| columns.is_multiple_of(t.block_len());
    nearest.into_iter().find(fits).unwrap_or(DType::F16)
}

/// The number that llama.cpp assigns to a file whose matrices are mostly of this type
/// (`llama_ftype`).
fn file_type(dtype: DType) -> u32 {
    match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::Q4_0 => 2,
        DType::Q4_1 => 3,
        DType::Q8_0 => 7,
        DType::Q5_0 => 8,
        DType::Q5_1 => 9,
        // "Small": all matrices but the embedding in the one type.
        DType::Q3_K => 11,
        DType::Q4_K => 14,
        DType::Q5_K => 16,
        DType::Q6_K => 18,
        DType::IQ4_NL => 25,
        DType::BF16 => 32,
        // For the reader to guess.
        _ => 1024,
    }
}

/// A type that can be written.
fn writable(name: &str) -> Result<DType, String> {
    name.parse().ok().filter(|t: &DType| t.can_quantize()).ok_or_else(|| {
        let types = DType::ALL.into_iter().filter(|t| t.can_quantize()).map(DType::name);
        format!("one of {} is expected", types.collect::<Vec<_>>().join(", "))
    })
}
