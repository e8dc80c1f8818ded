//! Repetition, frequency and presence penalty.
//!
//! The repetition penalty is that of Keskar et al., *CTRL* (2019), with negative logits multiplied
//! instead of divided; the other two are those of OpenAI's API. Each token is changed once, so the
//! work is linear in the number of recent tokens.

use super::candidates::Candidates;
use super::history::History;
use super::options::Sampling;

/// Penalizes the recent tokens.
pub(super) fn apply(candidates: &mut Candidates, history: &History, sampling: &Sampling) {
    candidates.change(history.counts(), |logit, &count| {
        let repeat = sampling.repeat_penalty;
        let logit = if logit > 0.0 { logit / repeat } else { logit * repeat };
        logit - count as f32 * sampling.frequency_penalty - sampling.presence_penalty
    });
}

/// Whether they make no token more likely.
pub(super) fn only_lower(sampling: &Sampling) -> bool {
    sampling.repeat_penalty >= 1.0
        && sampling.frequency_penalty >= 0.0
        && sampling.presence_penalty >= 0.0
}
