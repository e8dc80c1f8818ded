//! Locally typical sampling.

use super::candidates::{Candidates, weights};

/// Keeps the tokens whose surprise is closest to the entropy and that together have the probability
/// `p`, and at least one (Meister et al., *Locally Typical Sampling*, 2023).
///
/// Surprise increases along the descending order, so the most typical tokens are adjacent: the
/// range grows from the entropy to both sides.
pub(super) fn typical_p(candidates: &mut Candidates, p: f32) {
    let sorted = candidates.sort();
    let (weight, total) = weights(sorted);
    let surprise = |at: usize| -(weight(&sorted[at]) / total).ln();
    // A weight that rounds to 0 adds nothing; its logarithm would.
    let term = |w: f64| if w > 0.0 { -(w / total) * (w / total).ln() } else { 0.0 };
    let entropy: f64 = sorted.iter().map(|c| term(weight(c))).sum();

    let mut start = sorted.partition_point(|c| -(weight(c) / total).ln() < entropy);
    let mut end = start;
    let mut sum = 0.0;
    while end - start < sorted.len() && (end == start || sum < f64::from(p) * total) {
        let left = (start > 0).then(|| (surprise(start - 1) - entropy).abs());
        let right = (end < sorted.len()).then(|| (surprise(end) - entropy).abs());
        let take_left = match (left, right) {
            (Some(left), Some(right)) => left <= right,
            (left, _) => left.is_some(),
        };
        if take_left {
            start -= 1;
            sum += weight(&sorted[start]);
        } else {
            sum += weight(&sorted[end]);
            end += 1;
        }
    }
    candidates.slice(start..end);
}
