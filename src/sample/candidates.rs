//! The remaining candidate tokens.

use crate::engine::Candidate;
use crate::error::{Error, Result};
use std::cmp::Ordering;
use std::collections::HashMap;

/// How the list is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    /// Token `i` at index `i`.
    ByToken,
    /// By [`descending`], without those of probability 0.
    Descending,
    #[default]
    Any,
}

/// Tokens with their logits.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    order: Order,
    /// If only the most likely tokens were given: the smallest of their logits. No other token has
    /// a larger one.
    floor: Option<f32>,
    /// Whether some logits have been lowered since the list was filled.
    lowered: bool,
}

/// The largest logit first, ties broken by the lower id.
fn descending(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

impl Candidates {
    /// Fills the list with all tokens, with `bias` added to their logits.
    ///
    /// # Errors
    /// [`Error::Logits`] if a logit is NaN or plus infinity, or none is finite.
    pub fn fill(&mut self, logits: &[f32], bias: &[(u32, f32)]) -> Result<()> {
        self.list.clear();
        // Adding 0 turns -0 into 0.
        self.list
            .extend(logits.iter().zip(0..).map(|(x, token)| Candidate { token, logit: x + 0.0 }));
        for &(token, bias) in bias {
            if let Some(candidate) = self.list.get_mut(token as usize) {
                candidate.logit += bias;
            }
        }
        (self.order, self.floor, self.lowered) = (Order::ByToken, None, false);

        let bad = |c: &&Candidate| c.logit.is_nan() || c.logit == f32::INFINITY;
        let finite = |c: &Candidate| c.logit.is_finite();
        if self.list.iter().find(bad).is_none() && self.list.iter().any(finite) {
            return Ok(());
        }
        let nan = self.list.iter().filter(|c| c.logit.is_nan()).count();
        let infinite = self.list.iter().filter(|c| c.logit.is_infinite()).count();
        Err(Error::Logits { nan, infinite, vocab: self.list.len() })
    }

    /// Fills the list with only the `top` tokens, in descending order; `all` says whether they are
    /// the whole vocabulary. False if they are not sufficient: then the full logits are needed.
    pub fn fill_top(&mut self, top: &[Candidate], all: bool) -> bool {
        self.list.clear();
        self.list.extend(top.iter().map(|c| Candidate { logit: c.logit + 0.0, ..*c }));
        self.order = Order::Any;
        self.floor = if all { None } else { self.list.last().map(|c| c.logit) };
        self.lowered = false;
        // A non-finite logit among the best is an error to report.
        self.list.first().is_some_and(|c| c.logit.is_finite())
    }

    /// Whether tokens outside the list may still be candidates.
    pub fn is_partial(&self) -> bool {
        self.floor.is_some()
    }

    /// Changes the logits of the tokens in `changes`, with `change` computing the new logit. Linear
    /// in the number of changes if the list has all tokens, otherwise in the length of the list.
    pub fn change<T>(&mut self, changes: &HashMap<u32, T>, change: impl Fn(f32, &T) -> f32) {
        let apply = |candidate: &mut Candidate, with: &T| {
            if candidate.logit.is_finite() {
                candidate.logit = change(candidate.logit, with).clamp(f32::MIN, f32::MAX);
            }
        };
        if self.order == Order::ByToken {
            for (&token, with) in changes {
                if let Some(candidate) = self.list.get_mut(token as usize) {
                    apply(candidate, with);
                }
            }
            return;
        }
        for candidate in &mut self.list {
            if let Some(with) = changes.get(&candidate.token) {
                apply(candidate, with);
            }
        }
        self.order = Order::Any;
        self.lowered = true;
    }

    /// Divides the logits by `by`, which must be above 0. If the largest would overflow, logits are
    /// taken relative to it.
    pub fn scale(&mut self, by: f32) {
        let best = self.best();
        let best = if (best / by).is_finite() { 0.0 } else { best };
        for candidate in &mut self.list {
            candidate.logit = (candidate.logit - best) / by;
        }
        self.at_least(f32::MIN);
    }

    /// Keeps the `k` most likely. False if the list can't determine which these are; then it must
    /// be refilled with all tokens.
    pub fn keep(&mut self, k: usize) -> bool {
        if let Some(floor) = self.floor {
            // A token lowered to the floor or below may be less likely than one that is not in the
            // list.
            self.sort();
            let sure = match self.list.get(k.wrapping_sub(1)) {
                Some(last) => !self.lowered || last.logit > floor,
                None => false,
            };
            if !sure {
                return false;
            }
            self.floor = None;
        }
        if self.order != Order::Descending {
            self.list.retain(|c| c.logit > f32::NEG_INFINITY);
            if k < self.list.len() {
                self.list.select_nth_unstable_by(k, descending);
            }
            self.order = Order::Any;
        }
        self.list.truncate(k);
        true
    }

    /// The candidates in descending order, without those of probability 0.
    pub fn sort(&mut self) -> &[Candidate] {
        if self.order != Order::Descending {
            self.list.retain(|c| c.logit > f32::NEG_INFINITY);
            self.list.sort_unstable_by(descending);
            self.order = Order::Descending;
        }
        &self.list
    }

    /// Keeps those in `range` of the descending order.
    pub fn slice(&mut self, range: std::ops::Range<usize>) {
        self.sort();
        self.list.truncate(range.end);
        self.list.drain(..range.start.min(self.list.len()));
    }

    /// Keeps those with a logit of at least `bound`.
    pub fn at_least(&mut self, bound: f32) {
        self.list.retain(|c| c.logit >= bound);
        if self.order == Order::ByToken {
            self.order = Order::Any;
        }
    }

    /// The largest logit.
    pub fn best(&self) -> f32 {
        match self.order {
            Order::Descending => self.list.first().map_or(f32::NEG_INFINITY, |c| c.logit),
            _ => self.list.iter().fold(f32::NEG_INFINITY, |best, c| best.max(c.logit)),
        }
    }
}

/// The unnormalized softmax of descending `candidates`, 1 for the most likely, and its sum.
pub(super) fn weights(candidates: &[Candidate]) -> (impl Fn(&Candidate) -> f64 + use<>, f64) {
    let best = candidates.first().map_or(0.0, |c| f64::from(c.logit));
    let weight = move |c: &Candidate| (f64::from(c.logit) - best).exp();
    let total = candidates.iter().map(weight).sum();
    (weight, total)
}
