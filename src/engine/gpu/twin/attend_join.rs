//! Joins the parts that one token's attention was split into, a number of each KV head.

use super::super::params::AttendJoin;

pub(in super::super) fn attend_join(
    p: &AttendJoin,
    parts: &[f32],
    counts: &[usize],
    out: &mut [f32],
) {
    let (heads, n) = (p.heads as usize, p.head_dim as usize);
    for head in 0..heads {
        let count = counts[head / p.shared_by as usize];
        let part = |i: usize| &parts[(i * heads + head) * (n + 2)..][..n + 2];
        let most = (0..count).map(|i| part(i)[n]).fold(f32::MIN, f32::max);
        let weight: f32 = (0..count).map(|i| (part(i)[n] - most).exp() * part(i)[n + 1]).sum();
        for i in 0..n {
            let sum: f32 = (0..count).map(|j| (part(j)[n] - most).exp() * part(j)[i]).sum();
            out[head * n + i] = sum / weight;
        }
    }
}
