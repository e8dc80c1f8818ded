//! The largest of many candidates.

/// Index and bits of the `kept` largest logits, in descending order, ties broken by the lower
/// index. NaN counts as minus infinity.
pub(in super::super) fn top_k(logits: &[f32], kept: usize) -> Vec<(u32, u32)> {
    let value = |x: f32| if x.is_nan() { f32::NEG_INFINITY } else { x };
    let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().map(|&x| value(x))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(kept);
    all.into_iter().map(|(id, x)| (id, x.to_bits())).collect()
}
