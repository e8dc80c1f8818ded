//! RMSNorm of each query and key head.

use super::super::params::HeadNorm;

pub(in super::super) fn head_norm(
    p: &HeadNorm,
    q: &mut [f32],
    k: &mut [f32],
    gain: &[f32],
    tokens: usize,
) {
    let n = p.head_dim as usize;
    for token in 0..tokens {
        for head in 0..p.heads as usize {
            let (of, start, gain) = match head.checked_sub(p.queries as usize) {
                None => (&mut *q, token * p.q_stride as usize + head * n, &gain[..n]),
                Some(head) => (&mut *k, token * p.k_stride as usize + head * n, &gain[n..]),
            };
            let head = &mut of[start..][..n];
            let square: f32 = head.iter().map(|v| v * v).sum();
            let factor = 1.0 / (square / n as f32 + p.eps).sqrt();
            head.iter_mut().zip(gain).for_each(|(v, gain)| *v *= factor * gain);
        }
    }
}
