//! RoPE on a block.

use super::super::params::Rope;
use super::turned;

/// Keys and values go to `block`, `[side][kv head][rows][head_dim]`, without the rounding to their
/// type.
pub(in super::super) fn rope(
    p: &Rope,
    q: &mut [f32],
    kv: &[f32],
    turns: &[f32],
    block: &mut [f32],
    tokens: usize,
) {
    let n = p.head_dim as usize;
    let (kv_dim, kv_stride) = (p.kv_dim as usize, p.kv_stride as usize);
    for token in 0..tokens {
        let turn = |i: usize| &turns[token * n + i % n..][..2];
        let q = &mut q[token * p.q_stride as usize..];
        for i in (0..p.q_dim as usize).step_by(2) {
            let pair = turned([q[i], q[i + 1]], turn(i));
            q[i..i + 2].copy_from_slice(&pair);
        }
        for side in 0..2 {
            let row = &kv[(2 * token + side) * kv_stride..];
            for i in (0..kv_dim).step_by(2) {
                let plain = [row[i], row[i + 1]];
                let pair = if side == 0 { turned(plain, turn(i)) } else { plain };
                let head = side * (kv_dim / n) + i / n;
                let at = (head * p.rows as usize + token) * n + i % n;
                block[at..at + 2].copy_from_slice(&pair);
            }
        }
    }
}
