//! The engines of a model: each is created on first use, and kept.

use crate::error::Result;
use crate::handle::lock;
use crate::options::Engine;
use runtime::model::Model;
use runtime::{EngineKind, EngineOptions};
use std::sync::{Arc, Mutex};

type Made = Mutex<Option<runtime::Engine>>;

/// The engines of one model.
pub struct Engines {
    file: Arc<Model>,
    /// How the model was opened.
    kind: EngineKind,
    options: EngineOptions,
    default: Made,
    cpu: Made,
    gpu: Made,
}

impl Engines {
    pub fn new(file: Arc<Model>, kind: EngineKind, options: EngineOptions) -> Engines {
        let (default, cpu, gpu) = Default::default();
        Engines { file, kind, options, default, cpu, gpu }
    }

    /// The engine of that kind.
    pub fn get(&self, kind: Engine) -> Result<runtime::Engine> {
        self.get_with(kind, &mut |_, _| true)
    }

    /// The engine of that kind; `progress` gets the bytes uploaded to a GPU so far and the total,
    /// and returns whether to continue.
    pub fn get_with(
        &self,
        kind: Engine,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<runtime::Engine> {
        let kind = match kind {
            Engine::Auto => self.kind,
            Engine::Cpu => EngineKind::Cpu,
            Engine::Gpu => EngineKind::Gpu,
        };
        let place = match kind {
            EngineKind::Cpu => &self.cpu,
            EngineKind::Gpu => &self.gpu,
            _ => &self.default,
        };
        let mut made = lock(place);
        if let Some(engine) = &*made {
            return Ok(engine.clone());
        }
        let file = Arc::clone(&self.file);
        let engine = runtime::Engine::start(kind, file, &self.options, progress)?;
        Ok(made.insert(engine).clone())
    }
}
