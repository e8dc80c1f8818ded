//! The model, top to bottom, as programs of kernels. One pass over the model records both: the
//! program for a single token, with norms and rotations fused into the products, and the one for a
//! block of tokens. Names and shapes are those of `spec/architecture.md`.

use super::cache::Memory;
use super::device::Device;
use super::kernel::Kernel;
use super::params::{self, Finish, Norm};
use super::pipelines::Pipelines;
use super::product::{Input, Product};
use super::recorder::{Items, Program, Recorder};
use super::scratch::{Rows, Scratch, top_passes};
use super::weights::{LayerWeights, Stack, Weights, padded, scores_of};
use crate::error::Result;
use crate::model::{Activation, Biases, LayerSpec, ModelSpec, Pairs, Rotation};
use wgpu::Buffer;

/// What programs are built from.
pub(super) struct Parts<'a> {
    pub device: &'a Device,
    pub pipelines: &'a Pipelines,
    pub spec: &'a ModelSpec,
    pub weights: &'a Weights,
    pub scratch: &'a Scratch,
    pub memory: &'a Memory,
    /// For each layer, the index of the table that its mixers follow among the distinct ones.
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
            fused: false,
            prepared: None,
            record: Recorder::new(parts.device, parts.pipelines),
        };
        let (token, prepared) = walk(Batch::Token, arena).layers()?;
        let (block, _) = walk(Batch::Block, arena).layers()?;
        Ok(Programs {
            token,
            token_head: Walk { prepared, ..walk(Batch::Token, arena) }.head(h)?,
            block,
            last_head: walk(Batch::Token, arena).head(last)?,
            rows_head: walk(Batch::Block, logit_arena).head(last)?,
        })
    }
}

/// What a program computes per run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    /// A single token.
    Token,
    /// Any number of tokens, up to those of a block.
    Block,
}

/// A program being recorded.
pub(super) struct Walk<'a> {
    pub parts: &'a Parts<'a>,
    pub batch: Batch,
    /// What kernels know about the tokens.
    pub arena: &'a Buffer,
    /// Whether the layer's products rotate queries and keys, and store keys and values.
    pub fused: bool,
    /// Weights of the norm of the residual stream that [`Scratch::prepared`] is for.
    prepared: Option<&'a Buffer>,
    pub record: Recorder<'a>,
}

impl<'a> Walk<'a> {
    /// Every layer, and the norm that is then prepared.
    fn layers(mut self) -> Result<(Program, Option<&'a Buffer>)> {
        for (index, layer) in self.parts.weights.layers.iter().enumerate() {
            self.fused =
                self.batch == Batch::Token && turns_within_products(self.parts.spec, index);
            self.keys_and_values(index, layer);
            self.attention(index, layer);
            self.feed_forward(index, layer);
        }
        self.commit_token();
        Ok((self.record.finish()?, self.prepared))
    }

    pub fn spec(&self, index: usize) -> &'a LayerSpec {
        &self.parts.spec.layers[index]
    }

    /// Norm, projections and mixers: fills `q` and the tokens' rows of keys and values.
    fn keys_and_values(&mut self, index: usize, layer: &'a LayerWeights) {
        let (s, spec) = (self.parts.scratch, self.spec(index));
        match (&layer.mixers, &spec.ssm) {
            (Some(mixers), Some(ssm)) => self.mix(index, layer, mixers, ssm),
            _ => {
                let x = self.normed(&s.h, layer.attn_norm.as_ref());
                let shape = self.heads(index, &s.kv);
                let kept = Some(index);
                self.product(Product {
                    shape,
                    kept,
                    ..Product::whole(&layer.first, x, &s.q, Finish::Store)
                });
                self.add_biases(index, layer);
                self.score(index, layer, x);
            }
        }
        self.rotate_and_store(index, layer);
    }

    /// How much the tokens with the inputs `x` will be needed once they are far away, if heads evict by that.
    fn score(&mut self, index: usize, layer: &'a LayerWeights, x: Input<'a>) {
        let Parts { scratch: s, spec, .. } = self.parts;
        if let Some(gates) = layer.retention.as_ref().filter(|_| s.scores.stride > 0) {
            let out_at = spec.layers[..index].iter().map(scores_of).sum();
            let product = Product::whole(gates, x, &s.scores, Finish::Store);
            self.product(Product { out_at, ..product });
        }
    }

    /// Biases of queries, keys and values.
    pub fn add_biases(&mut self, index: usize, layer: &'a LayerWeights) {
        let (s, [q, kv]) = (self.parts.scratch, &layer.biases);
        self.add_bias(q, &s.q, self.spec(index).q_dim() as u32);
        self.add_bias(kv, &s.kv, s.kv.stride);
    }

    fn add_bias(&mut self, bias: &'a Option<Buffer>, out: &'a Rows, width: u32) {
        let Some(bias) = bias else { return };
        let p = params::AddBias { width, stride: out.stride };
        let items = Items::tokens([width, 1, 1], 1);
        self.record.add(Kernel::AddBias, &p, [bias, out], items);
    }

    /// `h += Wdown (activation(Wgate y) * (Wup y))`
    fn feed_forward(&mut self, index: usize, layer: &'a LayerWeights) {
        let (s, spec) = (self.parts.scratch, self.spec(index));
        let x = self.normed(&s.h, layer.ffn_norm.as_ref());
        if layer.interleaved {
            let finish = match spec.activation {
                Activation::Silu => Finish::SwiGlu,
                Activation::GeluTanh => Finish::GeGlu,
            };
            self.product(Product::whole(&layer.gate_up, x, &s.act, finish));
        } else {
            self.product(Product::whole(&layer.gate_up, x, &s.gate_up, Finish::Store));
            let p = params::Glu {
                width: spec.ffn as u32,
                up_at: padded(spec.ffn),
                stride: s.gate_up.stride,
                out_stride: s.act.stride,
            };
            let items = Items::tokens([p.width, 1, 1], 1);
            let kernel = Kernel::Glu { activation: spec.activation };
            self.record.add(kernel, &p, [&s.gate_up, &s.act], items);
        }
        let next = self.norm_after(index);
        self.add_to_stream(&layer.down, &s.act, &None, &layer.ffn_post_norm, next);
    }

    /// Weights of the norm that a product applies to the stream after a layer.
    fn norm_after(&self, index: usize) -> Option<&'a Buffer> {
        let weights = self.parts.weights;
        let Some(layer) = weights.layers.get(index + 1) else { return Some(&weights.output_norm) };
        // Mixers without projections have a norm of their own.
        let by_product = layer.mixers.as_ref().is_none_or(|mixers| mixers.w_in.is_some());
        layer.attn_norm.as_ref().filter(|_| by_product)
    }

    /// `h += W x`, or the norm of `W x` plus a bias. `next` are the weights of the norm that reads `h`
    /// next.
    pub fn add_to_stream(
        &mut self,
        stacks: &'a [Stack],
        x: &'a Rows,
        bias: &'a Option<Buffer>,
        post_norm: &'a Option<Buffer>,
        next: Option<&'a Buffer>,
    ) {
        let Parts { scratch: s, spec, .. } = self.parts;
        let (out, finish) = match post_norm {
            None => (&s.h, Finish::Add),
            // What was read from the stream is no longer needed.
            Some(_) => (&s.x, Finish::Store),
        };
        let last = bias.is_none() && post_norm.is_none();
        self.prepared = next.filter(|_| last && self.batch == Batch::Token);
        let next = self.prepared;
        self.product(Product { next, ..Product::whole(stacks, Input::plain(x), out, finish) });
        self.add_bias(bias, out, spec.d as u32);
        if let Some(gain) = post_norm {
            self.norm(&s.x, gain, &s.h, NormTo::Sum);
        }
    }

    /// Logits of the rows in `h`, and the most likely tokens if there is one row.
    fn head(mut self, h: &'a Rows) -> Result<Program> {
        let Parts { weights, scratch: s, spec, .. } = self.parts;
        let x = self.normed(h, Some(&weights.output_norm));
        self.product(Product::whole(&weights.head, x, &s.logits, Finish::Store));
        if let Some(cap) = spec.logit_cap {
            let p = params::SoftCap { width: spec.vocab as u32, stride: s.logits.stride, cap };
            let items = Items::tokens([p.width, 1, 1], 1);
            self.record.add(Kernel::SoftCap, &p, [&s.logits], items);
        }
        if self.batch == Batch::Token {
            self.candidates();
        }
        self.record.finish()
    }

    /// The most likely tokens. The results of the last pass come first, where they are read back
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

    /// `RMSNorm(h) * gain`, or `h` itself, as the input of a product: a product of one token
    /// computes the norm itself.
    pub fn normed(&mut self, h: &'a Rows, gain: Option<&'a Buffer>) -> Input<'a> {
        match (self.batch, gain) {
            (_, None) => Input::plain(h),
            (Batch::Token, Some(gain)) => match self.prepared {
                Some(prepared) if std::ptr::eq(prepared, gain) => {
                    Input { x: &self.parts.scratch.prepared, norm: Norm::Prepared, gain: None }
                }
                _ => Input { x: h, norm: Norm::Computed, gain: Some(gain) },
            },
            (Batch::Block, Some(gain)) => {
                let x = &self.parts.scratch.x;
                self.norm(h, gain, x, NormTo::Input);
                Input::plain(x)
            }
        }
    }

    /// `RMSNorm(from) * gain`.
    pub fn norm(&mut self, from: &'a Rows, gain: &'a Buffer, to: &'a Rows, how: NormTo) {
        let Parts { spec, scratch: s, .. } = self.parts;
        let p = params::RmsNorm {
            cols: spec.d as u32,
            eps: spec.eps,
            h_stride: from.stride,
            x_stride: to.stride,
            token: 0,
            copies: if how == NormTo::Copies { 2 } else { 0 },
            copy_at: 0,
            copy_step: s.widths.kv,
            copy_stride: s.kv.stride,
        };
        let kernel = Kernel::RmsNorm { add: how == NormTo::Sum };
        let buffers = [from, gain, to, &s.kv, self.arena];
        self.record.add(kernel, &p, buffers, Items::tokens([1, 1, 1], 0));
    }
}

/// Where a norm goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NormTo {
    /// To the input of a product.
    Input,
    /// To that, and to keys and values.
    Copies,
    /// It is added to what is there.
    Sum,
}

/// Whether the products of one token can rotate queries and keys themselves: whole heads,
/// interleaved pairs by the first table, nothing in between.
fn turns_within_products(model: &ModelSpec, layer: usize) -> bool {
    let spec = &model.layers[layer];
    let usual = Some(Rotation { table: 0, pairs: Pairs::Interleaved });
    let Biases { q, k, v, .. } = spec.biases;
    let whole = model.rotary.first().is_some_and(|table| table.width == spec.head_dim);
    spec.rotation == usual && whole && !spec.qk_norm && !(q || k || v)
}
