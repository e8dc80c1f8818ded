//! The engines of a model: each is created on first use, and kept.

use crate::error::Result;
use crate::handle::lock;
use crate::options::Engine;
use runtime::engine::{self, Choice, Wanted};
use runtime::model::Model;
use std::sync::{Arc, Mutex};

type Made = Mutex<Option<Arc<dyn engine::Engine>>>;

/// The engines of one model.
pub struct Engines {
    file: Arc<Model>,
    /// How the model was opened.
    wanted: Wanted,
    default: Made,
    cpu: Made,
    gpu: Made,
}

impl Engines {
    pub fn new(file: Arc<Model>, wanted: Wanted) -> Engines {
        let (default, cpu, gpu) = Default::default();
        Engines { file, wanted, default, cpu, gpu }
    }

    /// The engine of that kind.
    pub fn get(&self, kind: Engine) -> Result<Arc<dyn engine::Engine>> {
        self.get_with(kind, &mut |_, _| true)
    }

    /// The engine of that kind; `progress` gets the bytes uploaded to a GPU so far and the total,
    /// and returns whether to continue.
    pub fn get_with(
        &self,
        kind: Engine,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Arc<dyn engine::Engine>> {
        let (place, choice) = match (kind, self.wanted.engine) {
            (Engine::Cpu, _) | (Engine::Auto, Choice::Cpu) => (&self.cpu, Choice::Cpu),
            (Engine::Gpu, _) | (Engine::Auto, Choice::Gpu) => (&self.gpu, Choice::Gpu),
            (Engine::Auto, Choice::Auto) => (&self.default, Choice::Auto),
        };
        let mut made = lock(place);
        if let Some(engine) = &*made {
            return Ok(Arc::clone(engine));
        }
        let wanted = Wanted { engine: choice, ..self.wanted.clone() };
        Ok(Arc::clone(made.insert(wanted.start_with(Arc::clone(&self.file), progress)?)))
    }
}
