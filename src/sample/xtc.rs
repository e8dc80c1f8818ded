//! XTC ("exclude top choices"), by p-e-w.
//!
//! <https://github.com/oobabooga/text-generation-webui/pull/6335>

use super::candidates::{Candidates, weights};

/// Of the tokens with a probability of at least `threshold`, keeps only the least likely.
pub(super) fn apply(candidates: &mut Candidates, threshold: f32) {
    let sorted = candidates.sort();
    let (weight, total) = weights(sorted);
    let above = sorted.iter().take_while(|c| weight(c) >= f64::from(threshold) * total).count();
    let end = sorted.len();
    candidates.slice(above.saturating_sub(1)..end);
}
