//! What a model and a session will cost, before either is opened: from the header of the file
//! alone.

use crate::cache::Plan;
#[cfg(feature = "text")]
use crate::conversation::most_checkpoint_bytes;
#[cfg(feature = "gpu")]
use crate::engine::EngineOptions;
#[cfg(feature = "gpu")]
use crate::engine::gpu;
use crate::engine::{Engine, Far, Geometry, KvType, cpu};
use crate::error::Result;
use crate::model::{Layer, Model, ModelSpec};
use crate::session::{Memory, Options, Reach};

/// Bytes of the weights of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Estimate {
    /// The weights, shared by sessions of one engine.
    pub weights: Weights,
    /// The session: equal to what [`Session::memory`](crate::session::Session::memory) reports.
    pub session: Memory,
    /// The maximum that a chat keeps in addition to its session: its states at the ends of the last
    /// turns, to return to.
    pub checkpoints: u64,
    /// How far the session sees.
    pub reach: Reach,
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
        let reach = Reach::new(model.spec(), &geometry);
        Ok(Estimate { weights: weights(model), session, checkpoints, reach })
    }

    /// The memory of a session of `model` on a GPU, including the buffers on it: on the one that
    /// [`Engine::gpu`] would take with the options `engine`, since large GPUs take longer blocks
    /// ([`EngineOptions::with_block`]). The adapters are enumerated to find out, unless these options
    /// say how long blocks are; where there is no such GPU, blocks are those of an integrated one.
    ///
    /// # Errors
    /// As for [`Estimate::cpu`]. A GPU's limits are only checked when the session is opened.
    #[cfg(feature = "gpu")]
    pub fn gpu(model: &Model, options: &Options, engine: &EngineOptions) -> Result<Estimate> {
        let geometry = options.geometry(model.spec())?;
        let state = geometry.state_bytes(model.spec());
        let logits = 4 * model.spec().vocab as u64;
        let scratch = gpu::scratch_bytes(model, geometry, engine)? + logits;
        let checkpoints = most_checkpoint_bytes(model.spec(), geometry)?;
        let session = Memory { state, scratch };
        let weights = Weights { device: gpu::device_bytes(model), ..weights(model) };
        let reach = Reach::new(model.spec(), &geometry);
        Ok(Estimate { weights, session, checkpoints, reach })
    }
}

impl Engine {
    /// Bytes of the weights.
    pub fn weights(&self) -> Weights {
        Weights { device: self.device_bytes(), ..weights(self.model()) }
    }
}

/// Bytes of the weights of `model` on the CPU.
fn weights(model: &Model) -> Weights {
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

/// How the memory of a session that evicts nothing grows with its text.
#[derive(Clone, Debug)]
pub struct Growth {
    spec: ModelSpec,
    plans: Vec<Plan>,
    geometry: Geometry,
}

impl Growth {
    /// For sessions of `model` with chunks of `chunk` tokens and a window of `window` tokens before
    /// the current one. Where a model with mixers was trained with KV heads that see far, those keep
    /// chunks of their own length.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if one of them is out of range.
    pub fn new(model: &Model, chunk: usize, window: usize, kv: KvType) -> Result<Growth> {
        let options = Options {
            chunk: Some(chunk),
            window: Some(window),
            kv: Some(kv),
            ..Options::default()
        };
        Growth::of(model.spec().clone(), &options)
    }

    /// For sessions of the transformer with the dimensions of `model`: a key and a value for every
    /// token.
    pub fn transformer(model: &Model, kv: KvType) -> Result<Growth> {
        Growth::of(model.spec().transformer(), &Options { kv: Some(kv), ..Options::default() })
    }

    fn of(spec: ModelSpec, options: &Options) -> Result<Growth> {
        let geometry = options.geometry(&spec)?;
        Ok(Growth { plans: spec.plans(geometry.chunk)?, spec, geometry })
    }

    /// Chunk states per layer after `tokens` tokens, averaged over the layers that keep any, rounded
    /// up.
    pub fn states(&self, tokens: u64) -> u64 {
        let closed = tokens - self.in_window(tokens);
        let growing = self.plans.iter().zip(&self.spec.layers);
        let growing = growing.filter(|(_, layer)| layer.window.is_none());
        let (states, layers) = growing
            .fold((0, 0), |(n, layers), (plan, _)| (n + plan.boundaries(closed), layers + 1));
        states.div_ceil(layers.max(1))
    }

    /// Bytes of the state of the smallest session that remembers `tokens` tokens.
    pub fn state_bytes(&self, tokens: u64) -> u64 {
        let window = self.geometry.window.min(size_of(tokens.saturating_sub(1)));
        self.with_states(self.states(tokens), window).state_bytes(&self.spec)
    }

    /// Bytes per additional token in the long run.
    pub fn bytes_per_token(&self) -> f64 {
        // As many tokens as both kinds of heads close whole chunks in.
        let tokens = self.geometry.chunk as u64 * self.spec.chunks.far_length as u64;
        let of = |states| self.with_states(states, 0).state_bytes(&self.spec);
        (of(self.spec.chunks.far_length as u64) - of(0)) as f64 / tokens as f64
    }

    /// Multiply-adds of attention for the token after `tokens` tokens, all layers: each key and each
    /// value once per query head.
    pub fn operations(&self, tokens: u64) -> u64 {
        let states = self.states(tokens);
        let geometry = self.with_states(states, self.geometry.window);
        let layers = self.spec.layers.iter().enumerate().map(|(layer, of)| {
            let Some(window) = of.window else {
                let far_heads = geometry.far_in(&self.spec, layer).len() as u64;
                let far_states = geometry.far.map_or(0, |far| far.ring as u64);
                let window = of.kv_heads as u64 * self.in_window(tokens);
                let rings = (of.kv_heads as u64 - far_heads) * states + far_heads * far_states;
                return (window + rings) * (of.q_dim() / of.kv_heads) as u64;
            };
            // A layer with its own sliding window keeps only that window and no states.
            tokens.min(window as u64) * of.q_dim() as u64
        });
        2 * 2 * layers.sum::<u64>()
    }

    fn in_window(&self, tokens: u64) -> u64 {
        tokens.min((self.geometry.window as u64).saturating_add(1))
    }

    /// The geometry with so many states of the heads that see near, and with those of the same tokens
    /// for heads that see far.
    fn with_states(&self, states: u64, window: usize) -> Geometry {
        let tokens = states.saturating_mul(self.geometry.chunk as u64);
        let ring = size_of(tokens.div_ceil(self.spec.chunks.far_length as u64));
        let far = self.geometry.far.map(|far| Far { ring, ..far });
        Geometry { ring: size_of(states), window, far, ..self.geometry }
    }
}

/// A number of states or tokens that no memory holds saturates.
fn size_of(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Without text there are no chats.
#[cfg(not(feature = "text"))]
fn most_checkpoint_bytes(_: &ModelSpec, _: Geometry) -> Result<u64> {
    Ok(0)
}

/// A number of bytes for people: `22.9 MiB`.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut number = bytes as f64;
    let mut unit = "bytes";
    for larger in units {
        // Before it would round to four digits before the point.
        if number < 999.95 {
            break;
        }
        number /= 1024.0;
        unit = larger;
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{number:.1} {unit}") }
}
