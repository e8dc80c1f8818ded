//! What computes a model. An engine holds a model ready to run; a state is one sequence on it.

pub mod cpu;

use crate::error::Result;
use crate::model::{Hyper, Model};
use std::sync::Arc;

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvType {
    /// Half precision.
    F16,
    /// Single precision.
    F32,
}

impl KvType {
    /// Bytes of a value.
    pub fn bytes(self) -> u64 {
        match self {
            KvType::F16 => 2,
            KvType::F32 => 4,
        }
    }
}

/// What fixes the memory of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Chunk states kept a layer, the sink counted.
    pub ring: usize,
    /// How keys and values are stored.
    pub kv: KvType,
}

impl Geometry {
    /// Bytes of a state of this geometry: ring, window, scan and convolution of all layers. Sums
    /// beyond 64 bits stay at the largest number: no machine has as much.
    pub fn state_bytes(&self, hyper: &Hyper) -> u64 {
        let rows = (self.ring as u64).saturating_add(hyper.window as u64 + 1);
        let kv = 2 * hyper.kv_dim() as u64 * self.kv.bytes();
        let mixers = hyper.ssm.map_or(0, |ssm| {
            let scan = ssm.inner as u64 * ssm.state as u64;
            let conv = (ssm.conv as u64 - 1) * ssm.channels() as u64;
            2 * 4 * (scan + conv)
        });
        let layer = rows.saturating_mul(kv).saturating_add(mixers);
        layer.saturating_mul(hyper.layers as u64)
    }
}

/// Which tokens of a call logits are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// None: the tokens are only taken in.
    Nothing,
    /// The last one.
    Last,
    /// Every one.
    All,
}

/// A model made ready to run.
pub trait Engine: Send + Sync {
    /// The engine in words: `CPU, AVX-512 VNNI, 2 threads`.
    fn describe(&self) -> String;

    /// The model.
    fn model(&self) -> &Arc<Model>;

    /// A new sequence at position 0.
    fn open(&self, geometry: Geometry) -> Result<Box<dyn State>>;
}

/// One sequence: its position, its ring, window and mixer states. Its memory does not change.
pub trait State: Send {
    /// Takes in `tokens`, at most [`State::block`] of them and each within the vocabulary. For
    /// every token that logits are wanted for, `sink` gets its index in `tokens` and its `[vocab]`
    /// logits, in order. On an error the state is as it was before the call.
    fn forward(
        &mut self,
        tokens: &[u32],
        want: Want,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()>;

    /// Tokens that one call takes at most.
    fn block(&self) -> usize;

    /// Tokens taken in since the start.
    fn position(&self) -> u64;

    /// Chunk states in the ring of the layer that has most.
    fn ring_rows(&self) -> usize;

    /// Back to position 0.
    fn reset(&mut self);

    /// Bytes of the state proper; equal to [`Geometry::state_bytes`].
    fn state_bytes(&self) -> u64;

    /// Bytes of what the state needs to compute.
    fn scratch_bytes(&self) -> u64;
}
