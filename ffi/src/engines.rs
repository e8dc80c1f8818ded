//! The engines of a model: each is made when it is first asked for, and kept.

use crate::error::{Failure, Result};
use crate::handle::lock;
use crate::options::Engine;
use crate::status::Status;
use runtime::engine;
use runtime::engine::cpu::Cpu;
use runtime::model::Model;
use std::sync::{Arc, Mutex};

type Made = Mutex<Option<Arc<dyn engine::Engine>>>;

/// The engines of one model.
pub struct Engines {
    file: Arc<Model>,
    /// What the model was opened for.
    default: Engine,
    threads: Option<usize>,
    cpu: Made,
}

impl Engines {
    pub fn new(file: Arc<Model>, default: Engine, threads: Option<usize>) -> Engines {
        Engines { file, default, threads, cpu: Made::default() }
    }

    /// The engine of that kind.
    pub fn get(&self, kind: Engine) -> Result<Arc<dyn engine::Engine>> {
        match if kind == Engine::Auto { self.default } else { kind } {
            Engine::Auto | Engine::Cpu => {
                kept(&self.cpu, || Ok(Arc::new(Cpu::new(Arc::clone(&self.file), self.threads)?)))
            }
            Engine::Gpu => Err(Failure::new(Status::Unsupported, "this build has no GPU engine")),
        }
    }
}

fn kept(
    place: &Made,
    make: impl FnOnce() -> Result<Arc<dyn engine::Engine>>,
) -> Result<Arc<dyn engine::Engine>> {
    let mut made = lock(place);
    match &*made {
        Some(engine) => Ok(Arc::clone(engine)),
        None => Ok(Arc::clone(made.insert(make()?))),
    }
}
