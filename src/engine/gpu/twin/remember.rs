//! The inputs that the next block's convolution needs.

use super::super::params::Mixer;

pub(in super::super) fn remember(p: &Mixer, projected: &[f32], past: &mut [f32], tokens: usize) {
    let (rows, channels) = (p.taps as usize - 1, p.channels as usize);
    for side in 0..2 {
        let past = &mut past[p.conv_at as usize + side * rows * channels..][..rows * channels];
        for token in 0..tokens {
            let start = token * p.token_stride as usize + side * p.projected as usize;
            past.copy_within(channels.min(past.len()).., 0);
            let last = past.len().saturating_sub(channels);
            past[last..].copy_from_slice(
                &projected[start + p.inner as usize..][..channels.min(rows * channels)],
            );
        }
    }
}
