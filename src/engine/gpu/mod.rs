//! The GPU engine: Vulkan, Metal and DirectX 12 through wgpu.
//!
//! `model.rs` is the model, top to bottom, as programs of kernels; the kernels are `shaders/*.wgsl`
//! at the root of the repository, and each has a twin in `twin/`: a CPU implementation that it is
//! validated against. A program is recorded when a session is opened and encoded again for every
//! block of tokens: one command buffer, one pass and one submission per token.

mod adapter;
mod ahead;
mod attention;
mod cache;
mod cases;
mod choice;
mod commands;
mod device;
mod format;
mod kernel;
mod mixer;
mod model;
mod moves;
mod params;
mod permutations;
mod pipelines;
mod plan;
mod product;
mod profile;
mod proof;
mod recorder;
mod scratch;
mod sequence;
mod shaders;
mod supports;
#[cfg(test)]
mod tests;
mod tiles;
mod twin;
mod upload;
pub mod variants;
mod weights;

pub use adapter::Adapter;
pub(super) use adapter::may_be_there;
pub(super) use scratch::BLOCKS;

use super::rotary::Rotary;
use super::{Backend, Counters, EngineOptions, Geometry, KernelTimes, KvType, State};
use crate::error::Result;
use crate::model::Model;
use device::Device;
use pipelines::Pipelines;
use profile::Clock;
use sequence::Sequence;
use std::sync::Arc;
use weights::Weights;

/// An open GPU with the kernels that have been validated on it. Several models can share it.
#[derive(Clone)]
pub struct Driver {
    device: Arc<Device>,
    pipelines: Arc<Pipelines>,
}

impl Driver {
    /// Opens the device of an adapter. Of the options, those for GPUs are used, but not its name.
    ///
    /// # Errors
    /// [`Error::NoAdapter`](crate::Error::NoAdapter) if the driver refuses,
    /// [`Error::GpuLimit`](crate::Error::GpuLimit) if its limits are below what kernels need.
    pub fn open(adapter: &Adapter, options: &EngineOptions) -> Result<Driver> {
        let mut device = Device::open(adapter)?;
        device.block = options.block.unwrap_or(device.block);
        if options.kernel_times {
            device.clock = Clock::new(&device)?;
        }
        let device = Arc::new(device);
        let pipelines = Arc::new(Pipelines::new(Arc::clone(&device), options));
        Ok(Driver { device, pipelines })
    }

    /// Adapter and driver as text.
    #[cfg(feature = "internals")]
    pub fn describe(&self) -> &str {
        &self.device.name
    }

    /// Maximum tokens per block.
    #[cfg(feature = "internals")]
    pub fn block(&self) -> usize {
        self.device.block
    }

    /// The variants chosen so far, by kernel.
    pub fn kernels(&self) -> Vec<(String, String)> {
        self.pipelines.chosen()
    }

    /// Compiles and validates `kernels`.
    ///
    /// # Errors
    /// [`Error::Kernel`](crate::Error::Kernel) for the first that has no variant that compiles and
    /// matches its twin.
    #[cfg(feature = "internals")]
    pub fn prove(&self, kernels: &[variants::Kernel]) -> Result<()> {
        self.pipelines.prepare(kernels)
    }

    /// Loses the device, as when a driver is reset: for tests of what happens then.
    #[cfg(feature = "internals")]
    pub fn lose(&self) {
        self.device.inner.destroy();
    }
}

/// A model on the GPU.
pub struct Gpu {
    shared: Arc<Shared>,
}

/// What all sequences of an engine share.
struct Shared {
    model: Arc<Model>,
    weights: Weights,
    driver: Driver,
    /// The rotary tables.
    rotary: Vec<Rotary>,
}

impl Shared {
    fn device(&self) -> &Device {
        &self.driver.device
    }

    fn pipelines(&self) -> &Pipelines {
        &self.driver.pipelines
    }
}

impl Gpu {
    /// Uploads `model`, and compiles and validates the kernels that it needs.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory),
    /// [`Error::Kernel`](crate::Error::Kernel), [`Error::GpuLimit`](crate::Error::GpuLimit),
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), [`Error::Gpu`](crate::Error::Gpu);
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a model that only the CPU engine runs.
    #[cfg(any(test, feature = "internals"))]
    pub fn new(model: Arc<Model>, driver: &Driver) -> Result<Gpu> {
        Gpu::load(model, driver, &mut |_, _| true)
    }

    /// Like [`Gpu::new`]; `progress` gets the bytes of weights uploaded so far and the total, every
    /// few megabytes, and returns whether to continue.
    ///
    /// # Errors
    /// As [`Gpu::new`], and [`Error::Cancelled`](crate::Error::Cancelled) if `progress` returns
    /// false.
    pub fn load(
        model: Arc<Model>,
        driver: &Driver,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Gpu> {
        supports::check(model.spec())?;
        let weights = Weights::upload(&driver.device, &model, progress)?;
        driver.pipelines.measure(&weights)?;
        let rotary = Rotary::tables(&model);
        let driver = driver.clone();
        let shared = Arc::new(Shared { model, weights, driver, rotary });
        log::debug!("{} bytes of weights on the GPU", shared.weights.bytes());
        // A typical session needs every kernel except those for other types of keys and values.
        let smallest = Geometry::new(shared.model.spec(), 1, KvType::F16);
        Sequence::new(Arc::clone(&shared), smallest)?;
        Ok(Gpu { shared })
    }
}

/// Bytes of the weights of `model` on a GPU: what [`Backend::device_bytes`] reports once they are
/// there.
pub fn device_bytes(model: &Model) -> u64 {
    weights::bytes_of(model)
}

/// Scratch bytes of a session of this geometry, as reported by [`State::scratch_bytes`], on the GPU
/// that these options name.
pub(crate) fn scratch_bytes(
    model: &Model,
    geometry: Geometry,
    options: &EngineOptions,
) -> Result<u64> {
    let most = options.block.unwrap_or_else(|| longest_block(options.adapter.as_deref()));
    scratch::bytes_of(model.spec(), geometry, weights::count_of(model), most)
}

/// Maximum tokens per block on the adapter of this name; the short ones if there is none.
fn longest_block(adapter: Option<&str>) -> usize {
    // Without a device there are only software drivers, if any.
    let found = may_be_there().then(|| Adapter::find(adapter).ok()).flatten();
    found.map_or(scratch::SHORT_BLOCK, |adapter| adapter.block())
}

impl Backend for Gpu {
    fn describe(&self) -> String {
        format!("GPU, {}", self.shared.device().name)
    }

    fn model(&self) -> &Arc<Model> {
        &self.shared.model
    }

    fn device_bytes(&self) -> u64 {
        self.shared.weights.bytes()
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.shared.device().counters())
    }

    fn take_kernel_times(&self) -> Option<KernelTimes> {
        Some(self.shared.device().clock.as_ref()?.take())
    }

    fn open(&self, geometry: Geometry) -> Result<Box<dyn State>> {
        Ok(Box::new(Sequence::new(Arc::clone(&self.shared), geometry)?))
    }

    fn is_lost(&self) -> bool {
        self.shared.device().is_lost()
    }
}
