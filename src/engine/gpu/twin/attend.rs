//! Attention over ring, window and block.

use super::super::params::Attend;
use crate::cache::{Place, Run};

/// One head of one token over the rows in `runs`. `places` holds the values of ring, window and
/// block, each half of a pair separately. Returns the sum of values, the maximum score and the sum
/// of weights.
pub(in super::super) fn attend_part(
    p: &Attend,
    head_dim: usize,
    q: &[f32],
    places: [&[f32]; 3],
    runs: &[Run],
    head: usize,
) -> (Vec<f32>, f32, f32) {
    let kv_head = head / p.shared_by as usize;
    let mut scores = Vec::new();
    let mut values = Vec::new();
    for run in runs {
        for i in 0..run.len {
            let row = run.row(i);
            let (values_of, at, rows) = match run.place {
                Place::Ring => (places[0], p.ring_at, p.ring_rows),
                Place::Window => (places[1], p.window_at, p.window_rows),
                Place::Block => (places[2], p.block_at, p.block_rows),
            };
            let rows = rows as usize;
            let key = 2 * at as usize + (kv_head * rows + row) * head_dim;
            let value = key + p.kv_heads as usize * rows * head_dim;
            let dot: f32 =
                q.iter().zip(&values_of[key..][..head_dim]).map(|(q, k)| q * k * p.scale).sum();
            scores.push(dot);
            values.push(&values_of[value..][..head_dim]);
        }
    }
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = vec![0.0; head_dim];
    let mut weight = 0.0;
    for (score, value) in scores.iter().zip(values) {
        let share = (score - most).exp();
        weight += share;
        sum.iter_mut().zip(value).for_each(|(s, v)| *s += share * v);
    }
    (sum, most, weight)
}

/// All heads of a token: `softmax(q k / sqrt(n)) v`.
pub(in super::super) fn attend(
    p: &Attend,
    head_dim: usize,
    q: &[f32],
    places: [&[f32]; 3],
    runs: &[Run],
    out: &mut [f32],
) {
    for head in 0..p.heads as usize {
        let q = &q[head * head_dim..][..head_dim];
        let (sum, _, weight) = attend_part(p, head_dim, q, places, runs, head);
        let out = &mut out[head * head_dim..][..head_dim];
        out.iter_mut().zip(sum).for_each(|(o, s)| *o = s / weight);
    }
}
