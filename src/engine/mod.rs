//! What computes a model. An engine holds a model ready to run; a state is one sequence on it.

pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;

use crate::error::Result;
use crate::model::{Hyper, Model};
use std::sync::Arc;

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// Bytes of the image of a state of this geometry at `position`: what [`State::export`] hands
    /// out and [`State::import`] takes in. Rows that hold nothing yet are no part of it, so it is
    /// never larger than the state.
    ///
    /// An image is the same for every engine. Layer by layer: the ring's keys `[kv head][slot]
    /// [head_dim]` and its values, the window's keys `[kv head][slot][head_dim]` and its values, the
    /// scan states `[side][head][N][I / H]`, the inputs of the convolution `[side][C - 1][channels]`,
    /// the oldest first. Keys are rotated. Keys and values are f16 or f32, all else f32,
    /// little-endian. At position 0 it is empty.
    pub fn image_bytes(&self, hyper: &Hyper, position: u64) -> u64 {
        if position == 0 {
            return 0;
        }
        let empty =
            Geometry { ring: 0, kv: self.kv }.state_bytes(&Hyper { window: 0, ..hyper.clone() });
        let row = 2 * hyper.kv_dim() as u64 * self.kv.bytes();
        let window = position.min(hyper.window as u64 + 1);
        let ring = |l| hyper.schedule(l, self.ring).ring_rows(position) as u64;
        // The empty state counts one row of window a layer.
        (0..hyper.layers)
            .fold(empty, |sum, l| sum.saturating_add((ring(l) + window - 1).saturating_mul(row)))
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

    /// Hands the image of the state to `sink`, piece by piece; [`Geometry::image_bytes`] says what
    /// it is. An error of `sink` ends it.
    fn export(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>;

    /// Takes over the image of a state of the same geometry and model that stood at `position`.
    /// `source` fills one piece after the other. On an error the state is at position 0.
    fn import(
        &mut self,
        position: u64,
        source: &mut dyn FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()>;

    /// Bytes of the state proper; equal to [`Geometry::state_bytes`].
    fn state_bytes(&self) -> u64;

    /// Bytes of what the state needs to compute.
    fn scratch_bytes(&self) -> u64;
}
