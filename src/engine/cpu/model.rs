//! The model, top to bottom: a block of tokens through every layer. Names and shapes are those of
//! `spec/architecture.md`; `B` is the number of tokens of the block. Each step is one parallel
//! region.
//!
//! The tokens of a block may belong to several sequences. Matrices and norms don't care; scans and
//! attention run part by part.

use super::Shared;
use super::buffer::Buffer;
use super::cache::Cache;
use super::kernels::{Activations, Kernels, Precision};
use super::product::{Product, by_panel};
use super::scratch::Scratch;
use crate::engine::Want;
use crate::error::Result;
use crate::model::{Activation, Layer, LayerSpec};
use crate::quant;
use std::ops::Range;
use std::sync::Arc;

/// Work, in multiplications, below which a region is not worth waking other threads for.
const SMALL: usize = 1 << 15;

/// The tokens of one sequence in a block.
pub(super) struct Part<'a, P: Precision> {
    pub cache: &'a mut Cache<P>,
    /// Index of the first.
    pub first: usize,
    pub len: usize,
}

/// A block that is passing through the model.
pub(super) struct Pass<'a, 'b, P: Precision> {
    pub scratch: &'a mut Scratch,
    /// In the order of their tokens.
    pub parts: &'a mut [Part<'b, P>],
}

/// The part that the token `t` belongs to, and its index there.
pub(super) fn owner<'a, 'b, P: Precision>(
    parts: &'a [Part<'b, P>],
    t: usize,
) -> (&'a Part<'b, P>, usize) {
    let part = &parts[parts.partition_point(|part| part.first + part.len <= t)];
    (part, t - part.first)
}

impl<P: Precision> Pass<'_, '_, P> {
    pub fn run(
        &mut self,
        shared: &Shared,
        tokens: &[u32],
        want: Want,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.layers(shared, tokens, |_, _| ())?;
        let first = match want {
            Want::Nothing => return Ok(()),
            Want::Last => tokens.len() - 1,
            Want::All => 0,
        };
        self.head(shared, first, tokens.len(), sink);
        Ok(())
    }

    /// The tokens through every layer. `attended` gets the number of each layer once its attention
    /// is computed, while the queries and all that they see are still in place.
    pub fn layers(
        &mut self,
        shared: &Shared,
        tokens: &[u32],
        mut attended: impl FnMut(&Self, usize),
    ) -> Result<()> {
        self.embed(shared, tokens)?;
        for part in &mut *self.parts {
            part.cache.tables.begin(part.len);
            part.cache.check_visible(part.len)?;
        }
        self.prepare_turns(shared);
        for (index, layer) in shared.model.weights.layers.iter().enumerate() {
            self.keys_and_values(shared, index, layer, tokens.len());
            self.attention(shared, index, layer, tokens.len());
            attended(self, index);
            self.parts.iter_mut().for_each(|part| part.cache.commit(index));
            self.feed_forward(shared, index, layer, tokens.len());
        }
        self.parts.iter_mut().for_each(|part| part.cache.tables.finish());
        Ok(())
    }

    /// `h = embedding[token]`, scaled if the model requires it.
    fn embed(&mut self, shared: &Shared, tokens: &[u32]) -> Result<()> {
        let embedding = &shared.model.weights.embedding;
        let scale = shared.model.spec().embedding_scale;
        let stride = embedding.row_bytes();
        let rows = self.scratch.h.as_mut_slice().chunks_exact_mut(embedding.cols);
        for (token, h) in tokens.iter().zip(rows) {
            let row = &embedding.bytes()[*token as usize * stride..][..stride];
            quant::dequantize(embedding.dtype, row, h)?;
            if scale != 1.0 {
                h.iter_mut().for_each(|h| *h *= scale);
            }
        }
        Ok(())
    }

    /// The rotations of this block's positions.
    fn prepare_turns(&mut self, shared: &Shared) {
        for (table, turns) in shared.rotary.iter().zip(&mut self.scratch.turns) {
            let width = 2 * table.frequencies.len();
            let mut turns = turns.as_mut_slice().chunks_exact_mut(width);
            for part in self.parts.iter() {
                let positions = (part.cache.tables.position()..).take(part.len);
                positions
                    .zip(&mut turns)
                    .for_each(|(position, turns)| table.turns(position, turns));
            }
        }
    }

    /// Norm, projections and mixers: fills `q`, `kv` and the block's rows of keys and values.
    fn keys_and_values(&mut self, shared: &Shared, index: usize, layer: &Layer, tokens: usize) {
        let spec = &shared.model.spec().layers[index];
        let attention = &layer.attention;
        self.norm(shared, attention.norm.as_deref(), 0..tokens);
        self.note_scores(shared, index);
        let s = &mut *self.scratch;
        let query = Product::of(&attention.q, &s.x, &s.q);
        match (&attention.kv, &attention.mixers) {
            (Some(kv), _) => {
                let [k, v] = [0, 1].map(|side| Product::of(&kv[side], &s.x, &s.kv[side]));
                shared.multiply(tokens, &s.panels, &[query, k, v]);
            }
            (None, Some(mixers)) => {
                if let Some(m) = &s.mixers {
                    let [k, v] = [0, 1]
                        .map(|side| Product::new(&mixers[side].w_in, &s.x, &m[side].projected));
                    shared.multiply(tokens, &s.panels, &[query, k, v]);
                }
            }
            (None, None) => shared.multiply(tokens, &s.panels, &[query]),
        }
        if let (Some(mixers), Some(ssm)) = (&attention.mixers, &spec.ssm) {
            self.mix(shared, index, mixers, ssm, attention.kv.is_some(), tokens);
        }
        self.rotate_and_store(shared, index, layer, tokens);
    }

    /// How much the tokens will be needed once they are far away, by heads whose states are kept by that.
    fn note_scores(&mut self, shared: &Shared, index: usize) {
        let spec = shared.model.spec();
        for part in &mut *self.parts {
            let tables = &mut part.cache.tables;
            let layout = Arc::clone(tables.layout());
            for class in
                layout.classes_of(index).filter(|class| layout.classes()[*class].is_scored())
            {
                for head in &layout.classes()[class].heads {
                    let Some(gate) = spec.gate(index, *head) else { continue };
                    let position = tables.position();
                    for t in 0..part.len {
                        let x = self.scratch.x.values(part.first + t);
                        tables.note(class, position + t as u64, dot(gate, x));
                    }
                }
            }
        }
    }

    /// `h += Wdown (act(Wgate y) * (Wup y))`
    fn feed_forward(&mut self, shared: &Shared, index: usize, layer: &Layer, tokens: usize) {
        let LayerSpec { ffn, activation, .. } = shared.model.spec().layers[index];
        self.norm(shared, layer.ffn_norm.as_deref(), 0..tokens);
        let s = &mut *self.scratch;
        let gate = Product::new(&layer.ffn_gate, &s.x, &s.gate);
        let up = Product::new(&layer.ffn_up, &s.x, &s.up);
        shared.multiply(tokens, &s.panels, &[gate, up]);
        s.wide.set_cols(ffn);
        shared.quantize_rows(&s.wide, tokens, |t, out| {
            // SAFETY: nobody writes `gate` and `up` in this region.
            let (gate, up) = unsafe { (s.gate.read(t * ffn, ffn), s.up.read(t * ffn, ffn)) };
            match activation {
                Activation::Silu => shared.kernels.swiglu(gate, up, out),
                Activation::GeluTanh => shared.kernels.geglu(gate, up, out),
            }
        });
        let down = |out| Product::new(&layer.ffn_down, &s.wide, out);
        shared.add_to_stream(s, &down, layer.ffn_post_norm.as_deref(), tokens);
    }

    /// The logits of tokens `first..tokens`, a few at a time.
    fn head(
        &mut self,
        shared: &Shared,
        first: usize,
        tokens: usize,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) {
        let weights = &shared.model.weights;
        let vocab = weights.head.rows;
        let mut t = first;
        while t < tokens {
            let end = tokens.min(t + self.scratch.logit_rows);
            self.norm(shared, Some(&weights.output_norm), t..end);
            let s = &mut *self.scratch;
            let product = Product::new(&weights.head, &s.x, &s.logits);
            shared.multiply(end - t, &s.panels, &[product]);
            if let Some(cap) = shared.model.spec().logit_cap {
                shared.cap(&s.logits, (end - t) * vocab, cap);
            }
            for (i, logits) in s.logits.as_mut_slice().chunks_exact(vocab).take(end - t).enumerate()
            {
                sink(t + i, logits);
            }
            self.scratch.last_row = Some(end - t - 1);
            t = end;
        }
    }

    /// `x = RMSNorm(h) * weight`, or `x = h` without a norm, for some tokens of the block, with the
    /// first in row 0.
    fn norm(&mut self, shared: &Shared, weight: Option<&[f32]>, tokens: std::ops::Range<usize>) {
        let (d, eps) = (shared.model.spec().d, shared.model.spec().eps);
        let s = &mut *self.scratch;
        s.x.set_cols(d);
        shared.quantize_rows(&s.x, tokens.len(), |t, x| {
            // SAFETY: nobody writes `h` in this region.
            let h = unsafe { s.h.read((tokens.start + t) * d, d) };
            match weight {
                Some(weight) => shared.kernels.rms_norm(h, weight, eps, x),
                None => x.copy_from_slice(h),
            }
        });
    }
}

/// The dot product, whatever instructions there are: what is kept must not depend on that.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

impl Shared {
    /// Adds a product to the residual stream, `h += W x`, normalized first if there is a norm.
    pub(super) fn add_to_stream<'a>(
        &self,
        s: &'a Scratch,
        product: &dyn Fn(&'a Buffer<f32>) -> Product<'a>,
        norm: Option<&[f32]>,
        tokens: usize,
    ) {
        let Some(weight) = norm else {
            return self.multiply(tokens, &s.panels, &[product(&s.h).added()]);
        };
        self.multiply(tokens, &s.panels, &[product(&s.branch)]);
        let (d, eps) = (weight.len(), self.model.spec().eps);
        self.region(tokens, tokens * d, &|t, _| {
            // SAFETY: each task has a token of its own.
            let (branch, h) = unsafe { (s.branch.write(t * d, d), s.h.write(t * d, d)) };
            self.kernels.rms_norm_in_place(branch, weight, eps);
            h.iter_mut().zip(branch).for_each(|(h, branch)| *h += *branch);
        });
    }

    /// `cap * tanh(logit / cap)` for this many logits.
    fn cap(&self, logits: &Buffer<f32>, count: usize, cap: f32) {
        // Some microseconds of work per thread.
        const PIECE: usize = 1 << 13;
        self.region(count.div_ceil(PIECE), count, &|piece, _| {
            let first = piece * PIECE;
            // SAFETY: each task has logits of its own.
            let logits = unsafe { logits.write(first, PIECE.min(count - first)) };
            self.kernels.cap(logits, cap);
        });
    }

    /// Fills rows of activations by `fill(row, values)` and quantizes them for products of `count`
    /// tokens.
    pub(super) fn quantize_rows(
        &self,
        rows: &Activations,
        count: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let quantize = if by_panel(count) { Kernels::quantize_many } else { Kernels::quantize };
        self.region(count, count * rows.cols(), &|t, _| {
            // SAFETY: each task has a row of its own.
            let mut row = unsafe { rows.row_mut(t) };
            fill(t, row.x);
            if self.quantized {
                quantize(&self.kernels, &mut row);
            }
        });
    }

    /// A parallel region, unless there is so little work that one thread finishes sooner.
    pub(super) fn region(&self, tasks: usize, work: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        self.region_of_ranges(tasks, work, &|some, thread| some.for_each(|t| task(t, thread)));
    }

    /// The same for tasks of which neighbors are done faster together.
    pub(super) fn region_of_ranges(
        &self,
        tasks: usize,
        work: usize,
        run: &(dyn Fn(Range<usize>, usize) + Sync),
    ) {
        if work < SMALL {
            run(0..tasks, 0);
        } else {
            self.pool.run(tasks, run);
        }
    }
}
