//! Matrix products: `matvec` for one token, with preceding and following operations fused in,
//! `matmul` for a block of tokens.

use super::kernel::Kernel;
use super::model::{Batch, Parts, Walk};
use super::params::{self, Behind, Finish, Norm};
use super::recorder::Items;
use super::scratch::Rows;
use super::weights::{Stack, padded};
use crate::engine::KvType;
use std::ops::Range;
use wgpu::Buffer;

/// The input of a product.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub x: &'a Rows,
    /// Whether a product of one token applies RMSNorm to it, and with which weights.
    pub norm: Norm,
    pub gain: Option<&'a Buffer>,
}

impl<'a> Input<'a> {
    pub fn plain(x: &'a Rows) -> Input<'a> {
        Input { x, norm: Norm::None, gain: None }
    }
}

/// Which rows of the stacks use which input, and where they go.
#[derive(Clone, Copy)]
pub(super) enum Shape<'a> {
    /// All rows use one input and go to one place.
    Whole,
    /// This many rows of queries, followed by keys and values (or what becomes those), which go
    /// elsewhere.
    Heads { queries: u32, behind: &'a Rows },
    /// Keys, then values: `rows` rows each, whose inputs are `x_step` values apart.
    Sides { rows: u32, x_step: u32 },
}

/// `out = W x`, or as `finish` says, for every token.
pub(super) struct Product<'a> {
    pub stacks: &'a [Stack],
    pub x: Input<'a>,
    pub shape: Shape<'a>,
    pub finish: Finish,
    pub out: &'a Rows,
    /// The first value of the output.
    pub out_at: u32,
    /// Weights of the RMSNorm that reads the output next: a product of one token that is added to it
    /// prepares that.
    pub next: Option<&'a Buffer>,
    /// The layer, if the rows other than queries are its keys and values: products of one token may
    /// rotate them and store them as attention reads them.
    pub kept: Option<usize>,
}

impl<'a> Product<'a> {
    /// One input, one output.
    pub fn whole(stacks: &'a [Stack], x: Input<'a>, out: &'a Rows, finish: Finish) -> Product<'a> {
        Product { stacks, x, shape: Shape::Whole, finish, out, out_at: 0, next: None, kept: None }
    }
}

/// Rows of a product for many tokens that use one input.
struct Share {
    rows: Range<u32>,
    x_at: u32,
    out_at: u32,
}

/// Workgroups that each tile of tokens should have: fewer leave a GPU idle.
const WORKGROUPS: u32 = 64;
/// Rows that a workgroup computes, in most variants.
const ROWS: u32 = 64;
/// Pieces that a workgroup sums up at least.
const FEWEST_PIECES: u32 = 8;

/// What a product for one token writes to its second output.
struct Kept<'a> {
    buffer: &'a Buffer,
    at: u32,
    store: Behind,
    /// Index of the first row among those of `q | k | v`.
    role: u32,
}

impl<'a> Walk<'a> {
    pub fn product(&mut self, product: Product<'a>) {
        match self.batch {
            Batch::Token => self.matvec(&product),
            Batch::Block => self.matmul(&product),
        }
    }

    /// How keys and values are stored in window and block.
    pub fn near(&self) -> KvType {
        self.parts.memory.near()
    }

    /// All heads of a layer: queries go to the output, the rows after them to `behind`.
    pub fn heads(&self, layer: usize, behind: &'a Rows) -> Shape<'a> {
        Shape::Heads { queries: padded(self.spec(layer).q_dim()), behind }
    }

    /// What happens to the rows of a product for one token that are not queries.
    fn kept(&self, product: &Product<'a>) -> Option<Kept<'a>> {
        let s = self.parts.scratch;
        let keep = |layer, store, role| Kept {
            buffer: &s.rows,
            at: self.parts.memory.pairs(layer),
            store,
            role,
        };
        match (product.shape, product.kept.filter(|_| self.fused)) {
            (Shape::Heads { .. }, Some(layer)) => Some(keep(layer, Behind::Keep, 0)),
            (Shape::Heads { behind, .. }, None) => {
                Some(Kept { buffer: behind, at: 0, store: Behind::Pass, role: 0 })
            }
            // No queries come before.
            (_, Some(layer)) => Some(keep(layer, Behind::AddAndKeep, 0)),
            (_, None) => None,
        }
    }

    fn matvec(&mut self, product: &Product<'a>) {
        let Parts { spec, scratch: s, weights, .. } = self.parts;
        // The same in every layer.
        let alike = &spec.layers[0];
        let w = s.widths;
        let kept = self.kept(product);
        let (segment, x_step) = match product.shape {
            Shape::Sides { rows, x_step } => (rows, x_step),
            _ => (u32::MAX, 0),
        };
        let queries = match product.shape {
            Shape::Heads { queries, .. } => queries,
            _ => 0,
        };
        let finish = match kept {
            None if product.next.is_some() => Finish::AddAndPrepare,
            None => product.finish,
            Some(_) if self.fused => Finish::Rope,
            Some(_) => Finish::Split,
        };
        let (second, second_at): (&Buffer, _) = match (&kept, product.next) {
            (Some(kept), _) => (kept.buffer, kept.at),
            (None, Some(_)) => (&s.prepared, w.d),
            // A product with one output does not write to a second.
            (None, None) => (&s.y, 0),
        };
        for stack in product.stacks {
            let kernel = Kernel::Matvec {
                format: stack.format,
                norm: product.x.norm,
                finish,
                // The storage type matters only if they are stored.
                kv: if kept.is_some() { self.near() } else { KvType::F16 },
            };
            for part in &stack.parts {
                let kept = kept.as_ref();
                let p = params::Matvec {
                    rows: part.rows,
                    pieces: stack.pieces,
                    first: part.first,
                    segment,
                    x_at: stack.start / segment * x_step / 4,
                    x_step: x_step / 4,
                    out_at: product.out_at + stack.start,
                    cols: stack.cols as f32,
                    eps: spec.eps,
                    role: kept.map_or(0, |k| k.role + stack.start),
                    keys: queries,
                    values: queries + w.kv,
                    kv_dim: alike.kv_dim() as u32,
                    head_dim: alike.head_dim as u32,
                    kept_at: second_at,
                    store: kept.map_or(0, |k| k.store as u32),
                };
                self.record.add(
                    kernel,
                    &p,
                    [
                        &part.quants,
                        &part.scales,
                        product.x.x,
                        // A product that needs no gain does not read what is bound in its place.
                        product.x.gain.or(product.next).unwrap_or(&weights.output_norm),
                        product.out,
                        self.arena,
                        second,
                    ],
                    Items::fixed([part.rows / 4, 1, 1]),
                );
            }
        }
    }

    fn matmul(&mut self, product: &Product<'a>) {
        let all = product.stacks.iter().map(|stack| stack.rows).sum();
        let whole = Share { rows: 0..all, x_at: 0, out_at: 0 };
        match product.shape {
            Shape::Whole | Shape::Heads { .. } => self.matmul_share(product, &whole),
            Shape::Sides { rows, x_step } => {
                self.matmul_share(product, &Share { rows: 0..rows, ..whole });
                let values = Share { rows: rows..2 * rows, x_at: x_step, out_at: rows };
                self.matmul_share(product, &values);
            }
        }
    }

    /// How many workgroups share the values of a row, in a product of this many rows of `pieces`
    /// pieces. With few rows, a GPU would be idle otherwise. Their sums take memory that is not in use
    /// otherwise, as far as it goes.
    fn parts(&self, rows: u32, pieces: u32, out: &Rows) -> u32 {
        let sums = &self.parts.scratch.gate_up;
        if std::ptr::eq(out, sums) {
            return 1;
        }
        let wanted = WORKGROUPS / rows.div_ceil(ROWS);
        wanted.min(pieces / FEWEST_PIECES).min(sums.stride / rows).max(1)
    }

    fn matmul_share(&mut self, product: &Product<'a>, share: &Share) {
        let Parts { scratch: s, pipelines, .. } = self.parts;
        let rounded = pipelines.rounded;
        let Product { x: Input { x, .. }, out, out_at, .. } = *product;
        let (finish, keys, behind, behind_stride): (_, _, &Buffer, _) = match product.shape {
            Shape::Heads { queries, behind } => (Finish::Split, queries, behind, behind.stride),
            // Without a second output it does not matter what is bound there.
            _ => (product.finish, 0, &s.y, 0),
        };
        for stack in product.stacks {
            // Not of the rows of a part of the stack, so that sums do not depend on how it is bound.
            let parts = self.parts(share.rows.len() as u32, stack.pieces, out);
            let part_pieces = stack.pieces.div_ceil(parts).next_multiple_of(2);
            let parts = stack.pieces.div_ceil(part_pieces);
            for part in &stack.parts {
                let start = stack.start + part.first;
                let first = share.rows.start.max(start);
                let end = share.rows.end.min(start + part.rows);
                if first >= end {
                    continue;
                }
                let (before, rows) = (first - share.rows.start, end - first);
                let join = params::MatmulJoin {
                    rows,
                    parts,
                    part_step: rows * s.block as u32,
                    out_at: out_at
                        + share.out_at
                        + if finish.is_gated() { before / 2 } else { before },
                    out_stride: out.stride,
                    behind: keys,
                    behind_stride,
                };
                let p = params::Matmul {
                    rows,
                    pieces: stack.pieces,
                    row: first - start,
                    x_at: share.x_at / 4,
                    x_stride: x.stride / 4,
                    out_at: join.out_at,
                    out_stride: join.out_stride,
                    behind: join.behind,
                    behind_stride: join.behind_stride,
                    part_pieces,
                    part_step: join.part_step,
                };
                let (format, items) = (stack.format, Items::tokens([rows, 1, parts], 1));
                let [quants, scales] = [&part.quants, &part.scales];
                if parts == 1 {
                    let buffers = [quants, scales, x, out, self.arena, behind];
                    self.record.add(Kernel::Matmul { format, finish, rounded }, &p, buffers, items);
                    continue;
                }
                let p = params::Matmul { out_at: 0, out_stride: rows, ..p };
                let kernel = Kernel::Matmul { format, finish: Finish::Store, rounded };
                let buffers = [quants, scales, x, &s.gate_up, self.arena, behind];
                self.record.add(kernel, &p, buffers, items);
                let kernel = Kernel::MatmulJoin { finish };
                let items = Items::tokens([rows / 4, 1, 1], 1);
                self.record.add(kernel, &join, [&s.gate_up, out, behind], items);
            }
        }
    }
}
