//! The scratch for a block of tokens, in fixed buffers. Rows of activations are padded to whole
//! pieces; the padding is zero from the start and stays so.

use super::device::{Device, SUBMIT};
use super::format::PIECE;
use super::plan::{KvHead, Tiling, likely_words};
use super::weights::{padded, scores_of};
use crate::cache::{Class, Layout, Tables};
use crate::engine::{Geometry, KvType, TOP};
use crate::error::Result;
use crate::model::{LayerSpec, ModelSpec};
use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;
use wgpu::Buffer;

/// Maximum tokens per block, unless the device is large.
pub(super) const SHORT_BLOCK: usize = 128;
/// The same of a large device. A product has a workgroup for 64 rows of 64 tokens, so that one of 4096
/// rows has 512 of them instead of 128.
pub(super) const LONG_BLOCK: usize = 512;
/// Minimum: with fewer, prefill would be little faster than decode.
const FEWEST_TOKENS: usize = 16;
/// What the maximum of a device may be.
pub const BLOCKS: RangeInclusive<usize> = FEWEST_TOKENS..=LONG_BLOCK;
/// Limit on a block's buffers, beyond which blocks are shortened: bytes per token of the maximum, 32 MiB
/// for short blocks and 128 MiB for long ones.
const BLOCK_BYTES: usize = 256 << 10;
/// Tokens per tile of `matmul`: blocks are whole tiles, if memory allows one.
const TILE: usize = 64;
/// Limit on a block's multiplications, per token of the maximum: four submissions for short blocks. A
/// tile may take more. Cancellation takes effect between blocks; a device for which long ones are meant
/// is taken to be as many times faster.
const BLOCK_WORK: u64 = 4 * SUBMIT / SHORT_BLOCK as u64;
/// Limit on the bytes of logits when those of many tokens are wanted.
const LOGITS_BYTES: usize = 4 << 20;
/// Maximum number of tokens whose logits are computed at once.
const MOST_LOGIT_ROWS: usize = 16;
/// Maximum number of parts that one token's attention is split into.
pub(super) const MOST_PARTS: usize = 32;
/// Candidates per workgroup of `top_k`.
const TOP_GROUP: usize = 1024;

/// Sizes of padded rows, in values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub d: u32,
    pub q: u32,
    /// Keys or values.
    pub kv: u32,
    pub ffn: u32,
    pub vocab: u32,
    /// A mixer's `z | x B C | dt`.
    pub projected: u32,
    /// A mixer's output before the last matrix.
    pub inner: u32,
}

impl Widths {
    fn of(spec: &ModelSpec) -> Widths {
        let widest = |of: fn(&LayerSpec) -> usize| padded(spec.most(of));
        Widths {
            d: padded(spec.d),
            q: widest(LayerSpec::q_dim),
            kv: widest(LayerSpec::kv_dim),
            ffn: widest(|layer| layer.ffn),
            vocab: padded(spec.vocab),
            projected: widest(|layer| layer.ssm.map_or(0, |ssm| ssm.projected())),
            inner: widest(|layer| layer.ssm.map_or(0, |ssm| ssm.inner)),
        }
    }

    /// Of [`Scratch::prepared`].
    fn prepared(self) -> u32 {
        self.d + self.d / 4
    }
}

/// Lengths of the buffers in four-byte values, each named like its buffer below.
struct Lengths {
    block: usize,
    logit_rows: usize,
    widths: Widths,
    parts: usize,
    mixed: usize,
    y: usize,
    rows: usize,
    candidates: usize,
    arena: usize,
    staging: usize,
    /// Of a token; none if no head evicts by score.
    scores: usize,
    tiling: Tiling,
}

impl Lengths {
    /// For a model of `weights` weights, each of which is multiplied once per token, on a device that
    /// takes `most` tokens in a block.
    fn of(spec: &ModelSpec, layout: &Layout, weights: u64, most: usize) -> Lengths {
        let layer = &spec.layers[0];
        let w = Widths::of(spec);
        let channels = spec.ssm().map_or(0, |ssm| ssm.channels());
        let inner = spec.ssm().map_or(0, |ssm| ssm.inner);
        let mixers = 2 * (w.projected + w.inner) as usize + 2 * (channels + inner);
        let per_token = (2 * w.d + 2 * w.q + 2 * w.kv + 3 * w.ffn) as usize + mixers;
        let block = block_of(per_token, weights, most);
        let logit_rows = (LOGITS_BYTES / (4 * w.vocab as usize)).clamp(1, MOST_LOGIT_ROWS);
        let classes = layout.classes();
        let value_words = if classes.iter().any(|c| c.kv == KvType::F32) { 2 } else { 1 };
        let rings: Vec<usize> = classes.iter().map(|class| class.ring).collect();
        let heads = spec.layers.iter().map(|layer| layer.kv_heads).sum();
        let each = classes.iter().any(|class| class.kv == KvType::I4);
        let tiling = Tiling::new(spec.most(LayerSpec::group), each);
        let turned = layer.head_dim * spec.rotary.len();
        let arena = likely_words(heads, &rings, block, tiling, turned);
        Lengths {
            block,
            logit_rows,
            parts: MOST_PARTS * spec.most(|l| l.heads) * (layer.head_dim + 2),
            mixed: block * 2 * channels,
            y: block * 2 * inner,
            rows: block.max(spec.layers.len()) * layer.kv_dim() * value_words,
            candidates: top_passes(spec.vocab).iter().map(|pass| pass.1).sum(),
            // Whole vectors.
            arena: arena.next_multiple_of(4),
            staging: (logit_rows * w.vocab as usize).max(2 * TOP),
            scores: match classes.iter().any(Class::is_scored) {
                true => spec.layers.iter().map(|layer| scores_of(layer) as usize).sum(),
                false => 0,
            },
            tiling,
            widths: w,
        }
    }

    /// Values per token in the buffers that hold one row of activations per token.
    fn a_token(&self) -> u32 {
        let w = self.widths;
        2 * w.d + 2 * w.q + 2 * w.kv + 2 * w.projected + 2 * w.inner + 3 * w.ffn
    }

    /// Bytes of all buffers.
    fn bytes(&self) -> u64 {
        let w = self.widths;
        let of_block = self.block * self.a_token() as usize + self.mixed + self.y + self.rows;
        let of_block = of_block + w.prepared() as usize + 2 * self.block * self.scores;
        let of_logits = self.logit_rows * (w.d + w.vocab) as usize + self.candidates + self.staging;
        4 * (of_block + self.parts + of_logits + self.arena + PIECE) as u64
    }
}

/// Tokens per block, given the scratch values per token and the device's maximum.
fn block_of(per_token: usize, weights: u64, most: usize) -> usize {
    let of_memory = most * BLOCK_BYTES / (4 * per_token);
    let work = most as u64 * BLOCK_WORK;
    let of_work = usize::try_from(work / weights.max(1)).unwrap_or(usize::MAX).max(TILE);
    let most = of_memory.min(of_work).clamp(FEWEST_TOKENS, most);
    if most < TILE { most } else { most / TILE * TILE }
}

/// Bytes that a sequence of a model of `weights` weights will need on a device that takes `most` tokens
/// in a block: its buffers, the host's copies of embeddings and words for kernels, and the block tables.
pub(super) fn bytes_of(
    spec: &ModelSpec,
    geometry: Geometry,
    weights: u64,
    most: usize,
) -> Result<u64> {
    let layout = geometry.layout(spec)?;
    let lengths = Lengths::of(spec, &layout, weights, most);
    let heads: usize = spec.layers.iter().map(|layer| layer.kv_heads).sum();
    let on_host = 4 * (lengths.block * lengths.widths.d as usize + lengths.arena)
        + size_of::<KvHead>() * heads;
    let tables = Tables::new(Arc::new(layout), lengths.block)?.bytes();
    Ok(lengths.bytes() + (on_host + tables) as u64)
}

/// Rows of activations, one per token.
pub(super) struct Rows {
    buffer: Buffer,
    /// Distance from one token's row to the next, in values.
    pub stride: u32,
}

impl Deref for Rows {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        &self.buffer
    }
}

/// Buffers of one sequence. `B` is the maximum number of tokens per block; all widths are padded.
pub(super) struct Scratch {
    /// `B`
    pub block: usize,
    /// What is listed of a block.
    pub tiling: Tiling,
    pub widths: Widths,
    /// Residual stream, `[B][d]`.
    pub h: Rows,
    /// Normalized, `[B][d]`.
    pub x: Rows,
    /// Of one token, `[d]` times the weights of the norm that comes next, then sums of squares of four values
    /// each: see [`Norm::Prepared`](super::params::Norm::Prepared).
    pub prepared: Rows,
    /// `[B][heads * head_dim]`
    pub q: Rows,
    /// Keys and values before they are stored, `[B][side][kv_dim]`.
    pub kv: Rows,
    /// `[B][side][z | x B C | dt]`
    pub projected: Rows,
    /// x, B, C after the convolution, `[B][side][channels]`.
    pub mixed: Buffer,
    /// Output of the scan, `[B][side][I]`, not padded.
    pub y: Buffer,
    /// The same, gated and normalized, `[B][side][I]`.
    pub gated: Rows,
    /// Output of attention, `[B][heads * head_dim]`.
    pub attended: Rows,
    /// Parts of one token's attention.
    pub parts: Buffer,
    /// `[B][F | F]`, if the two matrices differ in format.
    pub gate_up: Rows,
    /// `[B][F]`
    pub act: Rows,
    /// Keys and values of the current tokens, as stored: of one layer `[side][kv head][B]
    /// [head_dim]`, or of one token `[layer][side][kv head][head_dim]`.
    pub rows: Buffer,
    /// Rows of the residual stream that logits are computed from.
    pub last: Rows,
    /// `[logit_rows][V]`
    pub logits: Rows,
    /// Number of tokens whose logits are computed at once.
    pub logit_rows: usize,
    /// Results of the passes of `top_k`, last pass first: index and logit of each.
    pub candidates: Buffer,
    /// See `plan.rs`.
    pub arena: Buffer,
    /// The same for the rows that logits are computed from.
    pub logit_arena: Buffer,
    /// For reading back.
    pub staging: Buffer,
    /// How much tokens will be needed by which KV heads, `[B][layer][kv head]`, padded to whole quads of heads;
    /// and the same for reading back. Empty if no head evicts by score.
    pub scores: Rows,
    pub score_staging: Buffer,
    bytes: u64,
}

impl Scratch {
    /// For a model of `weights` weights.
    pub fn new(
        device: &Device,
        spec: &ModelSpec,
        layout: &Layout,
        weights: u64,
    ) -> Result<Scratch> {
        let lengths = Lengths::of(spec, layout, weights, device.block);
        let Lengths { block, logit_rows, widths: w, .. } = lengths;
        let floats = |values: usize, what| device.storage(4 * values as u64, what);
        let a_block = "buffers of a block of tokens";
        let rows_of = |count: usize, stride: u32, what| {
            Ok(Rows { buffer: floats(count * stride as usize, what)?, stride })
        };
        let of_block = |width| rows_of(block, width, a_block);
        Ok(Scratch {
            h: of_block(w.d)?,
            x: of_block(w.d)?,
            prepared: rows_of(1, w.prepared(), a_block)?,
            q: of_block(w.q)?,
            kv: of_block(2 * w.kv)?,
            projected: of_block(2 * w.projected)?,
            mixed: floats(lengths.mixed, a_block)?,
            y: floats(lengths.y, a_block)?,
            gated: of_block(2 * w.inner)?,
            attended: of_block(w.q)?,
            parts: floats(lengths.parts, "parts of attention")?,
            gate_up: of_block(2 * w.ffn)?,
            act: of_block(w.ffn)?,
            rows: floats(lengths.rows, "keys and values of a block")?,
            last: rows_of(logit_rows, w.d, "rows to make logits of")?,
            logits: rows_of(logit_rows, w.vocab, "logits")?,
            candidates: floats(lengths.candidates, "candidates")?,
            arena: floats(lengths.arena, "what kernels know of a block")?,
            logit_arena: floats(PIECE, "what kernels know of a block")?,
            staging: device.staging(4 * lengths.staging as u64, "logits to read")?,
            scores: of_block(lengths.scores as u32)?,
            score_staging: device.staging(4 * (block * lengths.scores) as u64, "scores to read")?,
            bytes: lengths.bytes(),
            tiling: lengths.tiling,
            block,
            widths: w,
            logit_rows,
        })
    }

    /// Bytes of the scores of this many tokens; none if no head evicts by score.
    pub fn score_bytes(&self, tokens: usize) -> u64 {
        4 * tokens as u64 * u64::from(self.scores.stride)
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The passes of `top_k` over this many logits: number of candidates going in, and words of the
/// results.
pub(super) fn top_passes(vocab: usize) -> Vec<(usize, usize)> {
    let mut passes = Vec::new();
    let mut count = vocab;
    loop {
        let results = count.div_ceil(TOP_GROUP) * TOP;
        passes.push((count, 2 * results));
        if results == TOP {
            return passes;
        }
        count = results;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::gpu::format::Format;
    use crate::engine::gpu::params::Finish;
    use crate::engine::gpu::variants::{Abilities, Kernel};

    #[test]
    fn the_tile_size_is_that_of_the_kernel() {
        let kernel = Kernel::Matmul { format: Format::Q4_0, finish: Finish::Store, rounded: false };
        let device = Abilities { subgroups: true, halves: true, ..Default::default() };
        assert_eq!(kernel.variants(device)[0].covers[1] as usize, TILE);
    }

    #[test]
    fn blocks_are_whole_tiles_of_bounded_memory_and_work() {
        let blocks = |per_token, weights| {
            [SHORT_BLOCK, LONG_BLOCK].map(|most| block_of(per_token, weights, most))
        };
        assert_eq!(blocks(5_000, 5_000_000), [128, 512]);
        // TinyLlama: by its work 90 tokens would fit one submission.
        assert_eq!(blocks(25_000, 1_100_000_000), [128, 512]);
        // A model of seven billion weights: one tile, even though a block then takes four
        // submissions; three, which take fourteen.
        assert_eq!(blocks(50_000, 7_000_000_000), [64, 192]);
        // Memory for less than two tiles and for less than one, and for four times as many tokens.
        assert_eq!(blocks(80_000, 1_000_000), [64, 384]);
        assert_eq!(blocks(200_000, 1_000_000), [41, 128]);
        assert_eq!(blocks(10_000_000, 1_000_000), [FEWEST_TOKENS; 2]);
        assert_eq!(block_of(5_000, 5_000_000, FEWEST_TOKENS), FEWEST_TOKENS);
    }
}
