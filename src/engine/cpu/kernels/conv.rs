//! Causal depthwise convolution over the tokens of a block, followed by SiLU.

use super::super::simd::Simd;
use super::elementwise::{lanes, silu};

/// Channels `first..first + width` of a mixer's convolution.
pub(in crate::engine::cpu) struct Conv<'a> {
    /// Taps per channel, `C`.
    pub taps: usize,
    /// `[C][channels]`: tap by tap; the last one applies to the token itself.
    pub weight: &'a [f32],
    /// `[channels]`
    pub bias: &'a [f32],
    /// `[C - 1][channels]`: the inputs of the tokens before the block, oldest first.
    pub past: &'a [f32],
    /// Channels in all.
    pub channels: usize,
}

/// Inputs of `tokens` tokens, `stride` values apart; `input` points to the first channel of the
/// first token.
#[derive(Clone, Copy)]
pub(in crate::engine::cpu) struct Strided {
    /// First value.
    pub at: *const f32,
    /// Distance from one token to the next, in values.
    pub stride: usize,
}

/// `out[t][c] = silu(bias[c] + sum_j weight[j][c] * x[t - (C - 1) + j][c])` for the channels in
/// `first..first + width`. `fresh[t]` is the number of tokens between `t` and the last reset before
/// it: inputs from before a reset are zero.
///
/// # Safety
/// `input` must hold the tokens of `fresh`; `out` (`[tokens][channels]`) must be valid for these
/// channels, and nobody else may touch them.
#[inline(always)]
pub(super) unsafe fn conv<S: Simd>(
    c: &Conv,
    first: usize,
    width: usize,
    input: Strided,
    fresh: &[u32],
    out: *mut f32,
) {
    for (t, &since) in fresh.iter().enumerate() {
        let reach = (c.taps - 1).min(since as usize);
        for (at, n) in lanes(width) {
            let channel = first + at;
            unsafe {
                let mut sum = S::load_n(c.bias.as_ptr().add(channel), n);
                for back in (0..=reach).rev() {
                    let x = match t.checked_sub(back) {
                        Some(t) => input.at.add(t * input.stride + channel),
                        None => {
                            let row = c.taps - 1 + t - back;
                            c.past.as_ptr().add(row * c.channels + channel)
                        }
                    };
                    let w = c.weight.as_ptr().add((c.taps - 1 - back) * c.channels + channel);
                    sum = S::fma(S::load_n(x, n), S::load_n(w, n), sum);
                }
                S::store_n(out.add(t * c.channels + channel), silu::<S>(sum), n);
            }
        }
    }
}
