//! What runs a model. An engine holds a model ready to run; a state is one sequence on it.

pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
mod handle;
mod or_cpu;
mod rotary;
mod start;

pub use handle::Engine;
pub use or_cpu::OrCpu;
pub use start::{EngineKind, EngineOptions};

pub use crate::cache::KvType;

use crate::cache::{Class, Eviction, LayerShape, Layout, MOST_RING, Plan, Saved, Tables};
use crate::error::{Error, Result};
use crate::model::{LayerSpec, Model, ModelSpec};
use std::any::Any;
use std::sync::Arc;

/// What determines the memory of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Chunk states per layer, including the sink.
    pub ring: usize,
    /// Tokens before the current one that stay visible, `L`.
    pub window: usize,
    /// Tokens in a chunk, `P`, at the start.
    pub chunk: usize,
    /// How keys and values are stored.
    pub kv: KvType,
    /// How a full ring makes room: its eviction policy.
    pub eviction: Eviction,
}

impl std::fmt::Display for Geometry {
    /// `128 chunk states in f16 that drop the oldest, a window of 64, chunks of 8`
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let kv = match self.kv {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::I8 => "int8",
        };
        let policy = match self.eviction {
            Eviction::Drop => "drop the oldest",
            Eviction::Thin => "thin the older half",
        };
        let Geometry { ring, window, chunk, .. } = self;
        write!(
            f,
            "{ring} chunk states in {kv} that {policy}, a window of {window}, chunks of {chunk}"
        )
    }
}

impl Geometry {
    /// A ring of `ring` states that drops the oldest, with the model's own chunks and window.
    pub fn new(spec: &ModelSpec, ring: usize, kv: KvType) -> Geometry {
        let (window, chunk) = (spec.chunks.window, spec.chunks.length);
        Geometry { ring, window, chunk, kv, eviction: Eviction::Drop }
    }

    /// Which KV heads remember what: one class per layer.
    ///
    /// # Errors
    /// [`Error::Argument`] if chunk or window is out of range, [`Error::OutOfMemory`] if the ring
    /// is longer than [`MOST_RING`].
    pub fn layout(&self, spec: &ModelSpec) -> Result<Layout> {
        let Geometry { ring, window, chunk, kv, eviction } = *self;
        if ring > MOST_RING {
            let bytes = self.state_bytes(spec);
            return Err(Error::OutOfMemory { bytes, what: "the ring of chunk states" });
        }
        let plans = spec.plans(chunk)?.into_iter();
        let classes = plans.zip(&spec.layers).enumerate().map(|(layer, (plan, of))| {
            let heads = (0..of.kv_heads).collect();
            let (ring, window) = slots(of, ring, window);
            Class { layer, heads, plan, window, ring, eviction, kv }
        });
        Layout::new(spec.layers.iter().map(shape).collect(), classes.collect())
    }

    /// Bytes of a state of this geometry: ring, window, scan and convolution of all layers. Sums
    /// beyond 64 bits saturate: no machine has as much.
    pub fn state_bytes(&self, spec: &ModelSpec) -> u64 {
        let layers = spec.layers.iter().map(|of| {
            let (ring, window) = slots(of, self.ring, self.window);
            let window = (window as u64).saturating_add(1);
            let rows = self.kv.bytes(of.kv_heads, of.head_dim, ring as u64, window);
            rows.saturating_add(shape(of).mixer_bytes())
        });
        layers.fold(0, u64::saturating_add)
    }

    /// Bytes per additional chunk state, across all layers that keep any.
    pub fn bytes_of_a_state(&self, spec: &ModelSpec) -> u64 {
        let growing = spec.layers.iter().filter(|of| of.window.is_none());
        let layers = growing.map(|of| self.kv.bytes(of.kv_heads, of.head_dim, 1, 0));
        layers.fold(0, u64::saturating_add)
    }
}

/// States in the ring of a layer, and tokens before the current one in its window. A layer with its
/// own sliding window has that window and nothing else.
fn slots(layer: &LayerSpec, ring: usize, window: usize) -> (usize, usize) {
    match layer.window {
        Some(seen) => (0, seen - 1),
        None => (ring, window),
    }
}

/// What the memory of a layer depends on.
fn shape(layer: &LayerSpec) -> LayerShape {
    let (scan, conv) = layer
        .ssm
        .map_or((0, 0), |ssm| (2 * ssm.inner * ssm.state, 2 * (ssm.conv - 1) * ssm.channels()));
    LayerShape { kv_heads: layer.kv_heads, head_dim: layer.head_dim, scan, conv }
}

/// For which tokens of a call logits are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// None: the tokens are only processed.
    Nothing,
    /// The last one.
    Last,
    /// Every one.
    All,
}

/// Work submitted to a device since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Kernels run.
    pub dispatches: u64,
    /// Compute passes.
    pub passes: u64,
    /// Submissions.
    pub submits: u64,
    /// Bytes read back.
    pub bytes_read: u64,
    /// Nanoseconds that the host spent encoding commands.
    pub encoding: u64,
    /// Nanoseconds that it spent waiting for the device.
    pub waiting: u64,
}

/// Maximum number of candidates that [`State::forward_top`] returns.
pub const TOP: usize = 64;

/// A token that may come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The token.
    pub token: u32,
    /// Its logit; minus infinity if it is NaN.
    pub logit: f32,
}

/// What is behind an [`Engine`]: a model on one kind of device.
pub trait Backend: Send + Sync {
    /// A description of the engine: `CPU, AVX-512 VNNI, 2 threads`.
    fn describe(&self) -> String;

    /// The model.
    fn model(&self) -> &Arc<Model>;

    /// Processes one token of each of `states`, which must belong to this engine, and passes the
    /// logits (`[vocab]`) of each to `sink` with its index. Weights are read once for all if the
    /// engine can. On an error some states may have processed their token and others not.
    fn forward_together(
        &self,
        states: &mut [&mut dyn State],
        tokens: &[u32],
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        for (index, (state, token)) in states.iter_mut().zip(tokens).enumerate() {
            state.forward(&[*token], Want::Last, &mut |_, logits| sink(index, logits))?;
        }
        Ok(())
    }

    /// Bytes of weights on the engine's own device; 0 if it has none.
    fn device_bytes(&self) -> u64 {
        0
    }

    /// Work submitted to the device, if the engine has one.
    fn counters(&self) -> Option<Counters> {
        None
    }

    /// A new sequence at position 0.
    fn open(&self, geometry: Geometry) -> Result<Box<dyn State>>;

    /// Whether the engine's device, and with it all states, is gone for good.
    fn is_lost(&self) -> bool {
        false
    }

    /// The engine that takes over if this one is lost, if any.
    fn successor(&self) -> Option<Engine> {
        None
    }
}

/// One sequence: its position, ring, window and mixer states. Its memory does not change.
pub trait State: Send {
    /// Processes `tokens`, at most [`State::room`] of them and each within the vocabulary. For
    /// every token whose logits are requested, `sink` gets its index in `tokens` and its `[vocab]`
    /// logits, in order. On an error the state is as it was before the call, unless the error comes
    /// from a device: then every call fails until the state is reset.
    fn forward(
        &mut self,
        tokens: &[u32],
        want: Want,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()>;

    /// Like [`State::forward`] for the last token, but `top` gets only its most likely successors:
    /// all tokens or [`TOP`] of them, in descending order, ties by lower id. [`State::last_logits`]
    /// returns the rest.
    fn forward_top(&mut self, tokens: &[u32], top: &mut Vec<Candidate>) -> Result<()>;

    /// The logits (`[vocab]`) of the last token, if the call that processed it requested logits and
    /// was for this state alone; else [`Error::NoLogits`].
    fn last_logits(&mut self, logits: &mut Vec<f32>) -> Result<()>;

    /// The state as its concrete type, for the engine that it belongs to.
    fn as_any(&mut self) -> &mut dyn Any;

    /// The block tables: position, chunks, states in the ring.
    fn tables(&self) -> &Tables;

    /// Maximum tokens of the next call; at least 1.
    fn room(&self) -> usize {
        self.tables().room()
    }

    /// Sets other chunk lengths from the next chunk on: a plan for each class of KV heads.
    ///
    /// # Errors
    /// [`Error::Argument`] unless there are as many plans as classes.
    fn set_plans(&mut self, plans: &[Plan]) -> Result<()>;

    /// Shrinks the ring to `ring` states, including the sink, and frees the memory: states are
    /// dropped or thinned according to the geometry's policy. A ring that is already smaller stays.
    fn shrink(&mut self, ring: usize) -> Result<()>;

    /// Back to position 0.
    fn reset(&mut self);

    /// Passes the image of the state to `sink`, piece by piece: [`Stretch`](crate::cache::Stretch)
    /// after stretch, as described at [`Tables::image`]. An error of `sink` ends it.
    fn export(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>;

    /// Imports the image of a state of the same model that was saved with the tables `saved`.
    /// `source` fills one piece after another. A state of another layout is rejected, and this one
    /// is unchanged; after an error of `source` or of a device it is at position 0.
    fn import(
        &mut self,
        saved: Saved,
        source: &mut dyn FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()>;

    /// Bytes of the state itself; equal to [`Geometry::state_bytes`].
    fn state_bytes(&self) -> u64;

    /// Bytes of scratch memory that the state needs to compute.
    fn scratch_bytes(&self) -> u64;
}

/// Fills `top` with the [`TOP`] most likely tokens: see [`State::forward_top`].
fn most_likely(logits: &[f32], top: &mut Vec<Candidate>) {
    top.clear();
    for (&logit, token) in logits.iter().zip(0..) {
        let logit = if logit.is_nan() { f32::NEG_INFINITY } else { logit };
        let after = |c: &Candidate| logit.total_cmp(&c.logit).is_gt();
        if top.len() == TOP && !top.last().is_some_and(after) {
            continue;
        }
        let at = top.partition_point(|c| !after(c));
        top.truncate(TOP - 1);
        top.insert(at, Candidate { token, logit });
    }
}
