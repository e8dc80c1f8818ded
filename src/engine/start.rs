//! Which engine runs a model.

use super::Engine;
#[cfg(feature = "gpu")]
use super::OrCpu;
use super::cpu::Cpu;
#[cfg(feature = "gpu")]
use super::gpu::{Adapter, Driver, Gpu, may_be_there};
#[cfg(not(feature = "gpu"))]
use crate::error::Error;
use crate::error::Result;
use crate::model::Model;
use std::sync::Arc;

/// An engine by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// A GPU where there is one that computes what it should, else the CPU. A software driver for
    /// GPUs does not count: the CPU engine is faster. Should the GPU be lost later, the CPU takes
    /// over: see [`OrCpu`](super::OrCpu).
    #[default]
    Auto,
    /// A GPU, or a program that acts as one.
    Gpu,
    /// The CPU.
    Cpu,
}

/// What engine is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Which one.
    pub engine: Choice,
    /// A part of the GPU's name, in any case; a software driver that is named is taken.
    pub adapter: Option<String>,
    /// Threads of the CPU engine, if not as many as [`super::cpu::default_threads`] says.
    pub threads: Option<usize>,
}

impl Wanted {
    /// Makes `model` ready to run.
    ///
    /// # Errors
    /// Those of the engine; with [`Choice::Auto`] those of the CPU engine alone, as it takes over
    /// where the GPU can't, with a warning that says why.
    pub fn start(&self, model: Arc<Model>) -> Result<Arc<dyn Engine>> {
        let engine = match self.engine {
            Choice::Cpu => self.on_cpu(model)?,
            Choice::Gpu => self.on_gpu(model)?,
            Choice::Auto => match self.on_gpu_if_real(&model) {
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
    fn on_gpu(&self, model: Arc<Model>) -> Result<Arc<dyn Engine>> {
        let adapter = Adapter::find(self.adapter.as_deref())?;
        Ok(Arc::new(Gpu::new(model, &Driver::open(&adapter)?)?))
    }

    #[cfg(not(feature = "gpu"))]
    fn on_gpu(&self, _: Arc<Model>) -> Result<Arc<dyn Engine>> {
        Err(Error::NoAdapter("this build has no GPU engine".into()))
    }

    #[cfg(feature = "gpu")]
    fn on_gpu_if_real(&self, model: &Arc<Model>) -> Option<Arc<dyn Engine>> {
        if self.adapter.is_none() && !may_be_there() {
            log::info!("there is no GPU; computing on the CPU");
            return None;
        }
        let adapter = match Adapter::find(self.adapter.as_deref()) {
            Ok(adapter) => adapter,
            Err(e) => {
                // That there is no GPU is no news; that the one named is not there is.
                let level =
                    if self.adapter.is_some() { log::Level::Warn } else { log::Level::Info };
                log::log!(level, "{e}; computing on the CPU");
                return None;
            }
        };
        if adapter.is_software() && self.adapter.is_none() {
            log::info!("{} is a software driver; computing on the CPU", adapter.describe());
            return None;
        }
        let started =
            Driver::open(&adapter).and_then(|driver| Gpu::new(Arc::clone(model), &driver));
        match started {
            Ok(engine) => Some(Arc::new(OrCpu::new(Arc::new(engine), self.threads))),
            Err(e) => {
                let adapter = adapter.describe();
                log::warn!("{adapter} can't be used: {e}; computing on the CPU");
                None
            }
        }
    }

    #[cfg(not(feature = "gpu"))]
    fn on_gpu_if_real(&self, _: &Arc<Model>) -> Option<Arc<dyn Engine>> {
        None
    }
}
