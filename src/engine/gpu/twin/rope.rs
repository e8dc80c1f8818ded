//! RoPE on a block.

use super::super::params::Rope;
use super::turned;

/// Keys and values go to `block`, `[side][kv head][rows][head_dim]`, without rounding to their
/// type.
pub(in super::super) fn rope(
    p: &Rope,
    q: &mut [f32],
    kv: &[f32],
    turns: &[f32],
    block: &mut [f32],
    tokens: usize,
) {
    let (n, width) = (p.head_dim as usize, p.width as usize);
    let (kv_dim, kv_stride) = (p.kv_dim as usize, p.kv_stride as usize);
    for token in 0..tokens {
        let turns = &turns[token * width..][..width];
        let turn = |head: &mut [f32]| turn_head(head, p.apart as usize, turns);
        let q = &mut q[token * p.q_stride as usize..][..p.q_dim as usize];
        q.chunks_exact_mut(n).for_each(turn);
        for side in 0..2 {
            let mut row = kv[(2 * token + side) * kv_stride..][..kv_dim].to_vec();
            if side == 0 {
                row.chunks_exact_mut(n).for_each(turn);
            }
            for (head, values) in row.chunks_exact(n).enumerate() {
                let row = (side * (kv_dim / n) + head) * p.rows as usize + token;
                block[2 * p.block_at as usize + row * n..][..n].copy_from_slice(values);
            }
        }
    }
}

/// Rotates the pairs of a head; the values of a pair are this far apart.
fn turn_head(head: &mut [f32], apart: usize, turns: &[f32]) {
    for (j, turn) in turns.chunks_exact(2).enumerate() {
        let first = if apart == 1 { 2 * j } else { j };
        let pair = turned([head[first], head[first + apart]], turn);
        (head[first], head[first + apart]) = (pair[0], pair[1]);
    }
}
