//! A mixer's output, gated and normalized.

use super::super::params::Mixer;
use super::{Constants, silu};

pub(in super::super) fn gate_norm(
    p: &Mixer,
    constants: &[f32],
    projected: &[f32],
    y: &[f32],
    out: &mut [f32],
    tokens: usize,
) {
    let constants = Constants { p, all: constants };
    let inner = p.inner as usize;
    for token in 0..tokens {
        for side in 0..2 {
            let z = &projected[token * p.token_stride as usize + side * p.projected as usize..];
            let y = &y[(2 * token + side) * inner..][..inner];
            let gated: Vec<f32> = y.iter().zip(z).map(|(y, z)| silu(*z) * y).collect();
            let square: f32 = gated.iter().map(|v| v * v).sum();
            let factor = 1.0 / (square / inner as f32 + p.eps).sqrt();
            let out = &mut out[(2 * token + side) * p.gated as usize..];
            for (i, value) in gated.iter().enumerate() {
                out[i] = value * factor * constants.norm_weight(side, i);
            }
        }
    }
}
