//! RMSNorm of each token.

use super::super::params::RmsNorm;

pub(in super::super) fn rms_norm(
    p: &RmsNorm,
    add: bool,
    h: &[f32],
    gain: &[f32],
    x: &mut [f32],
    copy: &mut [f32],
    tokens: usize,
) {
    let cols = p.cols as usize;
    for token in 0..tokens - p.token as usize {
        let h = &h[(p.token as usize + token) * p.h_stride as usize..][..cols];
        let square: f32 = h.iter().map(|v| v * v).sum();
        let factor = 1.0 / (square / cols as f32 + p.eps).sqrt();
        for i in 0..cols {
            let value = h[i] * factor * gain[i];
            let at = token * p.x_stride as usize + i;
            x[at] = if add { x[at] + value } else { value };
            for c in 0..p.copies as usize {
                let at = p.copy_at as usize + c * p.copy_step as usize;
                copy[at + token * p.copy_stride as usize + i] = value;
            }
        }
    }
}
