//! What a model and a session will cost, before either is opened: from the header of the file
//! alone.

use crate::conversation::most_checkpoint_bytes;
use crate::engine::cpu;
#[cfg(feature = "gpu")]
use crate::engine::gpu;
use crate::error::Result;
use crate::model::{Layer, Model, ModelSpec};
use crate::session::{Memory, Options};

/// Bytes of the weights of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Mapped from the file: the system may reclaim the pages and read them again.
    pub mapped: u64,
    /// Copied, in memory for the lifetime of the engine: norms, convolutions and the like.
    pub copied: u64,
    /// On the GPU, if that is the engine. Pages of the file are released once they are uploaded,
    /// except those of the embedding, of which a row is read for every token.
    pub device: u64,
}

/// The memory of a session and its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The weights, shared by sessions of one engine.
    pub weights: Weights,
    /// The session: equal to what [`Session::memory`](crate::session::Session::memory) reports.
    pub session: Memory,
    /// The maximum that a chat keeps in addition to its session: its states at the ends of the last
    /// turns, to return to.
    pub checkpoints: u64,
}

impl Estimate {
    /// The memory of a session of `model` on the CPU with `threads` threads.
    ///
    /// # Errors
    /// [`Error::Budget`](crate::Error::Budget) if the smallest session is larger than the budget;
    /// it states what would fit.
    pub fn cpu(model: &Model, options: &Options, threads: usize) -> Result<Estimate> {
        let geometry = options.geometry(model.spec())?;
        let state = geometry.state_bytes(model.spec());
        let logits = 4 * model.spec().vocab as u64;
        let scratch = cpu::scratch_bytes(model, threads, geometry)? + logits;
        let checkpoints = most_checkpoint_bytes(model.spec(), geometry)?;
        let session = Memory { state, scratch };
        Ok(Estimate { weights: weights(model), session, checkpoints })
    }

    /// The memory of a session of `model` on a GPU, including the buffers on it.
    ///
    /// # Errors
    /// As for [`Estimate::cpu`]. A GPU's limits are only checked when the session is opened.
    #[cfg(feature = "gpu")]
    pub fn gpu(model: &Model, options: &Options) -> Result<Estimate> {
        let geometry = options.geometry(model.spec())?;
        let state = geometry.state_bytes(model.spec());
        let logits = 4 * model.spec().vocab as u64;
        let scratch = gpu::scratch_bytes(model, geometry)? + logits;
        let checkpoints = most_checkpoint_bytes(model.spec(), geometry)?;
        let session = Memory { state, scratch };
        Ok(Estimate { weights: weights_on_gpu(model), session, checkpoints })
    }
}

/// Bytes of the weights of `model` on the CPU.
pub fn weights(model: &Model) -> Weights {
    let weights = &model.weights;
    let layers = weights.layers.iter().map(Layer::copied).sum::<usize>();
    let factors = weights.rotary_factors.iter().flatten().map(Vec::len).sum::<usize>();
    let values = layers + weights.output_norm.len() + factors;
    let gguf = model.gguf();
    let (mapped, read) = match gguf.is_mapped() {
        true => (gguf.tensors().map(|t| t.data().len() as u64).sum(), 0),
        false => (0, gguf.file_bytes() as u64),
    };
    Weights { mapped, copied: read + 4 * values as u64, device: 0 }
}

/// Bytes of the weights of `model` with the GPU engine.
#[cfg(feature = "gpu")]
pub fn weights_on_gpu(model: &Model) -> Weights {
    Weights { device: gpu::device_bytes(model), ..weights(model) }
}

/// How a model's memory and reads grow with the length of a text if nothing is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Chunk states per layer, averaged over the layers that keep any, rounded up.
    pub states: u64,
    /// Keys that a query reads per layer, averaged over all layers, rounded up.
    pub rows: u64,
}

impl Growth {
    /// After `tokens` tokens, at least 1, in chunks of `chunk` with a window of `window`.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if `chunk` is out of range.
    pub fn at(spec: &ModelSpec, chunk: usize, window: usize, tokens: u64) -> Result<Growth> {
        let plans = spec.plans(chunk)?;
        let in_window = tokens.min((window as u64).saturating_add(1));
        // A layer with its own sliding window keeps only that window and no states.
        let own = spec.layers.iter().filter_map(|layer| layer.window);
        let in_own: u64 = own.map(|window| tokens.min(window as u64)).sum();
        let growing = plans.iter().zip(&spec.layers).filter(|(_, layer)| layer.window.is_none());
        let (mut states, mut layers) = (0, 0);
        for (plan, _) in growing {
            states += plan.boundaries(tokens - in_window);
            layers += 1;
        }
        let rows = states + layers * in_window + in_own;
        Ok(Growth {
            states: states.div_ceil(layers.max(1)),
            rows: rows.div_ceil(plans.len().max(1) as u64),
        })
    }

    /// Multiply-adds of attention for one token, all layers: each key and each value once per query
    /// head.
    pub fn operations(&self, spec: &ModelSpec) -> u64 {
        let widths = spec.layers.iter().map(|layer| layer.q_dim() as u64);
        2 * 2 * self.rows * widths.sum::<u64>()
    }
}
