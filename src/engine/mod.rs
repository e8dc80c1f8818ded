//! What runs a model. An engine holds a model ready to run; a state is one sequence on it.

pub(crate) mod cpu;
mod gather;
mod geometry;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
mod handle;
mod nibbles;
#[cfg(any(feature = "gpu", feature = "internals"))]
mod or_cpu;
mod rotary;
mod start;

pub use cpu::default_threads;
pub(crate) use geometry::check_types;
pub use geometry::{Far, Geometry};
#[cfg(feature = "gpu")]
pub use gpu::Adapter;
pub use handle::Engine;
#[cfg(any(feature = "gpu", feature = "internals"))]
pub use or_cpu::OrCpu;
pub use start::{Activations, EngineKind, EngineOptions};

pub use crate::cache::KvType;
pub use crate::model::Pooling;

use crate::cache::{Plan, Saved, Tables};
use crate::error::{Error, Result};
use crate::model::Model;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

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
#[non_exhaustive]
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

/// How long a kernel took on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelTime {
    /// What it computes.
    pub kernel: String,
    /// The variant of it.
    pub variant: String,
    /// How often it ran.
    pub dispatches: u64,
    /// Nanoseconds in all, by the device's clock.
    pub nanoseconds: u64,
    /// Bytes of weights that it read, if it is a product; otherwise 0.
    pub bytes: u64,
    /// Multiplications and additions with them, if it is a product; otherwise 0.
    pub operations: u64,
}

/// How long kernels took on a device, and what the device can do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KernelTimes {
    /// Those that ran, the longest first.
    pub kernels: Vec<KernelTime>,
    /// Bytes read and written per second by a kernel that copies.
    pub bytes_per_second: f64,
    /// Operations per second of a kernel that multiplies and adds in single precision.
    pub operations_per_second: f64,
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

    /// How long kernels took since the last call, if the engine times them.
    fn take_kernel_times(&self) -> Option<KernelTimes> {
        None
    }

    /// A new sequence at position 0.
    fn open(&self, geometry: Geometry) -> Result<Box<dyn State>>;

    /// Whether the engine's device, and with it all states, is gone for good.
    #[cfg(any(feature = "gpu", feature = "internals"))]
    fn is_lost(&self) -> bool {
        false
    }

    /// See [`Engine::attention_mass`].
    fn attention_mass(
        &self,
        _tokens: &[u32],
        _queries: Range<usize>,
        _keys: Range<usize>,
    ) -> Result<Vec<f32>> {
        let engine = self.describe();
        Err(Error::unsupported(engine, "does not measure attention; the CPU engine does"))
    }

    /// See [`Engine::embedding`].
    fn embed(&self, _tokens: &[u32], _pooling: Pooling) -> Result<Vec<f32>> {
        let engine = self.describe();
        Err(Error::unsupported(engine, "does not embed texts; the CPU engine does"))
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
    /// was for this state alone; else [`NoLogits`](crate::Error::NoLogits).
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
    /// [`Argument`](crate::Error::Argument) unless there are as many plans as classes.
    fn set_plans(&mut self, plans: &[Plan]) -> Result<()>;

    /// Shrinks the rings to this many states, including the sink, one number per class of KV heads,
    /// and frees the memory: states are dropped or thinned according to the geometry's policy. A
    /// ring that is already smaller stays.
    ///
    /// # Errors
    /// [`Argument`](crate::Error::Argument) unless there are as many numbers as classes.
    fn shrink(&mut self, rings: &[usize]) -> Result<()>;

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
