//! Which engine runs a model.

use super::Engine;
#[cfg(feature = "gpu")]
use super::OrCpu;
use super::cpu::Cpu;
#[cfg(feature = "gpu")]
use super::gpu::{Adapter, Driver, Gpu, may_be_there};
use crate::error::{Error, Result};
use crate::model::Model;
use std::sync::Arc;

/// An engine by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// A GPU if there is one that computes correctly, else the CPU. Software drivers for GPUs are
    /// skipped: the CPU engine is faster. If the GPU is lost later, the CPU takes over: see
    /// [`OrCpu`](super::OrCpu).
    #[default]
    Auto,
    /// A GPU, or a software driver. If it fails validation that is an error, which names adapter,
    /// driver and kernel.
    Gpu,
    /// The CPU.
    Cpu,
}

/// Which engine to start.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Which one.
    pub engine: Choice,
    /// Part of the GPU's name, case-insensitive; a software driver that is named is used.
    pub adapter: Option<String>,
    /// Threads of the CPU engine, if not [`super::cpu::default_threads`].
    pub threads: Option<usize>,
}

impl Wanted {
    /// Makes `model` ready to run.
    ///
    /// # Errors
    /// Those of the engine; with [`Choice::Auto`] only those of the CPU engine, since it takes over
    /// if the GPU can't run the model, with a warning that says why.
    pub fn start(&self, model: Arc<Model>) -> Result<Arc<dyn Engine>> {
        self.start_with(model, &mut |_, _| true)
    }

    /// Like [`Wanted::start`]. While weights are uploaded to a GPU, `progress` gets the bytes
    /// uploaded so far and the total, every few megabytes, and returns whether to continue.
    ///
    /// # Errors
    /// As for [`Wanted::start`], and [`Error::Cancelled`](crate::Error::Cancelled) if `progress`
    /// returns false.
    pub fn start_with(
        &self,
        model: Arc<Model>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Arc<dyn Engine>> {
        let engine = match self.engine {
            Choice::Cpu => self.on_cpu(model)?,
            Choice::Gpu => self.on_gpu(model, progress)?,
            Choice::Auto => match self.on_gpu_if_real(&model, progress)? {
                Some(engine) => engine,
                None => self.on_cpu(model)?,
            },
        };
        log::info!("{}", engine.describe());
        Ok(engine)
    }

    fn on_cpu(&self, model: Arc<Model>) -> Result<Arc<dyn Engine>> {
        Ok(Arc::new(Cpu::new(model, self.threads)?))
    }

    #[cfg(feature = "gpu")]
    fn on_gpu(
        &self,
        model: Arc<Model>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Arc<dyn Engine>> {
        let adapter = Adapter::find(self.adapter.as_deref())?;
        Ok(Arc::new(Gpu::load(model, &Driver::open(&adapter)?, progress)?))
    }

    #[cfg(not(feature = "gpu"))]
    fn on_gpu(
        &self,
        _: Arc<Model>,
        _: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Arc<dyn Engine>> {
        Err(Error::NoAdapter("this build has no GPU engine".into()))
    }

    #[cfg(feature = "gpu")]
    fn on_gpu_if_real(
        &self,
        model: &Arc<Model>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Option<Arc<dyn Engine>>> {
        if self.adapter.is_none() && !may_be_there() {
            log::info!("there is no GPU; computing on the CPU");
            return Ok(None);
        }
        let adapter = match Adapter::find(self.adapter.as_deref()) {
            Ok(adapter) => adapter,
            Err(e) => {
                // A missing GPU is no news; a missing GPU that was named is.
                let level =
                    if self.adapter.is_some() { log::Level::Warn } else { log::Level::Info };
                log::log!(level, "{e}; computing on the CPU");
                return Ok(None);
            }
        };
        if adapter.is_software() && self.adapter.is_none() {
            log::info!("{} is a software driver; computing on the CPU", adapter.describe());
            return Ok(None);
        }
        let started = Driver::open(&adapter)
            .and_then(|driver| Gpu::load(Arc::clone(model), &driver, progress));
        match started {
            Ok(engine) => Ok(Some(Arc::new(OrCpu::new(Arc::new(engine), self.threads)))),
            Err(e @ Error::Cancelled) => Err(e),
            Err(e) => {
                let adapter = adapter.describe();
                log::warn!("{adapter} can't be used: {e}; computing on the CPU");
                Ok(None)
            }
        }
    }

    #[cfg(not(feature = "gpu"))]
    fn on_gpu_if_real(
        &self,
        _: &Arc<Model>,
        _: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Option<Arc<dyn Engine>>> {
        Ok(None)
    }
}
