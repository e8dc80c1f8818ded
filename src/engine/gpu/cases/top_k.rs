//! The most likely tokens.

use super::numbers::Numbers;
use super::{Case, Expected, Values, bits};
use crate::engine::gpu::params;
use crate::engine::gpu::twin;

pub(super) fn top_k(numbers: &mut Numbers) -> Case {
    const KEPT: usize = 64;
    let count = 1 + numbers.below(1500);
    let mut logits: Vec<f32> =
        (0..count).map(|_| (numbers.uniform() * 50.0).round() / 8.0).collect();
    for special in [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -0.0] {
        let at = numbers.below(count) as usize;
        logits[at] = special;
    }
    let groups = count.div_ceil(1024) as usize;
    let mut want: Vec<u32> = Vec::new();
    for (group, logits) in logits.chunks(1024).enumerate() {
        let mut kept: Vec<u32> = twin::top_k(logits, KEPT)
            .into_iter()
            .flat_map(|(id, bits)| [group as u32 * 1024 + id, bits])
            .collect();
        while kept.len() < 2 * KEPT {
            kept.extend([u32::MAX, u32::MAX]);
        }
        want.extend(kept);
    }
    let p = params::TopK { count, bare: 1, source: 0, results: 0 };
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![bits(&logits), vec![0; 2 * KEPT * groups]],
        items: [count, 1, 1],
        expected: vec![Expected { binding: 1, values: Values::Words(want) }],
    }
}
