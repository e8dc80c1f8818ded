//! How long each kernel takes, by the device's own clock. Every kernel then runs in a pass of its own, at
//! whose ends the device writes down the time; what two small kernels reach, one that copies and one
//! that multiplies and adds, says how far from the device's limits it is.

use super::commands::Encoder;
use super::device::Device;
use super::kernel::Kernel;
use super::pipelines::Pipeline;
use crate::engine::{KernelTime, KernelTimes};
use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wgpu::{Buffer, BufferUsages, CommandEncoder, ComputePass, Features};

/// Kernels timed between two readings; those beyond are left out.
const MOST: u32 = 2048;

/// Bytes that are copied, and invocations that multiply, each of them so many times eight vectors.
const COPIED: u64 = 32 << 20;
const MULTIPLYING: u32 = 1 << 16;
const ROUNDS: u64 = 256;
/// Runs, of which the fastest counts.
const RUNS: usize = 3;

/// What a dispatch reads and computes, as far as the weights of a product are concerned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// Bytes of weights.
    bytes: u64,
    /// Multiplications and additions for one token.
    operations: u64,
}

impl Work {
    /// Of a kernel with these parameters.
    pub fn of(kernel: Kernel, params: &[u8]) -> Work {
        let (Kernel::Matvec { format, .. } | Kernel::Matmul { format, .. }) = kernel else {
            return Work::default();
        };
        // Both begin with rows and pieces.
        let [rows, pieces] = [0, 4].map(|at| match params[at..].first_chunk() {
            Some(bytes) => u32::from_le_bytes(*bytes) as usize,
            None => 0,
        });
        let words = rows * (format.quant_words(pieces) + format.scale_words(pieces));
        Work {
            bytes: 4 * words as u64,
            operations: (2 * rows * pieces * super::format::PIECE) as u64,
        }
    }
}

/// The clock of a device.
pub(super) struct Clock {
    times: wgpu::QuerySet,
    resolved: Buffer,
    staging: Buffer,
    /// Nanoseconds per tick.
    period: f64,
    /// What the device reaches: bytes and operations per second.
    peaks: [f64; 2],
    timed: Mutex<Timed>,
}

#[derive(Default)]
struct Timed {
    /// Kernel, variant, work of what is not read yet.
    pending: Vec<(Kernel, String, Work)>,
    done: BTreeMap<(String, String), KernelTime>,
}

impl Clock {
    /// The clock, if the device has one.
    pub fn new(device: &Device) -> Result<Option<Clock>> {
        if !device.features.contains(Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let bytes = 16 * u64::from(MOST);
        let usage = BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC;
        let mut clock = Clock {
            times: device.scoped(0, "a set of times", || {
                device.inner.create_query_set(&wgpu::QuerySetDescriptor {
                    label: None,
                    ty: wgpu::QueryType::Timestamp,
                    count: 2 * MOST,
                })
            })?,
            resolved: device.buffer(bytes, usage, "times")?,
            staging: device.staging(bytes, "times")?,
            period: f64::from(device.queue.get_timestamp_period()),
            peaks: [0.0; 2],
            timed: Mutex::default(),
        };
        let copied = 2.0 * COPIED as f64 / clock.measure(device, COPY, (COPIED / 16) as u32)?;
        // Four values of eight vectors, each multiplied and added to.
        let operations = 64 * ROUNDS * u64::from(MULTIPLYING);
        let multiplied = operations as f64 / clock.measure(device, MULTIPLY, MULTIPLYING)?;
        clock.peaks = [copied, multiplied];
        Ok(Some(clock))
    }

    fn timed(&self) -> MutexGuard<'_, Timed> {
        self.timed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pass at whose ends the device writes down times, of the given number.
    fn pass_at<'a>(&self, encoder: &'a mut CommandEncoder, number: u32) -> ComputePass<'a> {
        let writes = (number < MOST).then_some(wgpu::ComputePassTimestampWrites {
            query_set: &self.times,
            beginning_of_pass_write_index: Some(2 * number),
            end_of_pass_write_index: Some(2 * number + 1),
        });
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: writes,
        })
    }

    /// A pass for one kernel.
    pub fn pass<'a>(
        &self,
        encoder: &'a mut CommandEncoder,
        pipeline: &Pipeline,
        work: Work,
        tokens: u32,
    ) -> ComputePass<'a> {
        let pending = &mut self.timed().pending;
        let number = pending.len() as u32;
        if number < MOST {
            let work = Work { operations: work.operations * u64::from(tokens), ..work };
            pending.push((pipeline.kernel, pipeline.variant.clone(), work));
        }
        self.pass_at(encoder, number)
    }

    /// Has all times brought to where they can be read.
    pub fn resolve(&self, encoder: &mut CommandEncoder) {
        let count = self.timed().pending.len() as u32;
        self.resolve_first(encoder, count);
    }

    fn resolve_first(&self, encoder: &mut CommandEncoder, count: u32) {
        encoder.resolve_query_set(&self.times, 0..2 * count, &self.resolved, 0);
        let bytes = 16 * u64::from(count);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, bytes);
    }

    /// Nanoseconds between the ends of the first passes, when they are done.
    fn read(&self, device: &Device, count: usize) -> Result<Vec<f64>> {
        device.read(&self.staging, 16 * count as u64, |bytes| {
            let ticks = |at: &[u8; 8]| u64::from_le_bytes(*at);
            let pairs = bytes.as_chunks::<8>().0.as_chunks::<2>().0;
            let between = |[from, to]: &[[u8; 8]; 2]| ticks(to).saturating_sub(ticks(from));
            pairs.iter().map(|pair| between(pair) as f64 * self.period).collect()
        })
    }

    /// Adds up what has been submitted; waits for it.
    pub fn collect(&self, device: &Device) -> Result<()> {
        let pending = std::mem::take(&mut self.timed().pending);
        if pending.is_empty() {
            return Ok(());
        }
        let times = self.read(device, pending.len())?;
        let done = &mut self.timed().done;
        for ((kernel, variant, work), time) in pending.into_iter().zip(times) {
            let key = (kernel.to_string(), variant);
            let of = done.entry(key.clone()).or_insert_with(|| KernelTime {
                kernel: key.0,
                variant: key.1,
                ..KernelTime::default()
            });
            of.dispatches += 1;
            of.nanoseconds += time as u64;
            of.bytes += work.bytes;
            of.operations += work.operations;
        }
        Ok(())
    }

    /// What has been collected since the last call, the longest first.
    pub fn take(&self) -> KernelTimes {
        let done = std::mem::take(&mut self.timed().done);
        let mut kernels: Vec<KernelTime> = done.into_values().collect();
        kernels.sort_by_key(|of| std::cmp::Reverse(of.nanoseconds));
        let [bytes_per_second, operations_per_second] = self.peaks;
        KernelTimes { kernels, bytes_per_second, operations_per_second }
    }

    /// Seconds that a small kernel takes with this many invocations.
    fn measure(&self, device: &Device, source: &str, invocations: u32) -> Result<f64> {
        let what = "buffers to measure with";
        let buffers = [device.storage(COPIED, what)?, device.storage(COPIED, what)?];
        let commands = || {
            let module = device.inner.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl(source.into()),
            });
            let pipeline = device.inner.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: Default::default(),
                cache: None,
            });
            let entries = [0, 1].map(|binding| wgpu::BindGroupEntry {
                binding,
                resource: buffers[binding as usize].as_entire_binding(),
            });
            let group = device.inner.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            let mut encoder = Encoder::new(&device.inner);
            for run in 0..RUNS as u32 {
                let mut pass = self.pass_at(&mut encoder, run);
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups(invocations.div_ceil(64).min(32768), 1, 1);
            }
            self.resolve_first(&mut encoder, RUNS as u32);
            encoder.finish()
        };
        let commands = device.scoped(0, "a small kernel", commands)?;
        device.submit([commands])?;
        let times = self.read(device, RUNS)?;
        // A clock that stands still tells nothing.
        Ok(times.into_iter().fold(f64::MAX, f64::min).max(1.0) / 1e9)
    }
}

/// Copies a vector per invocation, as often as there are workgroups too few.
const COPY: &str = "
@group(0) @binding(0) var<storage, read> from_: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> to: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    for (var i = id.x; i < arrayLength(&to); i += 64u * workgroups.x) {
        to[i] = from_[i];
    }
}
";

/// Multiplies and adds in eight vectors that do not depend on each other.
const MULTIPLY: &str = "
@group(0) @binding(0) var<storage, read> from_: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> to: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = from_[id.x];
    var a = x;
    var b = x + 1.0;
    var c = x + 2.0;
    var d = x + 3.0;
    var e = x + 4.0;
    var f = x + 5.0;
    var g = x + 6.0;
    var h = x + 7.0;
    for (var i = 0u; i < 256u; i++) {
        a = a * x + x;
        b = b * x + x;
        c = c * x + x;
        d = d * x + x;
        e = e * x + x;
        f = f * x + x;
        g = g * x + x;
        h = h * x + x;
    }
    to[id.x] = a + b + c + d + e + f + g + h;
}
";
