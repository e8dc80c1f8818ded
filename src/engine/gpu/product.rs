//! Matrix products: `matvec` for one token, with preceding and following operations fused in,
//! `matmul` for a block of tokens.

use super::kernel::Kernel;
use super::model::{Batch, Parts, Walk};
use super::params::{self, Behind, Finish};
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
    /// Weights of the RMSNorm applied to it, for a product of one token.
    pub norm: Option<&'a Buffer>,
}

impl<'a> Input<'a> {
    pub fn plain(x: &'a Rows) -> Input<'a> {
        Input { x, norm: None }
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
    /// The layer, if the rows other than queries are its keys and values: products of one token may
    /// rotate them and store them as attention reads them.
    pub kept: Option<usize>,
}

impl<'a> Product<'a> {
    /// One input, one output.
    pub fn whole(stacks: &'a [Stack], x: Input<'a>, out: &'a Rows, finish: Finish) -> Product<'a> {
        Product { stacks, x, shape: Shape::Whole, finish, out, kept: None }
    }
}

/// Rows of a product for many tokens that use one input and go to one place.
struct Share<'a> {
    rows: Range<u32>,
    x_at: u32,
    out: &'a Rows,
    out_at: u32,
}

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
            None => product.finish,
            Some(_) if self.fused => Finish::Rope,
            Some(_) => Finish::Split,
        };
        for stack in product.stacks {
            let kernel = Kernel::Matvec {
                format: stack.format,
                norm: product.x.norm.is_some(),
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
                    out_at: stack.start,
                    cols: stack.cols as f32,
                    eps: spec.eps,
                    role: kept.map_or(0, |k| k.role + stack.start),
                    keys: queries,
                    values: queries + w.kv,
                    kv_dim: alike.kv_dim() as u32,
                    head_dim: alike.head_dim as u32,
                    kept_at: kept.map_or(0, |k| k.at),
                    store: kept.map_or(0, |k| k.store as u32),
                };
                self.record.add(
                    kernel,
                    &p,
                    [
                        &part.quants,
                        &part.scales,
                        product.x.x,
                        // A product without a norm does not read what is bound in its place.
                        product.x.norm.unwrap_or(&weights.output_norm),
                        product.out,
                        self.arena,
                        // Nor does one that stores nothing.
                        kept.map_or(&s.y, |k| k.buffer),
                    ],
                    Items::fixed([part.rows / 4, 1, 1]),
                );
            }
        }
    }

    fn matmul(&mut self, product: &Product<'a>) {
        let out = product.out;
        let all = product.stacks.iter().map(|stack| stack.rows).sum();
        let share = |rows, out| Share { rows, x_at: 0, out, out_at: 0 };
        let shares = match product.shape {
            Shape::Whole => vec![share(0..all, out)],
            Shape::Heads { queries, behind } => {
                vec![share(0..queries, out), share(queries..all, behind)]
            }
            Shape::Sides { rows, x_step } => {
                let values = Share { x_at: x_step, out_at: rows, ..share(rows..2 * rows, out) };
                vec![share(0..rows, out), values]
            }
        };
        for share in shares {
            self.matmul_share(product, &share);
        }
    }

    fn matmul_share(&mut self, product: &Product<'a>, share: &Share<'a>) {
        let Product { finish, x: Input { x, .. }, .. } = *product;
        for stack in product.stacks {
            for part in &stack.parts {
                let start = stack.start + part.first;
                let first = share.rows.start.max(start);
                let end = share.rows.end.min(start + part.rows);
                if first >= end {
                    continue;
                }
                let before = first - share.rows.start;
                let p = params::Matmul {
                    rows: end - first,
                    pieces: stack.pieces,
                    row: first - start,
                    x_at: share.x_at / 4,
                    x_stride: x.stride / 4,
                    out_at: share.out_at + if finish.is_gated() { before / 2 } else { before },
                    out_stride: share.out.stride,
                    unused: 0,
                };
                self.record.add(
                    Kernel::Matmul { format: stack.format, finish },
                    &p,
                    [&part.quants, &part.scales, x, share.out, self.arena],
                    Items::tokens([p.rows, 1, 1], 1),
                );
            }
        }
    }
}
