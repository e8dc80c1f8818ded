//! A device that never panics: whatever the driver reports becomes an [`Error`].

use super::adapter::Adapter;
use super::commands::{Commands, Encoder};
use super::profile::Clock;
use crate::engine::Counters;
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wgpu::{Buffer, BufferUsages, DownlevelFlags, ErrorFilter, Features, Limits, MapMode};

/// Multiplications per submission: some systems reset a GPU that is busy for two seconds, and slow
/// ones do a hundred billion per second.
pub(super) const SUBMIT: u64 = 100_000_000_000;
/// The largest binding that every device in use allows; weights are split accordingly.
const BINDING: u64 = 128 << 20;

/// Size of the memory blocks that smaller buffers share.
const MEMORY_BLOCKS: std::ops::Range<u64> = 2 << 20..4 << 20;

/// What kernels that use cooperative matrices need.
pub(super) const MATRICES: Features =
    Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(Features::SHADER_F16).union(Features::SUBGROUP);

/// Longer than any of our submissions, even on a software driver; one that takes more will never
/// finish.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a driver has reported outside an error scope.
#[derive(Default)]
struct Fault(Mutex<Option<Reported>>);

enum Reported {
    Lost(String),
    OutOfMemory,
    Refused(String),
}

impl Fault {
    fn lock(&self) -> MutexGuard<'_, Option<Reported>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first report counts, unless the device is lost: that is permanent.
    fn note(&self, report: Reported) {
        let mut fault = self.lock();
        if fault.is_none() || matches!(report, Reported::Lost(_)) {
            *fault = Some(report);
        }
    }
}

#[derive(Default)]
struct Counts {
    dispatches: AtomicU64,
    passes: AtomicU64,
    submits: AtomicU64,
    bytes_read: AtomicU64,
    encoding: AtomicU64,
    waiting: AtomicU64,
}

/// A device and its queue.
pub(super) struct Device {
    pub inner: wgpu::Device,
    pub queue: wgpu::Queue,
    pub features: Features,
    pub limits: Limits,
    /// Maximum bytes of a part of the weights.
    pub binding: u64,
    /// Maximum tokens per block.
    pub block: usize,
    /// Maximum multiplications per submission.
    pub submit_work: u64,
    /// Whether `unpack2x16float` and related functions may be used.
    pub converts_halves: bool,
    /// The sides of the cooperative matrices that kernels may use.
    pub matrices: Vec<u32>,
    /// The fewest and the most lanes of a subgroup.
    pub lanes: (u32, u32),
    /// Adapter and driver as text.
    pub name: String,
    /// Whether the driver computes on the CPU.
    pub software: bool,
    /// Whether an invocation has few registers.
    pub few_registers: bool,
    /// Times every kernel, if that is wanted.
    pub clock: Option<Clock>,
    fault: Arc<Fault>,
    counts: Counts,
}

impl Device {
    /// Opens the device of an adapter with all of its limits and the features that kernels use.
    pub fn open(adapter: &Adapter) -> Result<Device> {
        let mut wanted = Features::SUBGROUP | Features::PIPELINE_CACHE | Features::TIMESTAMP_QUERY;
        let matrices = adapter.matrices();
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if !matrices.is_empty() {
            wanted |= MATRICES;
            // SAFETY: what this asks for is to accept that wgpu's own code for such a feature may have
            // bugs. The only one that is requested are cooperative matrices, which only kernels of ours
            // use: a few forms that the tests translate, with every index in range, and each of them is
            // validated on the device before its results count.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let features = adapter.inner.features() & wanted;
        let limits = adapter.inner.limits();
        let flags = adapter.inner.get_downlevel_capabilities().flags;
        let needed = DownlevelFlags::COMPUTE_SHADERS;
        if !flags.contains(needed) {
            return Err(Error::no_adapter(adapter.name(), "runs no compute shaders"));
        }
        check_limits(adapter.name(), &limits)?;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("attamba"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features,
            // Weights slightly larger than half a block would leave large blocks half empty.
            memory_hints: wgpu::MemoryHints::Manual {
                suballocated_device_memory_block_size: MEMORY_BLOCKS,
            },
            ..Default::default()
        };
        let opened = pollster::block_on(adapter.inner.request_device(&descriptor));
        let (inner, queue) = opened
            .map_err(|e| Error::no_adapter(adapter.describe(), format!("can't be opened: {e}")))?;
        let fault = Arc::new(Fault::default());
        let uncaptured = Arc::clone(&fault);
        inner.on_uncaptured_error(Arc::new(move |error| uncaptured.note(reported(error))));
        let lost = Arc::clone(&fault);
        inner.set_device_lost_callback(move |reason, message| {
            lost.note(Reported::Lost(format!("{reason:?}: {message}")));
        });
        Ok(Device {
            inner,
            queue,
            features,
            limits,
            binding: BINDING,
            block: adapter.block(),
            submit_work: SUBMIT,
            converts_halves: flags.contains(DownlevelFlags::SHADER_F16_IN_F32),
            matrices,
            lanes: adapter.lanes(),
            name: adapter.describe(),
            software: adapter.is_software(),
            few_registers: adapter.has_few_registers(),
            clock: None,
            fault,
            counts: Counts::default(),
        })
    }

    /// The error that the driver has reported since the last check, if any. A lost device stays
    /// lost.
    pub fn check(&self) -> Result<()> {
        let mut fault = self.fault.lock();
        match &*fault {
            None => Ok(()),
            Some(Reported::Lost(why)) => Err(Error::DeviceLost(why.clone())),
            Some(_) => match fault.take() {
                Some(report) => Err(self.error(report, 0, "a command")),
                None => Ok(()),
            },
        }
    }

    /// Whether the driver reports the device as lost.
    pub fn is_lost(&self) -> bool {
        matches!(&*self.fault.lock(), Some(Reported::Lost(_)))
    }

    fn error(&self, report: Reported, bytes: u64, what: &'static str) -> Error {
        match report {
            Reported::Lost(why) => Error::DeviceLost(why),
            Reported::OutOfMemory => Error::OutOfMemory { bytes, what },
            Reported::Refused(why) => Error::Gpu(format!("{}: {why}", self.name)),
        }
    }

    /// Runs `make` and returns its value, or the error that the driver raises.
    pub fn scoped<T>(&self, bytes: u64, what: &'static str, make: impl FnOnce() -> T) -> Result<T> {
        self.check()?;
        let scopes = [ErrorFilter::OutOfMemory, ErrorFilter::Validation, ErrorFilter::Internal]
            .map(|filter| self.inner.push_error_scope(filter));
        let made = make();
        let mut found = None;
        for scope in scopes.into_iter().rev() {
            found = pollster::block_on(scope.pop()).or(found);
        }
        match found {
            Some(error) => Err(self.error(reported(error), bytes, what)),
            None => self.check().map(|()| made),
        }
    }

    /// A zeroed buffer of at least `bytes` bytes.
    pub fn buffer(&self, bytes: u64, usage: BufferUsages, what: &'static str) -> Result<Buffer> {
        // Bindings are whole vectors, and none is empty.
        let size = bytes.max(16).next_multiple_of(16);
        if size > self.limits.max_buffer_size {
            return Err(Error::GpuLimit {
                adapter: self.name.clone(),
                what: what.into(),
                needed: size,
                limit: self.limits.max_buffer_size,
                unit: "bytes in a buffer",
            });
        }
        self.scoped(size, what, || {
            self.inner.create_buffer(&wgpu::BufferDescriptor {
                label: Some(what),
                size,
                usage,
                mapped_at_creation: false,
            })
        })
    }

    /// A buffer for kernels that can be copied to and from.
    pub fn storage(&self, bytes: u64, what: &'static str) -> Result<Buffer> {
        let limit = self.limits.max_storage_buffer_binding_size;
        if bytes > limit {
            return Err(Error::GpuLimit {
                adapter: self.name.clone(),
                what: what.into(),
                needed: bytes,
                limit,
                unit: "bytes in a binding",
            });
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        self.buffer(bytes, usage, what)
    }

    /// A buffer to read results back with.
    pub fn staging(&self, bytes: u64, what: &'static str) -> Result<Buffer> {
        self.buffer(bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST, what)
    }

    /// A kernel's buffers, in the order of its bindings.
    pub fn bind<'a>(
        &self,
        layout: &wgpu::BindGroupLayout,
        buffers: impl IntoIterator<Item = &'a Buffer>,
        what: &'static str,
    ) -> Result<wgpu::BindGroup> {
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        self.scoped(0, what, || {
            self.inner.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout,
                entries: &entries,
            })
        })
    }

    /// A command buffer.
    pub fn commands(&self, record: impl FnOnce(&mut Encoder)) -> Result<Commands> {
        let start = Instant::now();
        let commands = self.scoped(0, "commands", || {
            let mut encoder = Encoder::new(&self.inner);
            record(&mut encoder);
            encoder.finish()
        });
        add_time(&self.counts.encoding, start);
        commands
    }

    /// Submits commands to the device, without waiting.
    pub fn submit(&self, commands: impl IntoIterator<Item = Commands>) -> Result<()> {
        self.check()?;
        self.queue.submit(commands.into_iter().map(|Commands { inner, contents }| {
            self.counts.dispatches.fetch_add(contents.dispatches, Ordering::Relaxed);
            self.counts.passes.fetch_add(contents.passes, Ordering::Relaxed);
            inner
        }));
        self.counts.submits.fetch_add(1, Ordering::Relaxed);
        self.check()
    }

    /// Work submitted to the device since the start.
    pub fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            dispatches: read(&self.counts.dispatches),
            passes: read(&self.counts.passes),
            submits: read(&self.counts.submits),
            bytes_read: read(&self.counts.bytes_read),
            encoding: read(&self.counts.encoding),
            waiting: read(&self.counts.waiting),
        }
    }

    /// Waits until everything submitted is done.
    pub fn wait(&self) -> Result<()> {
        let wait = wgpu::PollType::Wait { submission_index: None, timeout: Some(PATIENCE) };
        let start = Instant::now();
        let polled = self.inner.poll(wait);
        add_time(&self.counts.waiting, start);
        self.check()?;
        match polled {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::Gpu(format!("{}: {e}", self.name))),
        }
    }

    /// Waits, and passes the first `bytes` of a staging buffer to `sink`. Whatever happens, the
    /// buffer can be used again afterwards.
    pub fn read<T>(
        &self,
        staging: &Buffer,
        bytes: u64,
        sink: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        let (sender, receiver) = std::sync::mpsc::channel();
        staging.map_async(MapMode::Read, ..bytes, move |result| {
            // The receiver is gone only if waiting failed, which has been reported.
            let _ = sender.send(result);
        });
        let mapped = self.wait().and_then(|()| {
            // Another waiting thread may be the one that was notified.
            let mapped = receiver.recv_timeout(PATIENCE);
            mapped.map_err(|e| Error::Gpu(format!("{}: mapping a buffer: {e}", self.name)))
        });
        let sunk = match mapped {
            // Not mapped, so there is nothing to unmap.
            Ok(Err(e)) => return Err(Error::Gpu(format!("{}: {e}", self.name))),
            Ok(Ok(())) => match staging.get_mapped_range(..bytes) {
                Ok(view) => Ok(sink(&view)),
                Err(e) => Err(Error::Gpu(format!("{}: {e}", self.name))),
            },
            // Mapped, or about to be.
            Err(e) => Err(e),
        };
        staging.unmap();
        self.counts.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        sunk
    }

    /// Behaves as if the driver had rejected a command.
    #[cfg(test)]
    pub fn refuse_next(&self, why: &str) {
        self.fault.note(Reported::Refused(why.into()));
    }
}

fn add_time(total: &AtomicU64, since: Instant) {
    let nanoseconds = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
    total.fetch_add(nanoseconds, Ordering::Relaxed);
}

fn reported(error: wgpu::Error) -> Reported {
    match error {
        wgpu::Error::OutOfMemory { .. } => Reported::OutOfMemory,
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Reported::Refused(description)
        }
    }
}

/// What every kernel relies on; these are the limits that WebGPU guarantees.
pub(super) fn check_limits(adapter: &str, limits: &Limits) -> Result<()> {
    let needed = [
        ("a kernel", 8, u64::from(limits.max_storage_buffers_per_shader_stage), "storage buffers"),
        (
            "a workgroup",
            256,
            u64::from(limits.max_compute_invocations_per_workgroup),
            "invocations",
        ),
        (
            "a workgroup",
            16 << 10,
            u64::from(limits.max_compute_workgroup_storage_size),
            "bytes of memory",
        ),
        ("a piece of the weights", BINDING, limits.max_storage_buffer_binding_size, "bytes"),
        (
            "a dispatch",
            65535,
            u64::from(limits.max_compute_workgroups_per_dimension),
            "workgroups a dimension",
        ),
    ];
    match needed.into_iter().find(|(_, needed, limit, _)| limit < needed) {
        None => Ok(()),
        Some((what, needed, limit, unit)) => {
            Err(Error::GpuLimit { adapter: adapter.into(), what: what.into(), needed, limit, unit })
        }
    }
}
