//! Causal depthwise convolution over a block of tokens.

use super::super::params::Mixer;
use super::{Constants, silu};

pub(in super::super) fn conv(
    p: &Mixer,
    constants: &[f32],
    projected: &[f32],
    past: &[f32],
    out: &mut [f32],
    since: &[u32],
) {
    let constants = Constants { p, all: constants };
    let (rows, channels) = (p.taps as usize - 1, p.channels as usize);
    for (token, &since) in since.iter().enumerate() {
        for side in 0..2 {
            for channel in 0..channels {
                let mut sum = constants.conv_bias(side, channel);
                for back in 0..=rows.min(since as usize) {
                    let input = if back <= token {
                        let start = (token - back) * p.token_stride as usize;
                        projected[start + side * p.projected as usize + p.inner as usize + channel]
                    } else {
                        let row = side * rows + rows + token - back;
                        past[p.conv_at as usize + row * channels + channel]
                    };
                    sum += input * constants.conv_weight(side, rows - back, channel);
                }
                out[(2 * token + side) * channels + channel] = silu(sum);
            }
        }
    }
}
