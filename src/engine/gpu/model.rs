//! The model, top to bottom, as programs of kernels: once for one token, once for a block of them.
//! Names and shapes are those of `spec/architecture.md`.

use super::device::Device;
use super::params::{self, Behind, Finish};
use super::pipelines::Pipelines;
use super::recorder::{Items, Program, Recorder};
use super::scratch::{Scratch, top_passes};
use super::state::Memory;
use super::variants::{Heads, Kernel};
use super::weights::{LayerWeights, MixerWeights, Stack, Weights};
use crate::engine::KvType;
use crate::error::Result;
use crate::model::{LayerSpec, ModelSpec, Ssm};
use wgpu::Buffer;

/// Epsilon of the norm within a mixer, as in the architecture.
const MIXER_EPS: f32 = 1e-5;

/// Heads wider than this are attended to one at a time: four would not fit workgroup memory.
const WIDEST_OF_FOUR: usize = 256;

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
    /// For each layer, the number of its books among those that differ.
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
        let new = || Builder { parts, record: Recorder::new(parts.device, parts.pipelines) };
        Ok(Programs {
            token: new().token()?,
            token_head: new().head(&parts.scratch.h)?,
            block: new().block()?,
            last_head: new().head(&parts.scratch.last)?,
            rows_head: new().rows_head()?,
        })
    }
}

/// What a matrix-vector product does beside the product.
struct Product<'a> {
    x: &'a Buffer,
    /// Rows that take the same input, and values from one input to the next.
    segment: u32,
    x_step: u32,
    /// Weights of the norm that comes before.
    norm: Option<&'a Buffer>,
    finish: Finish,
    out: &'a Buffer,
    /// Where rows of a mixer or of keys and values go, and what is done with them.
    kept: Option<Kept<'a>>,
}

/// The second output of a product that ends with RoPE.
struct Kept<'a> {
    buffer: &'a Buffer,
    at: u32,
    store: Behind,
    /// Number of the first row among those of `q | k | v`.
    role: u32,
}

/// Where the input and the output of a product for many tokens lie.
#[derive(Clone, Copy)]
struct Route<'a> {
    x: &'a Buffer,
    x_at: u32,
    x_stride: u32,
    out: &'a Buffer,
    out_at: u32,
    out_stride: u32,
}

struct Builder<'a> {
    parts: &'a Parts<'a>,
    record: Recorder<'a>,
}

impl<'a> Builder<'a> {
    /// How keys and values are stored in window and block.
    fn near(&self) -> KvType {
        match self.parts.memory.geometry.kv {
            KvType::I8 => KvType::F16,
            kv => kv,
        }
    }

    // One token.

    fn token(mut self) -> Result<Program> {
        for (index, layer) in self.parts.weights.layers.iter().enumerate() {
            self.keys_and_values_of_token(index, layer);
            self.attend(index, Some(index));
            self.feed_forward_of_token(layer);
        }
        for shelf in &self.parts.memory.shelves {
            self.commit(shelf.first, shelf.layers, true);
        }
        self.record.finish()
    }

    /// Norm, projections and mixers: fills `q` and the token's rows of keys and values.
    fn keys_and_values_of_token(&mut self, index: usize, layer: &'a LayerWeights) {
        let Parts { alike, scratch: s, .. } = self.parts;
        let w = s.widths;
        let of_layer = (index * alike.kv_dim()) as u32;
        let mut first = Product {
            x: &s.h,
            segment: u32::MAX,
            x_step: 0,
            norm: Some(&layer.attn_norm),
            finish: Finish::Rope,
            out: &s.q,
            kept: Some(Kept { buffer: &s.rows, at: of_layer, store: Behind::Keep, role: 0 }),
        };
        let (Some(mixers), Some(ssm)) = (&layer.mixers, &alike.ssm) else {
            self.matvec(&layer.first, &first);
            return;
        };
        let pass = |buffer| Some(Kept { buffer, at: 0, store: Behind::Pass, role: 0 });
        match &mixers.w_in {
            Some(w_in) => {
                first.kept = pass(&s.kv);
                self.matvec(&layer.first, &first);
                let project = Product {
                    x: &s.kv,
                    segment: w.projected,
                    x_step: w.kv,
                    norm: None,
                    finish: Finish::Store,
                    out: &s.projected,
                    kept: None,
                };
                self.matvec(w_in, &project);
            }
            None => {
                // The mixers' input is the normed one, and is added to their output later.
                self.norm(&s.h, &layer.attn_norm, true, Items::tokens([1, 1, 1], 0));
                (first.x, first.norm) = (&s.x, None);
                first.kept = pass(&s.projected);
                self.matvec(&layer.first, &first);
            }
        }
        let p = self.mixer_params(index, ssm);
        let state = &self.parts.memory.mixers[index];
        self.record.add(
            Kernel::MixerStep,
            &p,
            [
                &mixers.constants,
                &s.projected,
                &state.conv,
                &state.scan,
                &s.mixed,
                &s.gated,
                &s.arena,
            ],
            Items::fixed([2, 1, 1]),
        );
        let out = Product {
            x: &s.gated,
            segment: w.kv,
            x_step: w.inner,
            norm: None,
            finish: Finish::Rope,
            out: &s.kv,
            kept: Some(Kept {
                buffer: &s.rows,
                at: of_layer,
                store: Behind::AddAndKeep,
                role: w.q,
            }),
        };
        self.matvec(&mixers.w_out, &out);
    }

    /// `h += Wo attended`, then `h += Wdown (silu(Wgate y) * (Wup y))`.
    fn feed_forward_of_token(&mut self, layer: &'a LayerWeights) {
        let s = self.parts.scratch;
        let plain = |x, out, finish, norm| Product {
            x,
            segment: u32::MAX,
            x_step: 0,
            norm,
            finish,
            out,
            kept: None,
        };
        self.matvec(&layer.output, &plain(&s.attended, &s.h, Finish::Add, None));
        let norm = Some(&layer.ffn_norm);
        if layer.interleaved {
            self.matvec(&layer.gate_up, &plain(&s.h, &s.act, Finish::SwiGlu, norm));
        } else {
            self.matvec(&layer.gate_up, &plain(&s.h, &s.gate_up, Finish::Store, norm));
            self.swiglu();
        }
        self.matvec(&layer.down, &plain(&s.act, &s.h, Finish::Add, None));
    }

    /// Logits of the row in `x`, and the most likely tokens.
    fn head(mut self, x: &'a Buffer) -> Result<Program> {
        let Parts { weights, scratch: s, spec, .. } = self.parts;
        let product = Product {
            x,
            segment: u32::MAX,
            x_step: 0,
            norm: Some(&weights.output_norm),
            finish: Finish::Store,
            out: &s.logits,
            kept: None,
        };
        self.matvec(&weights.head, &product);
        // The results of the last pass stand first, where they are read back from.
        let passes = top_passes(spec.vocab);
        let mut ends: Vec<usize> = Vec::new();
        let mut at = 0;
        for (_, words) in passes.iter().rev() {
            ends.push(at);
            at += words;
        }
        ends.reverse();
        for (number, (count, _)) in passes.iter().enumerate() {
            let p = params::TopK {
                count: *count as u32,
                bare: u32::from(number == 0),
                source: if number == 0 { 0 } else { ends[number - 1] as u32 },
                results: ends[number] as u32,
            };
            let items = Items::fixed([*count as u32, 1, 1]);
            self.record.add(Kernel::TopK, &p, [&s.logits, &s.candidates], items);
        }
        self.record.finish()
    }

    fn matvec(&mut self, stacks: &'a [Stack], product: &Product<'a>) {
        let Parts { spec, alike, scratch: s, .. } = self.parts;
        let w = s.widths;
        let (norm, finish) = (product.norm.is_some(), product.finish);
        for stack in stacks {
            let kernel = Kernel::Matvec {
                format: stack.format,
                norm,
                finish,
                // Only where they are kept does it matter how.
                kv: if finish == Finish::Rope { self.near() } else { KvType::F16 },
            };
            for part in &stack.parts {
                let kept = product.kept.as_ref();
                let p = params::Matvec {
                    rows: part.rows,
                    pieces: stack.pieces,
                    first: part.first,
                    segment: product.segment,
                    x_at: stack.start / product.segment * product.x_step / 4,
                    x_step: product.x_step / 4,
                    out_at: stack.start,
                    cols: stack.cols as f32,
                    eps: spec.eps,
                    role: kept.map_or(0, |k| k.role + stack.start),
                    keys: w.q,
                    values: w.q + w.kv,
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
                        product.x,
                        // A product without a norm does not read what is bound in its place.
                        product.norm.unwrap_or(&self.parts.weights.output_norm),
                        product.out,
                        &s.arena,
                        // Nor does one that keeps nothing.
                        kept.map_or(&s.y, |k| k.buffer),
                    ],
                    Items::fixed([part.rows / 4, 1, 1]),
                );
            }
        }
    }

    // A block of tokens.

    fn block(mut self) -> Result<Program> {
        for (index, layer) in self.parts.weights.layers.iter().enumerate() {
            self.keys_and_values(index, layer);
            self.attend(index, None);
            self.commit(index, 1, false);
            self.feed_forward(layer);
        }
        self.record.finish()
    }

    fn keys_and_values(&mut self, index: usize, layer: &'a LayerWeights) {
        let Parts { alike, scratch: s, .. } = self.parts;
        let w = s.widths;
        let tokens = Items::tokens([1, 1, 1], 0);
        let mixer_reads_x = layer.mixers.as_ref().is_some_and(|m| m.w_in.is_none());
        self.norm(&s.h, &layer.attn_norm, mixer_reads_x, tokens);
        let from_x =
            |out, out_stride| Route { x: &s.x, x_at: 0, x_stride: w.d, out, out_at: 0, out_stride };
        self.matmul(&layer.first, 0..w.q, from_x(&s.q, w.q), Finish::Store);
        if mixer_reads_x {
            let rows = w.q..w.q + 2 * w.projected;
            let route = from_x(&s.projected, 2 * w.projected);
            self.matmul(&layer.first, rows, route, Finish::Store);
        } else {
            let rows = w.q..w.q + 2 * w.kv;
            self.matmul(&layer.first, rows, from_x(&s.kv, 2 * w.kv), Finish::Store);
        }
        if let (Some(mixers), Some(ssm)) = (&layer.mixers, &alike.ssm) {
            self.mix(index, mixers, ssm);
        }
        let p = params::Rope {
            q_dim: alike.q_dim() as u32,
            kv_dim: alike.kv_dim() as u32,
            head_dim: alike.head_dim as u32,
            q_stride: w.q,
            kv_stride: w.kv,
            rows: s.block as u32,
        };
        let items = Items::tokens([p.q_dim / 2 + p.kv_dim, 1, 1], 1);
        let kernel = Kernel::Rope { kv: self.near() };
        self.record.add(kernel, &p, [&s.q, &s.kv, &s.arena, &s.rows], items);
    }

    /// `kv_s = u + SSM_s(u)` for keys and values.
    fn mix(&mut self, index: usize, mixers: &'a MixerWeights, ssm: &Ssm) {
        let Parts { scratch: s, memory, .. } = self.parts;
        let w = s.widths;
        let sides = [0, 1];
        if let Some(w_in) = &mixers.w_in {
            for side in sides {
                let route = Route {
                    x: &s.kv,
                    x_at: side * w.kv,
                    x_stride: 2 * w.kv,
                    out: &s.projected,
                    out_at: side * w.projected,
                    out_stride: 2 * w.projected,
                };
                let rows = side * w.projected..(side + 1) * w.projected;
                self.matmul(w_in, rows, route, Finish::Store);
            }
        }
        let p = self.mixer_params(index, ssm);
        let state = &memory.mixers[index];
        let constants = &mixers.constants;
        self.record.add(
            Kernel::Conv,
            &p,
            [constants, &s.projected, &state.conv, &s.mixed, &s.arena],
            Items::tokens([p.channels, 1, 2], 1),
        );
        if ssm.conv > 1 {
            self.record.add(
                Kernel::Remember,
                &p,
                [constants, &s.projected, &state.conv, &s.arena],
                Items::fixed([p.channels, 2, 1]),
            );
        }
        self.record.add(
            Kernel::Scan,
            &p,
            [constants, &s.projected, &s.mixed, &state.scan, &s.y, &s.arena],
            Items::fixed([p.heads, 2, 1]),
        );
        self.record.add(
            Kernel::GateNorm,
            &p,
            [constants, &s.projected, &s.y, &s.gated, &s.arena],
            Items::tokens([1, 2, 1], 0),
        );
        for side in sides {
            let route = Route {
                x: &s.gated,
                x_at: side * w.inner,
                x_stride: 2 * w.inner,
                out: &s.kv,
                out_at: side * w.kv,
                out_stride: 2 * w.kv,
            };
            self.matmul(&mixers.w_out, side * w.kv..(side + 1) * w.kv, route, Finish::Add);
        }
    }

    fn feed_forward(&mut self, layer: &'a LayerWeights) {
        let s = self.parts.scratch;
        let w = s.widths;
        let route = |x, x_stride, out, out_stride| Route {
            x,
            x_at: 0,
            x_stride,
            out,
            out_at: 0,
            out_stride,
        };
        let attended = route(&s.attended, w.q, &s.h, w.d);
        self.matmul(&layer.output, 0..w.d, attended, Finish::Add);
        self.norm(&s.h, &layer.ffn_norm, false, Items::tokens([1, 1, 1], 0));
        if layer.interleaved {
            let rows = 0..layer.gate_up[0].rows;
            self.matmul(&layer.gate_up, rows, route(&s.x, w.d, &s.act, w.ffn), Finish::SwiGlu);
        } else {
            let both = route(&s.x, w.d, &s.gate_up, 2 * w.ffn);
            self.matmul(&layer.gate_up, 0..2 * w.ffn, both, Finish::Store);
            self.swiglu();
        }
        self.matmul(&layer.down, 0..w.d, route(&s.act, w.ffn, &s.h, w.d), Finish::Add);
    }

    fn rows_head(mut self) -> Result<Program> {
        let Parts { weights, scratch: s, spec, .. } = self.parts;
        let w = s.widths;
        let p = params::RmsNorm {
            cols: spec.d as u32,
            eps: spec.eps,
            h_stride: w.d,
            x_stride: w.d,
            ..Default::default()
        };
        self.record.add(
            Kernel::RmsNorm,
            &p,
            [&s.last, &weights.output_norm, &s.x, &s.y, &s.logit_arena],
            Items::tokens([1, 1, 1], 0),
        );
        let route = Route {
            x: &s.x,
            x_at: 0,
            x_stride: w.d,
            out: &s.logits,
            out_at: 0,
            out_stride: w.vocab,
        };
        self.matmul_with(&s.logit_arena, &weights.head, 0..w.vocab, route, Finish::Store);
        self.record.finish()
    }

    /// Rows `rows` of what `stacks` make together.
    fn matmul(
        &mut self,
        stacks: &'a [Stack],
        rows: std::ops::Range<u32>,
        route: Route<'a>,
        finish: Finish,
    ) {
        self.matmul_with(&self.parts.scratch.arena, stacks, rows, route, finish);
    }

    fn matmul_with(
        &mut self,
        arena: &'a Buffer,
        stacks: &'a [Stack],
        rows: std::ops::Range<u32>,
        route: Route<'a>,
        finish: Finish,
    ) {
        let parts = stacks.iter().flat_map(|stack| stack.parts.iter().map(move |p| (stack, p)));
        for (stack, part) in parts {
            let start = stack.start + part.first;
            let first = rows.start.max(start);
            let end = rows.end.min(start + part.rows);
            if first >= end {
                continue;
            }
            let before = first - rows.start;
            let p = params::Matmul {
                rows: end - first,
                pieces: stack.pieces,
                row: first - start,
                x_at: route.x_at / 4,
                x_stride: route.x_stride / 4,
                out_at: route.out_at + if finish == Finish::SwiGlu { before / 2 } else { before },
                out_stride: route.out_stride,
                unused: 0,
            };
            self.record.add(
                Kernel::Matmul { format: stack.format, finish },
                &p,
                [&part.quants, &part.scales, route.x, route.out, arena],
                Items::tokens([p.rows, 1, 1], 1),
            );
        }
    }

    // Both.

    /// `x = RMSNorm(h)`, with a copy to keys and one to values where mixers read it.
    fn norm(&mut self, h: &'a Buffer, weight: &'a Buffer, copies: bool, items: Items) {
        let Parts { spec, scratch: s, .. } = self.parts;
        let w = s.widths;
        let p = params::RmsNorm {
            cols: spec.d as u32,
            eps: spec.eps,
            h_stride: w.d,
            x_stride: w.d,
            token: 0,
            copies: if copies { 2 } else { 0 },
            copy_at: 0,
            copy_step: w.kv,
            copy_stride: 2 * w.kv,
        };
        self.record.add(Kernel::RmsNorm, &p, [h, weight, &s.x, &s.kv, &s.arena], items);
    }

    fn swiglu(&mut self) {
        let Parts { alike, scratch: s, .. } = self.parts;
        let w = s.widths;
        let p = params::SwiGlu {
            width: alike.ffn as u32,
            up_at: w.ffn,
            stride: 2 * w.ffn,
            out_stride: w.ffn,
        };
        let items = Items::tokens([p.width, 1, 1], 1);
        self.record.add(Kernel::SwiGlu, &p, [&s.gate_up, &s.act], items);
    }

    fn mixer_params(&self, index: usize, ssm: &Ssm) -> params::Mixer {
        let w = self.parts.scratch.widths;
        let channels = ssm.channels();
        params::Mixer {
            inner: ssm.inner as u32,
            state: ssm.state as u32,
            groups: ssm.groups as u32,
            heads: ssm.heads as u32,
            taps: ssm.conv as u32,
            channels: channels as u32,
            projected: w.projected,
            token_stride: 2 * w.projected,
            gated: w.inner,
            constants: ((ssm.conv + 1) * channels + 3 * ssm.heads + ssm.inner) as u32,
            scan_at: 0,
            conv_at: 0,
            schedule: self.parts.schedules[index] as u32,
            eps: MIXER_EPS,
        }
    }

    /// Attention over ring, window and block. For one token the block holds a row of every layer.
    fn attend(&mut self, index: usize, of_token: Option<usize>) {
        let Parts { alike, scratch: s, memory, .. } = self.parts;
        let w = s.widths;
        let (shelf, number) = memory.shelf(index);
        let geometry = memory.geometry;
        let shared_by = alike.heads / alike.kv_heads;
        let together = if shared_by > 1 && alike.head_dim <= WIDEST_OF_FOUR {
            (Heads::Four, shared_by.div_ceil(4))
        } else {
            (Heads::One, shared_by)
        };
        let block_rows = if of_token.is_some() { 1 } else { s.block };
        let p = params::Attend {
            heads: alike.heads as u32,
            shared_by: shared_by as u32,
            kv_heads: alike.kv_heads as u32,
            q_stride: w.q,
            out_stride: w.q,
            schedule: self.parts.schedules[index] as u32,
            ring_at: number as u32 * memory.ring_pairs(),
            window_at: number as u32 * memory.pairs(geometry.window + 1),
            block_at: of_token.map_or(0, |layer| layer as u32 * memory.pairs(1)),
            ring_rows: geometry.ring as u32,
            window_rows: geometry.window as u32 + 1,
            block_rows: block_rows as u32,
            scale: 1.0 / (alike.head_dim as f32).sqrt(),
        };
        let kernel =
            Kernel::Attend { kv: geometry.kv, heads: together.0, head_dim: alike.head_dim as u32 };
        let groups = (alike.kv_heads * together.1) as u32;
        let split = of_token.is_some();
        self.record.add(
            kernel,
            &p,
            [&s.arena, &s.q, &shelf.ring, &shelf.window, &s.rows, &s.attended, &s.parts],
            Items { parts: split, ..Items::tokens([groups, 1, 1], 1) },
        );
        if split {
            let p = params::AttendJoin { heads: p.heads, head_dim: alike.head_dim as u32 };
            let items = Items::fixed([p.heads * p.head_dim, 1, 1]);
            self.record.add(
                Kernel::AttendJoin,
                &p,
                [&s.arena, &s.parts, &s.attended],
                Items { only_if_split: true, ..items },
            );
        }
    }

    /// The moves after the block in `layers` layers of a shelf from `first` on.
    fn commit(&mut self, first: usize, layers: usize, of_token: bool) {
        let Parts { alike, scratch: s, memory, .. } = self.parts;
        let (shelf, number) = memory.shelf(first);
        let geometry = memory.geometry;
        let (ring, window) = (memory.ring_pairs(), memory.pairs(geometry.window + 1));
        let p = params::Commit {
            layer: first as u32,
            pairs: alike.head_dim as u32 / 2,
            columns: memory.pairs(1),
            ring_rows: geometry.ring as u32,
            window_rows: geometry.window as u32 + 1,
            block_rows: if of_token { 1 } else { s.block as u32 },
            ring_at: number as u32 * ring,
            ring_step: ring,
            window_at: number as u32 * window,
            window_step: window,
            block_at: if of_token { first as u32 * memory.pairs(1) } else { 0 },
            block_step: if of_token { memory.pairs(1) } else { 0 },
        };
        let (kernel, items) = match geometry.kv {
            KvType::I8 => (Kernel::CommitI8, [2 * alike.kv_heads as u32, layers as u32, 1]),
            kv => (Kernel::Commit { kv }, [p.columns, layers as u32, 1]),
        };
        let items = Items::fixed(items);
        self.record.add(kernel, &p, [&s.arena, &s.rows, &shelf.window, &shelf.ring], items);
    }
}
