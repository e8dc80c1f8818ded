//! The model, top to bottom: a block of tokens through every layer. Names and shapes are those of
//! `spec/architecture.md`; `B` is the number of tokens at hand. Each step is one parallel region.
//!
//! The tokens of a block may belong to several sequences. Matrices and norms do not care; scans and
//! attention go part by part.

use super::Shared;
use super::cache::Cache;
use super::kernels::{Activations, Conv, Head, Kept, Partial, Queries, Strided};
use super::product::Product;
use super::scratch::Scratch;
use crate::chunk::{self, Ledgers, Plan};
use crate::engine::{Candidate, Geometry, State, Want, most_likely};
use crate::error::{Error, Result};
use crate::model::{Layer, Mixer, Ssm};
use crate::quant;
use std::any::Any;
use std::sync::Arc;

/// Epsilon of the norm within a mixer, as in the architecture.
const MIXER_EPS: f32 = 1e-5;

/// Rows that make it worth while to split one token's attention among threads.
const ROWS_OF_A_PART: usize = 128;

/// Work, in multiplications, below which a region is not worth the wake-up of other threads.
const SMALL: usize = 1 << 15;

/// One sequence of tokens on the CPU.
pub(super) struct Sequence<K: Kept> {
    shared: Arc<Shared>,
    cache: Cache<K>,
    scratch: Scratch,
}

impl<K: Kept> Sequence<K> {
    pub fn new(shared: Arc<Shared>, geometry: Geometry) -> Result<Sequence<K>> {
        let scratch = Scratch::new(&shared.model, shared.pool.threads())?;
        let cache = Cache::new(&shared.model.hyper, geometry, scratch.block)?;
        Ok(Sequence { shared, cache, scratch })
    }

    /// Takes in one token of each of `sequences`, which are of one engine, at once.
    pub fn together(
        sequences: &mut [&mut Sequence<K>],
        tokens: &[u32],
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let Some((first, others)) = sequences.split_first_mut() else { return Ok(()) };
        let Sequence { shared, cache, scratch } = &mut **first;
        others.iter_mut().for_each(|other| other.scratch.last_row = None);
        let caches = std::iter::once(cache).chain(others.iter_mut().map(|other| &mut other.cache));
        let part = |(first, cache)| Part { cache, first, len: 1 };
        let mut parts: Vec<Part<K>> = (0..).zip(caches).map(part).collect();
        Pass { scratch, parts: &mut parts }.run(shared, tokens, Want::All, sink)
    }

    /// Tokens that one block has at most, of however many sequences.
    pub fn block(&self) -> usize {
        self.scratch.block
    }

    /// Whether both are of one engine.
    pub fn is_beside(&self, other: &Sequence<K>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

/// The tokens of one sequence in a block.
struct Part<'a, K: Kept> {
    cache: &'a mut Cache<K>,
    /// Index of the first.
    first: usize,
    len: usize,
}

/// A block on its way through the model.
struct Pass<'a, 'b, K: Kept> {
    scratch: &'a mut Scratch,
    /// In the order of their tokens.
    parts: &'a mut [Part<'b, K>],
}

/// The part that the token `t` belongs to, and its index there.
fn owner<'a, 'b, K: Kept>(parts: &'a [Part<'b, K>], t: usize) -> (&'a Part<'b, K>, usize) {
    let part = &parts[parts.partition_point(|part| part.first + part.len <= t)];
    (part, t - part.first)
}

impl<K: Kept> Pass<'_, '_, K> {
    fn run(
        &mut self,
        shared: &Shared,
        tokens: &[u32],
        want: Want,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.embed(shared, tokens)?;
        self.parts.iter_mut().for_each(|part| part.cache.ledgers.begin(part.len));
        self.prepare_turns(shared);
        for (index, layer) in shared.model.weights.layers.iter().enumerate() {
            self.keys_and_values(shared, index, layer, tokens.len());
            self.attention(shared, index, layer, tokens.len());
            self.feed_forward(shared, layer, tokens.len());
        }
        self.parts.iter_mut().for_each(|part| part.cache.ledgers.finish());
        let first = match want {
            Want::Nothing => return Ok(()),
            Want::Last => tokens.len() - 1,
            Want::All => 0,
        };
        self.head(shared, first, tokens.len(), sink);
        Ok(())
    }

    /// `h = embedding[token]`
    fn embed(&mut self, shared: &Shared, tokens: &[u32]) -> Result<()> {
        let embedding = &shared.model.weights.embedding;
        let stride = embedding.row_bytes();
        let rows = self.scratch.h.as_mut_slice().chunks_exact_mut(embedding.cols);
        for (token, h) in tokens.iter().zip(rows) {
            let row = &embedding.bytes()[*token as usize * stride..][..stride];
            quant::dequantise(embedding.dtype, row, h)?;
        }
        Ok(())
    }

    /// The rotations of this block's positions. Angles are reduced in f64, so that they stay exact
    /// after billions of tokens.
    fn prepare_turns(&mut self, shared: &Shared) {
        let half = shared.frequencies.len();
        let mut turns = self.scratch.turns.as_mut_slice().chunks_exact_mut(2 * half);
        for part in self.parts.iter() {
            let positions = (part.cache.ledgers.position()..).take(part.len);
            for (position, turns) in positions.zip(&mut turns) {
                for (turn, frequency) in turns.chunks_exact_mut(2).zip(&shared.frequencies) {
                    let (sin, cos) = (position as f64 * frequency).sin_cos();
                    turn[0] = cos as f32;
                    turn[1] = sin as f32;
                }
            }
        }
    }

    /// Norm, projections and mixers: fills `q`, `kv` and the block's rows of keys and values.
    fn keys_and_values(&mut self, shared: &Shared, index: usize, layer: &Layer, tokens: usize) {
        let hyper = &shared.model.hyper;
        let attention = &layer.attention;
        self.norm(shared, &attention.norm, 0..tokens);
        let s = &mut *self.scratch;
        let query = Product { w: &attention.q, x: &s.x, out: &s.q, add: false };
        match (&attention.kv, &attention.mixers) {
            (Some(kv), _) => {
                let k = Product { w: &kv.k, x: &s.x, out: &s.kv[0], add: false };
                let v = Product { w: &kv.v, x: &s.x, out: &s.kv[1], add: false };
                shared.multiply(tokens, &s.panels, &[query, k, v]);
            }
            (None, Some(mixers)) => {
                if let Some(m) = &s.mixers {
                    let [k, v] = [0, 1].map(|side| Product {
                        w: &mixers[side].w_in,
                        x: &s.x,
                        out: &m[side].projected,
                        add: false,
                    });
                    shared.multiply(tokens, &s.panels, &[query, k, v]);
                }
            }
            (None, None) => shared.multiply(tokens, &s.panels, &[query]),
        }
        if let (Some(mixers), Some(ssm)) = (&attention.mixers, &hyper.ssm) {
            self.mix(shared, index, mixers, ssm, attention.kv.is_some(), tokens);
        }
        self.rotate_and_store(shared, tokens);
    }

    /// `kv_s = u + SSM_s(u)` for keys and values, where `u` is `x` or its projection.
    fn mix(
        &mut self,
        shared: &Shared,
        index: usize,
        mixers: &[Mixer; 2],
        ssm: &Ssm,
        projected: bool,
        tokens: usize,
    ) {
        let kv_dim = shared.model.hyper.kv_dim();
        self.find_resets(shared, index);
        let s = &mut *self.scratch;
        let Some(m) = &mut s.mixers else { return };
        if projected {
            for (side, m) in m.iter_mut().enumerate() {
                m.u.set_cols(kv_dim);
                shared.quantise_rows(&m.u, tokens, |t, x| {
                    // SAFETY: nobody writes `kv` in this region.
                    x.copy_from_slice(unsafe { s.kv[side].read(t * kv_dim, kv_dim) });
                });
            }
            let products = [0, 1].map(|side| Product {
                w: &mixers[side].w_in,
                x: &m[side].u,
                out: &m[side].projected,
                add: false,
            });
            shared.multiply(tokens, &s.panels, &products);
        } else {
            for t in 0..tokens {
                for kv in &s.kv {
                    // SAFETY: `x` was written in an earlier region; this one has a single thread.
                    unsafe {
                        let x = std::slice::from_raw_parts(s.x.row(t).x, kv_dim);
                        kv.write(t * kv_dim, kv_dim).copy_from_slice(x);
                    }
                }
            }
        }

        // Convolution, in strips of channels.
        const STRIP: usize = 64;
        let (channels, width) = (ssm.channels(), ssm.projected());
        let strips = channels.div_ceil(STRIP);
        let (m, fresh) = (&*m, &s.fresh);
        let past_len = (ssm.conv - 1) * channels;
        let parts = &*self.parts;
        shared.region(2 * strips * parts.len(), tokens * channels * ssm.conv, &|task, _| {
            let (side, first) = (task / strips % 2, task % strips * STRIP);
            let part = &parts[task / strips / 2];
            // SAFETY: each task has channels of its own; what it reads was written before.
            unsafe {
                let conv = Conv {
                    taps: ssm.conv,
                    weight: &shared.conv[index][side],
                    bias: &mixers[side].conv_bias,
                    past: part.cache.conv.read((2 * index + side) * past_len, past_len),
                    channels,
                };
                let at = m[side].projected.read(part.first * width + ssm.inner, 1).as_ptr();
                let input = Strided { at, stride: width };
                let out = m[side].conv.write(part.first * channels, part.len * channels);
                let (out, fresh) = (out.as_mut_ptr(), fresh.read(part.first, part.len));
                shared.kernels.conv(&conv, first, STRIP.min(channels - first), input, fresh, out);
            }
        });
        for part in parts {
            for (side, m) in m.iter().enumerate() {
                // SAFETY: the region is over; this thread is alone.
                let (inputs, past) = unsafe {
                    let inputs = m.projected.read(part.first * width, part.len * width);
                    (inputs, part.cache.conv.write((2 * index + side) * past_len, past_len))
                };
                let inputs = inputs.chunks_exact(width).map(|row| &row[ssm.inner..][..channels]);
                remember(past, inputs, channels);
            }
        }

        // The scan, head by head.
        let (head_width, state_len) = (ssm.inner / ssm.heads, ssm.inner * ssm.state);
        let reset = &s.reset;
        shared.region(2 * ssm.heads * parts.len(), 2 * tokens * state_len, &|task, _| {
            let (side, head) = (task / ssm.heads % 2, task % ssm.heads);
            let part = &parts[task / ssm.heads / 2];
            let group = head * ssm.groups / ssm.heads;
            let (mixer, m) = (&mixers[side], &m[side]);
            // SAFETY: each task has its head's steps, state and output; the rest is read.
            unsafe {
                let dt = m.dt.write(head * tokens + part.first, part.len);
                for (t, dt) in (part.first..).zip(&mut *dt) {
                    let raw = m.projected.read(t * width + width - ssm.heads + head, 1)[0];
                    *dt = softplus(raw + mixer.dt_bias[head]);
                }
                let from = |at: usize| {
                    let at = m.conv.read(part.first * channels + at, 1).as_ptr();
                    Strided { at, stride: channels }
                };
                let head_len = head_width * ssm.state;
                let state = (2 * index + side) * state_len + head * head_len;
                let head = Head {
                    width: head_width,
                    state: ssm.state,
                    a: mixer.a[head],
                    d: mixer.d[head],
                    dt,
                    x: from(head * head_width),
                    b: from(ssm.inner + group * ssm.state),
                    c: from(ssm.inner + (ssm.groups + group) * ssm.state),
                    reset: &reset[part.first..][..part.len],
                };
                let y = part.first * ssm.inner + task % ssm.heads * head_width;
                let y = m.y.write(y, 1).as_mut_ptr();
                let scan = part.cache.scan.write(state, head_len);
                shared.kernels.scan(&head, scan, y, ssm.inner);
            }
        });

        // Gate, norm and output projection.
        for (side, m) in m.iter().enumerate() {
            shared.quantise_rows(&m.gated, tokens, |t, out| {
                // SAFETY: each task has a token of its own; the convolution's output is spent.
                unsafe {
                    let z = m.projected.read(t * width, ssm.inner);
                    let y = m.y.read(t * ssm.inner, ssm.inner);
                    let gated = m.conv.write(t * channels, ssm.inner);
                    shared.kernels.swiglu(z, y, gated);
                    shared.kernels.rms_norm(gated, &mixers[side].norm, MIXER_EPS, out);
                }
            });
        }
        let products = [0, 1].map(|side| Product {
            w: &mixers[side].w_out,
            x: &m[side].gated,
            out: &s.kv[side],
            add: true,
        });
        shared.multiply(tokens, &s.panels, &products);
    }

    /// Where the mixers of a layer start afresh within the block.
    fn find_resets(&mut self, shared: &Shared, index: usize) {
        let carry = shared.model.hyper.carry_state;
        let fresh = self.scratch.fresh.as_mut_slice();
        let mut of_token = fresh.iter_mut().zip(&mut self.scratch.reset);
        for part in self.parts.iter() {
            let ledgers = &part.cache.ledgers;
            let in_chunk = ledgers.layer(index).in_chunk();
            for ((position, in_chunk), (fresh, reset)) in
                (ledgers.position()..).zip(in_chunk).zip(&mut of_token)
            {
                let since = if carry { position } else { *in_chunk };
                *fresh = u32::try_from(since).unwrap_or(u32::MAX);
                *reset = since == 0;
            }
        }
    }

    /// RoPE on queries and keys; keys and values go to the block in the form they are kept in.
    fn rotate_and_store(&mut self, shared: &Shared, tokens: usize) {
        let hyper = &shared.model.hyper;
        let (n, q_dim, kv_dim) = (hyper.head_dim, hyper.q_dim(), hyper.kv_dim());
        let (s, parts) = (&*self.scratch, &*self.parts);
        shared.region(tokens, tokens * (q_dim + 2 * kv_dim), &|t, _| {
            // SAFETY: each task has a token of its own.
            unsafe {
                let turns = s.turns.read(t * n, n);
                s.q.write(t * q_dim, q_dim).chunks_exact_mut(n).for_each(|q| rotate(q, turns));
                let k = s.kv[0].write(t * kv_dim, kv_dim);
                let v = s.kv[1].read(t * kv_dim, kv_dim);
                let heads = k.chunks_exact_mut(n).zip(v.chunks_exact(n));
                let (part, row) = owner(parts, t);
                for (head, (k, v)) in heads.enumerate() {
                    rotate(k, turns);
                    let [k_row, v_row] = part.cache.block_row(head, row);
                    shared.kernels.convert::<K>(k, k_row);
                    shared.kernels.convert::<K>(v, v_row);
                }
            }
        });
    }

    /// `h += Wo softmax(q k / sqrt(head_dim)) v` over what each token sees.
    fn attention(&mut self, shared: &Shared, index: usize, layer: &Layer, tokens: usize) {
        let hyper = &shared.model.hyper;
        let (heads, kv_heads, n) = (hyper.heads, hyper.kv_heads, hyper.head_dim);
        let (group, q_dim) = (heads / kv_heads, hyper.q_dim());
        self.scratch.wide.set_cols(q_dim);
        let (s, sequences) = (&*self.scratch, &*self.parts);

        let visible =
            |part: &Part<K>| chunk::rows(part.cache.ledgers.layer(index).visible(part.len - 1));
        let most_rows = sequences.iter().map(visible).max().unwrap_or(0);
        let parts = match tokens {
            1 => (most_rows / ROWS_OF_A_PART).clamp(1, s.parts),
            _ => 1,
        };
        // One key head of one token, or of one part of its rows.
        let work = tokens * most_rows * q_dim;
        shared.region(tokens * kv_heads * parts, work, &|task, _| {
            let (head, part, t) =
                (task % kv_heads, task / kv_heads % parts, task / kv_heads / parts);
            let first = head * group;
            let (sequence, row_of_block) = owner(sequences, t);
            let runs = sequence.cache.ledgers.layer(index).visible(row_of_block);
            let rows = chunk::rows(runs);
            let part_rows = part * rows / parts..(part + 1) * rows / parts;
            // SAFETY: each task has heads of a token, or of a part, of its own.
            unsafe {
                let queries = Queries {
                    q: s.q.read(t * q_dim + first * n, group * n).as_ptr(),
                    heads: group,
                    head_dim: n,
                };
                let places = sequence.cache.places(index, head);
                let row = (t + part) * heads + first;
                let mut into = Partial {
                    out: match parts {
                        1 => &mut s.wide.row_mut(t).x[first * n..][..group * n],
                        _ => s.parts_out.write(part * q_dim + first * n, group * n),
                    },
                    max: s.max.write(row, group),
                    sum: s.sum.write(row, group),
                };
                shared.kernels.attend::<K>(&queries, &places, runs, part_rows, &mut into);
                if parts == 1 {
                    shared.kernels.divide(&mut into, n);
                }
            }
        });
        if parts > 1 {
            // SAFETY: the region is over; this thread is alone.
            unsafe {
                let out = s.wide.row_mut(0).x;
                let max = s.max.read(0, parts * heads);
                let sum = s.sum.read(0, parts * heads);
                let all = s.parts_out.read(0, parts * q_dim);
                shared.kernels.join(all, max, sum, n, out);
            }
        }
        shared.quantise_rows(&s.wide, tokens, |_, _| {});
        let w = &layer.attention.output;
        let product = Product { w, x: &s.wide, out: &s.h, add: true };
        shared.multiply(tokens, &s.panels, &[product]);
        self.parts.iter_mut().for_each(|part| part.cache.commit(index));
    }

    /// `h += Wdown (silu(Wgate y) * (Wup y))`
    fn feed_forward(&mut self, shared: &Shared, layer: &Layer, tokens: usize) {
        let ffn = shared.model.hyper.ffn;
        self.norm(shared, &layer.ffn_norm, 0..tokens);
        let s = &mut *self.scratch;
        let gate = Product { w: &layer.ffn_gate, x: &s.x, out: &s.gate, add: false };
        let up = Product { w: &layer.ffn_up, x: &s.x, out: &s.up, add: false };
        shared.multiply(tokens, &s.panels, &[gate, up]);
        s.wide.set_cols(ffn);
        shared.quantise_rows(&s.wide, tokens, |t, out| {
            // SAFETY: nobody writes `gate` and `up` in this region.
            let (gate, up) = unsafe { (s.gate.read(t * ffn, ffn), s.up.read(t * ffn, ffn)) };
            shared.kernels.swiglu(gate, up, out);
        });
        let product = Product { w: &layer.ffn_down, x: &s.wide, out: &s.h, add: true };
        shared.multiply(tokens, &s.panels, &[product]);
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
            self.norm(shared, &weights.output_norm, t..end);
            let s = &mut *self.scratch;
            let product = Product { w: &weights.head, x: &s.x, out: &s.logits, add: false };
            shared.multiply(end - t, &s.panels, &[product]);
            for (i, logits) in s.logits.as_mut_slice().chunks_exact(vocab).take(end - t).enumerate()
            {
                sink(t + i, logits);
            }
            self.scratch.last_row = Some(end - t - 1);
            t = end;
        }
    }

    /// `x = RMSNorm(h) * weight` for some tokens of the block, the first in row 0.
    fn norm(&mut self, shared: &Shared, weight: &[f32], tokens: std::ops::Range<usize>) {
        let d = weight.len();
        let s = &mut *self.scratch;
        s.x.set_cols(d);
        shared.quantise_rows(&s.x, tokens.len(), |t, x| {
            // SAFETY: nobody writes `h` in this region.
            let h = unsafe { s.h.read((tokens.start + t) * d, d) };
            shared.kernels.rms_norm(h, weight, shared.model.hyper.eps, x);
        });
    }
}

impl Shared {
    /// Fills rows of activations by `fill(row, values)` and quantises them.
    fn quantise_rows(
        &self,
        rows: &Activations,
        count: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        self.region(count, count * rows.cols(), &|t, _| {
            // SAFETY: each task has a row of its own.
            let mut row = unsafe { rows.row_mut(t) };
            fill(t, row.x);
            if self.quantised {
                self.kernels.quantise(&mut row);
            }
        });
    }

    /// A parallel region, unless there is so little work that one thread is done sooner.
    fn region(&self, tasks: usize, work: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        if work < SMALL {
            (0..tasks).for_each(|index| task(index, 0));
        } else {
            self.pool.run(tasks, task);
        }
    }
}

/// Shifts the inputs of a block's tokens into the rows kept for the next block's convolution.
fn remember<'a>(
    past: &mut [f32],
    inputs: impl ExactSizeIterator<Item = &'a [f32]>,
    channels: usize,
) {
    let rows = past.len() / channels;
    let new = inputs.len().min(rows);
    past.copy_within(new * channels.., 0);
    let skipped = inputs.len() - new;
    let kept = past.chunks_exact_mut(channels).skip(rows - new);
    kept.zip(inputs.skip(skipped)).for_each(|(row, input)| row.copy_from_slice(input));
}

/// Turns the pairs `(2j, 2j + 1)` of a head by its angles.
fn rotate(head: &mut [f32], turns: &[f32]) {
    for (pair, turn) in head.chunks_exact_mut(2).zip(turns.chunks_exact(2)) {
        let (a, b) = (pair[0], pair[1]);
        pair[0] = a * turn[0] - b * turn[1];
        pair[1] = a * turn[1] + b * turn[0];
    }
}

/// `ln(1 + e^x)`
fn softplus(x: f32) -> f32 {
    // Beyond 20 the difference from x is less than rounding.
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

impl<K: Kept> State for Sequence<K> {
    fn forward(
        &mut self,
        tokens: &[u32],
        want: Want,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let vocab = self.shared.model.hyper.vocab;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab });
        }
        if tokens.len() > State::room(self) {
            return Err(Error::Argument(format!(
                "{} tokens in one block; the state takes {}",
                tokens.len(),
                State::room(self)
            )));
        }
        if tokens.is_empty() {
            return Ok(());
        }
        let part = Part { cache: &mut self.cache, first: 0, len: tokens.len() };
        Pass { scratch: &mut self.scratch, parts: &mut [part] }.run(
            &self.shared,
            tokens,
            want,
            sink,
        )
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn forward_top(&mut self, tokens: &[u32], top: &mut Vec<Candidate>) -> Result<()> {
        self.forward(tokens, Want::Last, &mut |_, logits| most_likely(logits, top))
    }

    fn last_logits(&mut self, logits: &mut Vec<f32>) -> Result<()> {
        logits.clear();
        if let Some(row) = self.scratch.last_row {
            let vocab = self.shared.model.hyper.vocab;
            logits.extend_from_slice(&self.scratch.logits.as_mut_slice()[row * vocab..][..vocab]);
        }
        Ok(())
    }

    fn ledgers(&self) -> &Ledgers {
        &self.cache.ledgers
    }

    fn set_plans(&mut self, plans: &[Plan]) {
        self.cache.ledgers.set_plans(plans);
    }

    fn shrink(&mut self, ring: usize) -> Result<()> {
        self.cache.shrink(ring);
        Ok(())
    }

    fn reset(&mut self) {
        // Nothing else: at position 0 no row is visible and every mixer starts from zero.
        self.cache.ledgers.reset();
    }

    fn export(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.cache.pieces(&mut |piece| sink(piece))
    }

    fn import(
        &mut self,
        ledgers: Ledgers,
        source: &mut dyn FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        self.cache.ledgers = ledgers;
        let taken = self.cache.pieces(source);
        if taken.is_err() {
            self.reset();
        }
        taken
    }

    fn state_bytes(&self) -> u64 {
        self.cache.state_bytes() as u64
    }

    fn scratch_bytes(&self) -> u64 {
        (self.scratch.bytes() + self.cache.block_bytes()) as u64
    }
}
