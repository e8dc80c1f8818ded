//! Attention over ring, window and block.

use super::super::params::Attend;
use crate::cache::{Place, Run};

/// One head of one token over the rows in `runs`. `places` holds the values of the KV head's ring
/// (its keys, then its values), and of window and block, each half of a pair separately. Returns the
/// sum of values, the maximum score and the sum of weights.
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
            let (values_of, key, after) = match run.place {
                Place::Ring => (places[0], row * head_dim, places[0].len() / 2),
                place => {
                    let (values_of, at, rows) = match place {
                        Place::Window => (places[1], p.window_at, p.window_rows as usize),
                        _ => (places[2], p.block_at, p.block_rows as usize),
                    };
                    let key = 2 * at as usize + (kv_head * rows + row) * head_dim;
                    (values_of, key, p.kv_heads as usize * rows * head_dim)
                }
            };
            let value = key + after;
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
