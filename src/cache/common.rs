//! The rows that all tokens of a group see, and what each of them sees besides. Neighboring tokens
//! see nearly the same, so attention reads the common rows once for all of them.

use super::visibility::{Run, rows};

/// With more runs than this per token nothing is looked for: runs are compared pairwise.
const MOST_RUNS: usize = 64;

/// Runs of rows that every token of a group sees.
#[derive(Clone, Debug, Default)]
pub struct Common {
    runs: Vec<Run>,
    /// What one token sees besides.
    others: Vec<Run>,
}

impl Common {
    /// Room for a usual number of runs.
    pub fn new() -> Common {
        Common { runs: Vec::with_capacity(MOST_RUNS), others: Vec::with_capacity(MOST_RUNS) }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of::<Run>() * (self.runs.capacity() + self.others.capacity())
    }

    /// Finds the rows that the tokens `0..len` of a group have in common; `seen` is what each of
    /// them sees. A row that the first and the last one see, all do: rows come into view and leave
    /// it, but never come back. It is checked nevertheless.
    pub fn find<'a>(&mut self, len: usize, seen: impl Fn(usize) -> &'a [Run]) -> &[Run] {
        self.runs.clear();
        let (first, last) = (seen(0), seen(len - 1));
        if first.len().max(last.len()) <= MOST_RUNS {
            for a in first {
                self.runs.extend(last.iter().filter_map(|b| overlap(a, b)));
            }
            let common = rows(&self.runs);
            if (0..len).any(|t| rows(self.others(seen(t))) + common != rows(seen(t))) {
                self.runs.clear();
            }
        }
        &self.runs
    }

    /// The rows found last.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// What a token sees besides.
    pub fn others(&mut self, seen: &[Run]) -> &[Run] {
        let Common { runs, others } = self;
        others.clear();
        for run in seen {
            let from = others.len();
            others.push(*run);
            for common in &*runs {
                for at in (from..others.len()).rev() {
                    let Some(shared) = overlap(&others[at], common) else { continue };
                    let run = others.remove(at);
                    let before = (shared.first - run.first) / run.step.max(1);
                    let after = run.len - before - shared.len;
                    let rest = Run { first: shared.row(shared.len) as u32, len: after, ..run };
                    let parts = [Run { len: before, ..run }, rest];
                    others.splice(at..at, parts.into_iter().filter(|part| part.len > 0));
                }
            }
        }
        others
    }
}

/// The rows that are in both runs, if these step alike.
fn overlap(a: &Run, b: &Run) -> Option<Run> {
    let step = a.step.max(1);
    let in_phase = a.first % step == b.first % step;
    if a.place != b.place || a.step != b.step || !in_phase {
        return None;
    }
    let end = |run: &Run| run.first + run.len * step;
    let (first, end) = (a.first.max(b.first), end(a).min(end(b)));
    (first < end).then(|| Run { first, len: (end - first) / step, ..*a })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Place;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn set(runs: &[Run]) -> HashSet<(u8, usize)> {
        let rows = |run: &Run| {
            let run = *run;
            (0..run.len).map(move |i| (run.place as u8, run.row(i)))
        };
        runs.iter().flat_map(rows).collect()
    }

    /// Runs without a row in common, as the tokens of a group see them: all of the ring but what
    /// was evicted from its start, then a window that moves.
    fn group(start: u32, ring: u32, step: u32, window: u32, len: u32) -> Vec<Vec<Run>> {
        (0..len)
            .map(|t| {
                let evicted = t / 3;
                let first = start + evicted;
                let of_ring =
                    Run { place: Place::Ring, first, step: 1, len: ring.saturating_sub(evicted) };
                let chunks = Run { place: Place::Window, first: 1, step, len: 2 + t / step };
                let from = 40 * step + t;
                let near = Run { place: Place::Window, first: from, step: 1, len: window };
                let block = Run { place: Place::Block, first: 0, step: 1, len: t + 1 };
                let runs = [of_ring, chunks, near, block];
                runs.into_iter().filter(|run| run.len > 0).collect()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn common_rows_and_others_are_what_is_seen(
            start in 0..50u32, ring in 0..60u32, step in 1..9u32, window in 0..40u32,
            len in 1..20u32, odd in any::<prop::sample::Index>(), cut in 0..5u32,
        ) {
            let mut lists = group(start, ring, step, window, len);
            // A token between the others that does not see what its neighbors see.
            let list = odd.index(lists.len());
            if let Some(run) = lists[list].first_mut() {
                run.len = run.len.saturating_sub(cut).max(1);
            }
            let mut common = Common::default();
            let runs = common.find(lists.len(), |t| &lists[t]).to_vec();
            for list in &lists {
                let others = common.others(list).to_vec();
                prop_assert!(set(&runs).is_disjoint(&set(&others)));
                prop_assert_eq!(rows(&runs) + rows(&others), rows(list));
                let all: HashSet<_> = set(&runs).union(&set(&others)).copied().collect();
                prop_assert_eq!(all, set(list));
                // The ring's come first.
                let ring = |runs: &[Run]| runs.iter().take_while(|r| r.place == Place::Ring).count();
                for runs in [&runs, &others] {
                    prop_assert!(runs[ring(runs)..].iter().all(|run| run.place != Place::Ring));
                }
            }
        }
    }

    #[test]
    fn most_of_what_a_group_sees_is_common() {
        let lists = group(7, 1000, 8, 100, 16);
        let mut common = Common::default();
        let found = rows(common.find(16, |t| &lists[t]));
        // All but what was evicted, what entered and left the window, and the block.
        assert_eq!(found, 1000 - 5 + 2 + (100 - 15) + 1);
    }
}
