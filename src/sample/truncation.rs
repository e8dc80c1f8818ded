//! Top-p and min-p: only the most likely tokens are kept. Top-k is [`Candidates::keep`].

use super::candidates::{Candidates, weights};

/// Keeps the most likely tokens that together have the probability `p`, and at least one (Holtzman et
/// al., *The Curious Case of Neural Text Degeneration*, 2020).
pub(super) fn top_p(candidates: &mut Candidates, p: f32) {
    let sorted = candidates.sort();
    let (weight, total) = weights(sorted);
    let mut sum = 0.0;
    let enough = sorted.iter().position(|c| {
        sum += weight(c);
        sum >= f64::from(p) * total
    });
    let end = enough.map_or(sorted.len(), |last| last + 1);
    candidates.slice(0..end);
}

/// Keeps tokens at least `p` times as likely as the most likely one (Nguyen et al., *Turning Up the
/// Heat*, 2024).
pub(super) fn min_p(candidates: &mut Candidates, p: f32) {
    candidates.at_least(candidates.best() + p.ln());
}
