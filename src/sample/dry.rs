//! DRY ("don't repeat yourself"), by p-e-w: a token that would continue a repetition becomes less
//! likely, exponentially so in the length of what is repeated already.
//!
//! <https://github.com/oobabooga/text-generation-webui/pull/5677>; details, such as the effect of a
//! sequence breaker, follow llama.cpp.

use super::candidates::Candidates;
use super::history::History;
use super::options::Sampling;
use std::collections::HashMap;

/// The stage with its buffers.
#[derive(Clone, Debug, Default)]
pub(super) struct Dry {
    /// Breakers by their first token: the tokens that must follow it.
    breakers: HashMap<u32, Vec<Vec<u32>>>,
    /// For each position, how many tokens before it match the end of the text.
    matches: Vec<usize>,
    /// The longest repetition that a token would continue.
    repeats: HashMap<u32, usize>,
}

impl Dry {
    pub fn new(sampling: &Sampling) -> Dry {
        let mut breakers: HashMap<u32, Vec<Vec<u32>>> = HashMap::new();
        for breaker in &sampling.dry_breakers {
            if let Some((&head, tail)) = breaker.split_first() {
                breakers.entry(head).or_default().push(tail.to_vec());
            }
        }
        Dry { breakers, ..Dry::default() }
    }

    /// Makes tokens that would continue a repetition less likely.
    pub fn apply(&mut self, candidates: &mut Candidates, history: &History, sampling: &Sampling) {
        let allowed = sampling.dry_allowed_length;
        let length = history.len().min(sampling.dry_penalty_last_n);
        if length <= allowed {
            return;
        }
        let unbroken = self.unbroken(history, length);
        if unbroken < allowed {
            return;
        }
        self.find_matches(history, length);
        self.repeats.clear();
        for (distance, &matches) in self.matches.iter().enumerate().skip(1) {
            let repeated = matches.min(unbroken);
            if repeated < allowed {
                continue;
            }
            // What followed there would continue the repetition here.
            if let Some(next) = history.back(distance - 1)
                && !self.is_breaker(next)
            {
                let longest = self.repeats.entry(next).or_default();
                *longest = repeated.max(*longest);
            }
        }
        // More than every logit there is, and still finite.
        let most = f32::MAX.ln() / sampling.dry_base.ln();
        candidates.change(&self.repeats, |logit, &repeated| {
            let exponent = ((repeated - allowed) as f32).min(most.floor());
            logit - sampling.dry_multiplier * sampling.dry_base.powf(exponent)
        });
    }

    /// How many of the last `length` tokens come after the last breaker.
    fn unbroken(&self, history: &History, length: usize) -> usize {
        for at in 0..length {
            let tails = history.back(at).and_then(|head| self.breakers.get(&head));
            // The longest one that matches completely.
            let broken = tails.into_iter().flatten().filter(|tail| {
                tail.len() <= at
                    && tail.iter().enumerate().all(|(i, &t)| history.back(at - 1 - i) == Some(t))
            });
            if let Some(tail) = broken.map(Vec::len).max() {
                return at - tail;
            }
        }
        length
    }

    fn is_breaker(&self, token: u32) -> bool {
        self.breakers.get(&token).is_some_and(|tails| tails.iter().any(Vec::is_empty))
    }

    /// The Z function of the last `length` tokens read backwards: `matches[d]` is how many tokens
    /// ending `d` positions before the end match the last ones. Linear, since each token is
    /// compared at most once to extend what is already known.
    fn find_matches(&mut self, history: &History, length: usize) {
        let z = &mut self.matches;
        z.clear();
        z.resize(length, 0);
        // The match that reaches furthest back: from where, and to where.
        let (mut from, mut to) = (0, 0);
        for at in 1..length {
            let mut n = if at < to { z[at - from].min(to - at) } else { 0 };
            while at + n < length && history.back(n) == history.back(at + n) {
                n += 1;
            }
            z[at] = n;
            if at + n > to {
                (from, to) = (at, at + n);
            }
        }
    }
}
