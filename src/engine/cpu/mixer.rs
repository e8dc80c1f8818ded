//! The mixers of a layer: convolution, scan, gate and norm, for keys and values.

use super::Shared;
use super::kernels::{Conv, Head, Precision, Strided};
use super::model::Pass;
use super::product::Product;
use crate::model::{Mixer, Ssm};

/// Epsilon of the norm within a mixer, fixed by the architecture.
const MIXER_EPS: f32 = 1e-5;

impl<P: Precision> Pass<'_, '_, P> {
    /// `kv_s = u + SSM_s(u)` for keys and values, where `u` is `x` or its projection.
    pub(super) fn mix(
        &mut self,
        shared: &Shared,
        index: usize,
        mixers: &[Mixer; 2],
        ssm: &Ssm,
        projected: bool,
        tokens: usize,
    ) {
        let layers = &shared.model.spec().layers;
        let kv_dim = layers[index].kv_dim();
        // States lie one after the other; a layer with a window of its own has none.
        let number = layers[..index].iter().filter(|layer| layer.ssm.is_some()).count();
        self.find_resets(shared, index);
        let s = &mut *self.scratch;
        let (Some(m), Some(conv)) = (&mut s.mixers, &shared.conv[index]) else { return };
        m.iter_mut().for_each(|m| m.gated.set_cols(ssm.inner));
        if projected {
            for (side, m) in m.iter_mut().enumerate() {
                m.u.set_cols(kv_dim);
                shared.quantize_rows(&m.u, tokens, |t, x| {
                    // SAFETY: nobody writes `kv` in this region.
                    x.copy_from_slice(unsafe { s.kv[side].read(t * kv_dim, kv_dim) });
                });
            }
            let products =
                [0, 1].map(|side| Product::new(&mixers[side].w_in, &m[side].u, &m[side].projected));
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
                    weight: &conv[side],
                    bias: &mixers[side].conv_bias,
                    past: part.cache.conv.read((2 * number + side) * past_len, past_len),
                    channels,
                };
                let extent = (part.len - 1) * width + channels;
                let at = m[side].projected.at(part.first * width + ssm.inner, extent);
                let input = Strided { at, stride: width };
                let out = m[side].conv.at(part.first * channels, part.len * channels);
                let fresh = fresh.read(part.first, part.len);
                shared.kernels.conv(&conv, first, STRIP.min(channels - first), input, fresh, out);
            }
        });
        for part in parts {
            for (side, m) in m.iter().enumerate() {
                // SAFETY: the region is over; this thread is alone.
                let (inputs, past) = unsafe {
                    let inputs = m.projected.read(part.first * width, part.len * width);
                    (inputs, part.cache.conv.write((2 * number + side) * past_len, past_len))
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
                let from = |at: usize, count: usize| {
                    let extent = (part.len - 1) * channels + count;
                    Strided { at: m.conv.at(part.first * channels + at, extent), stride: channels }
                };
                let head_len = head_width * ssm.state;
                let state = (2 * number + side) * state_len + head * head_len;
                let head = Head {
                    width: head_width,
                    state: ssm.state,
                    a: mixer.a[head],
                    d: mixer.d[head],
                    dt,
                    x: from(head * head_width, head_width),
                    b: from(ssm.inner + group * ssm.state, ssm.state),
                    c: from(ssm.inner + (ssm.groups + group) * ssm.state, ssm.state),
                    reset: &reset[part.first..][..part.len],
                };
                let y = part.first * ssm.inner + task % ssm.heads * head_width;
                let y = m.y.at(y, (part.len - 1) * ssm.inner + head_width);
                let scan = part.cache.scan.write(state, head_len);
                shared.kernels.scan(&head, scan, y, ssm.inner);
            }
        });

        // Gate, norm and output projection.
        for (side, m) in m.iter().enumerate() {
            shared.quantize_rows(&m.gated, tokens, |t, out| {
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
        let products = [0, 1]
            .map(|side| Product::new(&mixers[side].w_out, &m[side].gated, &s.kv[side]).added());
        shared.multiply(tokens, &s.panels, &products);
    }

    /// Where the mixers of a layer reset within the block.
    fn find_resets(&mut self, shared: &Shared, index: usize) {
        let carry = shared.model.spec().chunks.carry_state;
        let fresh = self.scratch.fresh.as_mut_slice();
        let mut of_token = fresh.iter_mut().zip(&mut self.scratch.reset);
        for part in self.parts.iter() {
            let tables = &part.cache.tables;
            let in_chunk = tables.layer(index).in_chunk();
            for ((position, in_chunk), (fresh, reset)) in
                (tables.position()..).zip(in_chunk).zip(&mut of_token)
            {
                let since = if carry { position } else { *in_chunk };
                *fresh = u32::try_from(since).unwrap_or(u32::MAX);
                *reset = since == 0;
            }
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

/// `ln(1 + e^x)`
fn softplus(x: f32) -> f32 {
    // Beyond 20 the difference from x is below rounding.
    if x > 20.0 { x } else { x.exp().ln_1p() }
}
