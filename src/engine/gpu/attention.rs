//! The attention of a layer: rotation, attention over what each token sees, and the moves
//! afterwards.

use super::kernel::{Heads, Kernel};
use super::model::{Batch, Parts, Walk};
use super::params;
use super::permutations::columns_of_tile;
use super::plan::QUERIES;
use super::recorder::Items;
use super::weights::LayerWeights;
use crate::engine::KvType;
use crate::model::Pairs;

/// Heads wider than this are processed one at a time: four would not fit workgroup memory.
const WIDEST_OF_FOUR: usize = 256;

/// Shares of the moves after a token, which are few unless the ring is compacted, and after a block.
const SLICES_OF_TOKEN: u32 = 4;
const SLICES_OF_BLOCK: u32 = 32;

impl<'a> Walk<'a> {
    /// First pair of a layer among the rows of the current tokens: those of a single token are kept
    /// for all layers.
    fn block_at(&self, layer: usize) -> u32 {
        match self.batch {
            Batch::Token => self.parts.memory.pairs(layer),
            Batch::Block => 0,
        }
    }

    /// Rows of a head among the rows of the current tokens.
    fn block_rows(&self) -> u32 {
        match self.batch {
            Batch::Token => 1,
            Batch::Block => self.parts.scratch.block as u32,
        }
    }

    /// Norm and rotation of the query and key heads; keys and values are written to the block in
    /// the form they are stored in. Products of one token may have done so already.
    pub fn rotate_and_store(&mut self, index: usize, layer: &'a LayerWeights) {
        let Parts { spec: model, scratch: s, .. } = self.parts;
        if self.fused {
            return;
        }
        let spec = self.spec(index);
        if let Some(gain) = &layer.head_norms {
            let p = params::HeadNorm {
                queries: spec.heads as u32,
                heads: (spec.heads + spec.kv_heads) as u32,
                head_dim: spec.head_dim as u32,
                eps: model.eps,
                q_stride: s.q.stride,
                k_stride: s.kv.stride,
            };
            let items = Items::tokens([p.heads, 1, 1], 1);
            self.record.add(Kernel::HeadNorm, &p, [&s.q, &s.kv, gain], items);
        }
        let [width, apart] = spec.rotation.map_or([0, 1], |rotation| {
            let width = model.rotary[rotation.table].width;
            match rotation.pairs {
                Pairs::Interleaved => [width, 1],
                Pairs::HalfSplit => [width, width / 2],
            }
        });
        let p = params::Rope {
            q_dim: spec.q_dim() as u32,
            kv_dim: spec.kv_dim() as u32,
            head_dim: spec.head_dim as u32,
            q_stride: s.q.stride,
            kv_stride: s.widths.kv,
            rows: self.block_rows(),
            block_at: self.block_at(index),
            width: width as u32,
            apart: apart as u32,
            table: spec.rotation.map_or(0, |rotation| rotation.table as u32),
        };
        let items = Items::tokens([p.q_dim / 2 + p.kv_dim, 1, 1], 1);
        let kernel = Kernel::Rope { kv: self.near() };
        self.record.add(kernel, &p, [&s.q, &s.kv, self.arena, &s.rows], items);
    }

    /// `h += Wo softmax(scale q k) v` over what each token sees in ring, window and block.
    pub fn attention(&mut self, index: usize, layer: &'a LayerWeights) {
        let s = self.parts.scratch;
        self.attend(index);
        let LayerWeights { output, output_bias, attn_post_norm, ffn_norm, .. } = layer;
        self.add_to_stream(output, &s.attended, output_bias, attn_post_norm, ffn_norm.as_ref());
        if self.batch == Batch::Block {
            self.commit(index, 1);
        }
    }

    fn attend(&mut self, index: usize) {
        let Parts { scratch: s, memory, .. } = self.parts;
        let spec = self.spec(index);
        let (shelf, number) = memory.shelf(index);
        let shared_by = spec.group();
        let (heads, together) = if shared_by > 1 && spec.head_dim <= WIDEST_OF_FOUR {
            (Heads::Four, shared_by.div_ceil(4))
        } else {
            (Heads::One, shared_by)
        };
        // Only one token's attention may be split.
        let split = self.batch == Batch::Token;
        let groups = (spec.kv_heads * together) as u32;
        for kind in memory.kinds(index..index + 1) {
            let p = params::Attend {
                heads: spec.heads as u32,
                shared_by: shared_by as u32,
                kv_heads: spec.kv_heads as u32,
                q_stride: s.q.stride,
                out_stride: s.attended.stride,
                first_head: (index * spec.kv_heads) as u32,
                kind: kind as u32,
                window_at: number as u32 * memory.pairs(shelf.window_rows),
                block_at: self.block_at(index),
                window_rows: shelf.window_rows as u32,
                block_rows: self.block_rows(),
                scale: spec.attention_scale,
            };
            let Some(ring) = &shelf.rings[kind as usize] else { continue };
            let kv = memory.stored(kind);
            let head_dim = spec.head_dim as u32;
            if self.batch == Batch::Block && kv != KvType::I4 {
                let of_head = head_dim.div_ceil(columns_of_tile(head_dim));
                let groups = shared_by.div_ceil(QUERIES) as u32;
                let each = [spec.kv_heads as u32 * groups * of_head, 1, 1];
                let of_tokens = s.tiling.tokens as u32;
                self.record.add(
                    Kernel::AttendTile { kv, head_dim },
                    &p,
                    [self.arena, &s.q, ring, &shelf.window, &s.rows, &s.attended],
                    Items { of_tokens, ..Items::tokens(each, 1) },
                );
                continue;
            }
            self.record.add(
                Kernel::Attend { kv, heads, head_dim },
                &p,
                [self.arena, &s.q, ring, &shelf.window, &s.rows, &s.attended, &s.parts],
                Items { parts: split, ..Items::tokens([groups, 1, 1], 1) },
            );
        }
        if split {
            let p = params::AttendJoin {
                heads: spec.heads as u32,
                head_dim: spec.head_dim as u32,
                shared_by: shared_by as u32,
                first_head: (index * spec.kv_heads) as u32,
            };
            let items = Items::fixed([p.heads, 1, 1]);
            self.record.add(
                Kernel::AttendJoin,
                &p,
                [self.arena, &s.parts, &s.attended],
                Items { only_if_split: true, ..items },
            );
        }
    }

    /// The moves after a token, for all layers: one dispatch per shelf instead of one per layer.
    pub fn commit_token(&mut self) {
        if self.batch == Batch::Token {
            for shelf in &self.parts.memory.shelves {
                self.commit(shelf.first, shelf.layers);
            }
        }
    }

    /// The moves after a block in `layers` layers of a shelf, starting with `first`.
    fn commit(&mut self, first: usize, layers: usize) {
        let Parts { scratch: s, memory, .. } = self.parts;
        let alike = self.spec(first);
        let (shelf, number) = memory.shelf(first);
        let window = memory.pairs(shelf.window_rows);
        let slices = match self.batch {
            Batch::Token => SLICES_OF_TOKEN,
            Batch::Block => SLICES_OF_BLOCK,
        };
        for kind in memory.kinds(first..first + layers) {
            let p = params::Commit {
                layer: first as u32,
                pairs: alike.head_dim as u32 / 2,
                columns: memory.pairs(1),
                kind: kind as u32,
                window_rows: shelf.window_rows as u32,
                block_rows: self.block_rows(),
                window_at: number as u32 * window,
                window_step: window,
                block_at: self.block_at(first),
                block_step: self.block_at(1),
            };
            let by_row = [2 * alike.kv_heads as u32, layers as u32, slices];
            let (kernel, items) = match memory.stored(kind) {
                KvType::I8 => (Kernel::CommitI8, by_row),
                KvType::I4 => (Kernel::CommitI4, by_row),
                kv => (Kernel::Commit { kv }, [p.columns, layers as u32, slices]),
            };
            let Some(ring) = &shelf.rings[kind as usize] else { continue };
            let items = Items::fixed(items);
            self.record.add(kernel, &p, [self.arena, &s.rows, &shelf.window, ring], items);
        }
    }
}
