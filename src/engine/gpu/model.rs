//! The model, top to bottom, as programs of kernels. One walk records both: the program for a
//! single token, whose products take norms and rotations in, and that for a block of tokens. Names
//! and shapes are those of `spec/architecture.md`.

use super::cache::Memory;
use super::device::Device;
use super::kernel::Kernel;
use super::params::{self, Finish};
use super::pipelines::Pipelines;
use super::product::{Input, Product, Shape};
use super::recorder::{Items, Program, Recorder};
use super::scratch::{Rows, Scratch, top_passes};
use super::weights::{LayerWeights, Weights};
use crate::error::Result;
use crate::model::{LayerSpec, ModelSpec};
use wgpu::Buffer;

/// What programs are made of.
pub(super) struct Parts<'a> {
    pub device: &'a Device,
    pub pipelines: &'a Pipelines,
    pub spec: &'a ModelSpec,
    /// What every layer is.
    pub alike: &'a LayerSpec,
    pub weights: &'a Weights,
    pub scratch: &'a Scratch,
    pub memory: &'a Memory,
    /// For each layer, the number of its table among those that differ.
    pub schedules: &'a [usize],
}

/// The programs of a sequence.
pub(super) struct Programs {
    /// One token, up to the residual stream.
    pub token: Program,
    /// Its logits and candidates.
    pub token_head: Program,
    /// A block of tokens, up to the residual stream.
    pub block: Program,
    /// Logits and candidates of the one row in [`Scratch::last`].
    pub last_head: Program,
    /// Logits of the rows in [`Scratch::last`].
    pub rows_head: Program,
}

impl Programs {
    pub fn new(parts: &Parts) -> Result<Programs> {
        let Scratch { h, last, arena, logit_arena, .. } = parts.scratch;
        let walk = |batch, arena| Walk {
            parts,
            batch,
            arena,
            record: Recorder::new(parts.device, parts.pipelines),
        };
        Ok(Programs {
            token: walk(Batch::Token, arena).layers()?,
            token_head: walk(Batch::Token, arena).head(h)?,
            block: walk(Batch::Block, arena).layers()?,
            last_head: walk(Batch::Token, arena).head(last)?,
            rows_head: walk(Batch::Block, logit_arena).head(last)?,
        })
    }
}

/// What a program computes at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    /// A single token.
    Token,
    /// Any number of tokens, up to those of a block.
    Block,
}

/// A program that is being recorded.
pub(super) struct Walk<'a> {
    pub parts: &'a Parts<'a>,
    pub batch: Batch,
    /// What kernels know of the tokens.
    pub arena: &'a Buffer,
    pub record: Recorder<'a>,
}

impl<'a> Walk<'a> {
    /// Every layer.
    fn layers(mut self) -> Result<Program> {
        for (index, layer) in self.parts.weights.layers.iter().enumerate() {
            self.keys_and_values(index, layer);
            self.attention(index, layer);
            self.feed_forward(layer);
        }
        self.commit_token();
        self.record.finish()
    }

    /// Norm, projections and mixers: fills `q` and the tokens' rows of keys and values.
    fn keys_and_values(&mut self, index: usize, layer: &'a LayerWeights) {
        let Parts { scratch: s, alike, .. } = self.parts;
        match (&layer.mixers, &alike.ssm) {
            (Some(mixers), Some(ssm)) => self.mix(index, layer, mixers, ssm),
            _ => {
                let x = self.normed(&s.h, &layer.attn_norm);
                let shape = Shape::Heads { behind: &s.kv };
                self.product(Product {
                    shape,
                    kept: Some(index),
                    ..Product::whole(&layer.first, x, &s.q, Finish::Store)
                });
            }
        }
        self.rotate_and_store();
    }

    /// `h += Wdown (silu(Wgate y) * (Wup y))`
    fn feed_forward(&mut self, layer: &'a LayerWeights) {
        let Parts { scratch: s, alike, .. } = self.parts;
        let x = self.normed(&s.h, &layer.ffn_norm);
        if layer.interleaved {
            self.product(Product::whole(&layer.gate_up, x, &s.act, Finish::SwiGlu));
        } else {
            self.product(Product::whole(&layer.gate_up, x, &s.gate_up, Finish::Store));
            let p = params::SwiGlu {
                width: alike.ffn as u32,
                up_at: s.widths.ffn,
                stride: s.gate_up.stride,
                out_stride: s.act.stride,
            };
            let items = Items::tokens([p.width, 1, 1], 1);
            self.record.add(Kernel::SwiGlu, &p, [&s.gate_up, &s.act], items);
        }
        self.product(Product::whole(&layer.down, Input::plain(&s.act), &s.h, Finish::Add));
    }

    /// Logits of the rows in `h`, and the most likely tokens where there is one row.
    fn head(mut self, h: &'a Rows) -> Result<Program> {
        let Parts { weights, scratch: s, .. } = self.parts;
        let x = self.normed(h, &weights.output_norm);
        self.product(Product::whole(&weights.head, x, &s.logits, Finish::Store));
        if self.batch == Batch::Token {
            self.candidates();
        }
        self.record.finish()
    }

    /// The most likely tokens. The results of the last pass stand first, where they are read back
    /// from.
    fn candidates(&mut self) {
        let Parts { scratch: s, spec, .. } = self.parts;
        let passes = top_passes(spec.vocab);
        let mut source = 0;
        for (number, (count, _)) in passes.iter().enumerate() {
            let results = passes[number + 1..].iter().map(|(_, words)| *words as u32).sum();
            let count = *count as u32;
            let p = params::TopK { count, bare: u32::from(number == 0), source, results };
            self.record.add(
                Kernel::TopK,
                &p,
                [&s.logits, &s.candidates],
                Items::fixed([count, 1, 1]),
            );
            source = results;
        }
    }

    /// `RMSNorm(h) * gain` as the input of a product: that of one token takes the norm itself.
    pub fn normed(&mut self, h: &'a Rows, gain: &'a Buffer) -> Input<'a> {
        match self.batch {
            Batch::Token => Input { x: h, norm: Some(gain) },
            Batch::Block => self.norm(h, gain, 0),
        }
    }

    /// `x = RMSNorm(h) * gain`, with so many copies to keys and values.
    pub fn norm(&mut self, h: &'a Rows, gain: &'a Buffer, copies: u32) -> Input<'a> {
        let Parts { spec, scratch: s, .. } = self.parts;
        let p = params::RmsNorm {
            cols: spec.d as u32,
            eps: spec.eps,
            h_stride: h.stride,
            x_stride: s.x.stride,
            token: 0,
            copies,
            copy_at: 0,
            copy_step: s.widths.kv,
            copy_stride: s.kv.stride,
        };
        let buffers = [h, gain, &s.x, &s.kv, self.arena];
        self.record.add(Kernel::RmsNorm, &p, buffers, Items::tokens([1, 1, 1], 0));
        Input::plain(&s.x)
    }
}
