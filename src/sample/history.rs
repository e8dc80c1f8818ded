//! The recent tokens.

use std::collections::{HashMap, VecDeque};

/// The most recent tokens of a text, as far back as the stages look.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    tokens: VecDeque<u32>,
    /// Maximum number kept.
    most: usize,
    /// Occurrences of each token among the last `window`.
    counts: HashMap<u32, u32>,
    /// At most `most` of them.
    window: usize,
}

impl History {
    /// Keeps `most` tokens or `window`, whichever is more, and counts the last `window`.
    pub fn new(most: usize, window: usize) -> History {
        History { most: most.max(window), window, ..History::default() }
    }

    /// Appends a token.
    pub fn push(&mut self, token: u32) {
        if self.most == 0 {
            return;
        }
        if self.window > 0 {
            *self.counts.entry(token).or_default() += 1;
            if let Some(leaves) = self.back(self.window - 1)
                && let Some(count) = self.counts.get_mut(&leaves)
            {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&leaves);
                }
            }
        }
        if self.tokens.len() == self.most {
            self.tokens.pop_front();
        }
        self.tokens.push_back(token);
    }

    /// The token `n` positions before the most recent one.
    pub fn back(&self, n: usize) -> Option<u32> {
        self.tokens.len().checked_sub(n + 1).map(|at| self.tokens[at])
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The number of occurrences of each of the recent tokens.
    pub fn counts(&self) -> &HashMap<u32, u32> {
        &self.counts
    }

    /// All tokens, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.tokens.iter().copied()
    }

    pub fn clear(&mut self) {
        self.tokens.clear();
        self.counts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_those_of_the_window(
            tokens in prop::collection::vec(0u32..6, 0..60),
            most in 0usize..20,
            window in 0usize..20,
        ) {
            let mut history = History::new(most, window);
            for (at, &token) in tokens.iter().enumerate() {
                history.push(token);
                let so_far = &tokens[..=at];
                let mut want = HashMap::new();
                for &t in so_far.iter().rev().take(window) {
                    *want.entry(t).or_insert(0) += 1;
                }
                prop_assert_eq!(history.counts(), &want);
                let kept = so_far.len().min(most.max(window));
                prop_assert!(history.iter().eq(so_far[so_far.len() - kept..].iter().copied()));
            }
        }
    }
}
