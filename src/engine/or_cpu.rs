//! An engine with the CPU as its successor once its device is lost.

use super::{Backend, Counters, Engine, EngineOptions, Geometry, KernelTimes, State};
use crate::error::Result;
use crate::model::Model;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// An engine with a device, and the CPU engine in reserve. The reserve is created only when needed;
/// it reads the weights from the file, which stays mapped.
pub struct OrCpu {
    first: Box<dyn Backend>,
    /// How the reserve is started.
    options: EngineOptions,
    /// `None` if it could not be created.
    cpu: OnceLock<Option<Engine>>,
}

impl OrCpu {
    /// `first` for as long as it has its device, then the CPU engine with `options`.
    pub fn new(first: impl Backend + 'static, options: EngineOptions) -> OrCpu {
        OrCpu { first: Box::new(first), options, cpu: OnceLock::new() }
    }
}

impl Backend for OrCpu {
    fn describe(&self) -> String {
        self.first.describe()
    }

    fn model(&self) -> &Arc<Model> {
        self.first.model()
    }

    fn forward_together(
        &self,
        states: &mut [&mut dyn State],
        tokens: &[u32],
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.first.forward_together(states, tokens, sink)
    }

    fn device_bytes(&self) -> u64 {
        self.first.device_bytes()
    }

    fn counters(&self) -> Option<Counters> {
        self.first.counters()
    }

    fn take_kernel_times(&self) -> Option<KernelTimes> {
        self.first.take_kernel_times()
    }

    fn attention_mass(
        &self,
        tokens: &[u32],
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> Result<Vec<f32>> {
        self.first.attention_mass(tokens, queries, keys)
    }

    fn open(&self, geometry: Geometry) -> Result<Box<dyn State>> {
        self.first.open(geometry)
    }

    fn is_lost(&self) -> bool {
        self.first.is_lost()
    }

    fn successor(&self) -> Option<Engine> {
        if !self.is_lost() {
            return None;
        }
        let made = self.cpu.get_or_init(|| {
            let cpu = Engine::cpu(Arc::clone(self.model()), &self.options);
            cpu.inspect_err(|e| log::warn!("the CPU can't take over from a lost GPU: {e}")).ok()
        });
        made.clone()
    }
}
