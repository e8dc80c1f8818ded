//! The attention of a few tokens in equal shares. Lists of rows, those that each KV head of each
//! token sees, lie one after the other and are cut at equal distances: a share may end in the middle
//! of one list and begin in the middle of another. So no thread waits for the one that got the head
//! that sees furthest.

use std::ops::Range;

/// Number of rows from which a share of its own pays off.
const ROWS_OF_A_SHARE: usize = 128;
/// Shares of a thread, if there are rows enough: so that others help one that is slow.
const SHARES_OF_A_THREAD: usize = 2;
/// Lists that are all shorter than this part of what a thread computes need not be cut.
const PART_OF_A_THREAD: usize = 8;

/// Maximum number of places for results, given the threads and the lists.
pub(super) fn most_slots(threads: usize, lists: usize) -> usize {
    SHARES_OF_A_THREAD * threads + lists
}

/// Lists of rows, cut into shares. A list has at least one row.
pub(super) struct Shares<F> {
    lists: usize,
    /// The length of a list.
    rows: F,
    /// Rows of a share; the last one may have fewer.
    len: usize,
    count: usize,
}

/// Rows of one list that are in one share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub list: usize,
    pub rows: Range<usize>,
    /// Where the result belongs: those of a list are next to each other.
    pub slot: usize,
}

impl<F: Fn(usize) -> usize> Shares<F> {
    /// Cuts lists for `threads` threads; none if whole lists keep them as busy.
    pub fn new(lists: usize, rows: F, threads: usize) -> Option<Shares<F>> {
        let lengths = || (0..lists).map(&rows);
        let (total, longest) = (lengths().sum::<usize>(), lengths().max()?);
        let worth = total / ROWS_OF_A_SHARE;
        // The same for each thread, or one for some of them.
        let most = SHARES_OF_A_THREAD * threads;
        let count = if worth < most { worth.min(threads) } else { most };
        let uneven = longest > total / (PART_OF_A_THREAD * threads);
        if threads == 1 || count < 2 || !uneven {
            return None;
        }
        let len = total.div_ceil(count);
        Some(Shares { lists, rows, len, count: total.div_ceil(len) })
    }

    /// Number of shares.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where each list begins and ends, counted through all of them.
    fn stretches(&self) -> impl Iterator<Item = Range<usize>> {
        (0..self.lists).scan(0, |end, list| {
            let start = *end;
            *end += (self.rows)(list);
            Some(start..*end)
        })
    }

    /// What is in a share.
    pub fn pieces(&self, share: usize) -> impl Iterator<Item = Piece> {
        let own = share * self.len..(share + 1) * self.len;
        self.stretches().enumerate().filter_map(move |(list, stretch)| {
            let (from, to) = (own.start.max(stretch.start), own.end.min(stretch.end));
            // From one piece to the next, either the list changes or the share, or both.
            let slot = share + list;
            (from < to).then(|| Piece {
                list,
                rows: from - stretch.start..to - stretch.start,
                slot,
            })
        })
    }

    /// Where the results of each list are.
    pub fn slots(&self) -> impl Iterator<Item = Range<usize>> {
        self.stretches().enumerate().map(|(list, stretch)| {
            stretch.start / self.len + list..stretch.end.div_ceil(self.len) + list
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows that the busiest thread computes if each takes the next task when it is idle.
    fn busiest(tasks: impl Iterator<Item = usize>, threads: usize) -> usize {
        let mut busy = vec![0; threads];
        for rows in tasks {
            if let Some(idle) = busy.iter_mut().min() {
                *idle += rows;
            }
        }
        busy.into_iter().max().unwrap_or(0)
    }

    fn rows_of(shares: &Shares<impl Fn(usize) -> usize>) -> impl Iterator<Item = usize> {
        (0..shares.count()).map(|share| shares.pieces(share).map(|piece| piece.rows.len()).sum())
    }

    #[test]
    fn heads_that_see_far_keep_every_thread_equally_busy() {
        for lengths in [[8192, 771, 771], [771, 771, 8192], [8192, 771, 8192], [771; 3]] {
            for threads in [2, 3, 4, 8] {
                let total: usize = lengths.iter().sum();
                let shares = Shares::new(3, |list| lengths[list], threads).unwrap();
                let most = busiest(rows_of(&shares), threads);
                // Two shares each, rounded up.
                assert!(most <= total / threads + 2, "{lengths:?}, {threads}: {most} of {total}");
            }
        }
    }

    #[test]
    fn lists_that_balance_whole_stay_whole() {
        let cut = |lists, rows: fn(usize) -> usize, threads| {
            Shares::new(lists, rows, threads).map(|shares| shares.count())
        };
        assert_eq!(cut(32, |_| 1000, 2), None);
        assert_eq!(cut(32, |list| if list == 31 { 8000 } else { 1000 }, 2), Some(4));
        assert_eq!(cut(8, |_| 1000, 2), Some(4));
        assert_eq!(cut(3, |_| 1000, 1), None);
        // Too little to share.
        assert_eq!(cut(3, |_| 85, 8), None);
        assert_eq!(cut(3, |_| 86, 8), Some(2));
        assert_eq!(cut(0, |_| 1000, 2), None);
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_share(
            lengths in prop::collection::vec(prop_oneof![1usize..300, 1usize..20_000], 1..20),
            threads in 1usize..20,
        ) {
            let total: usize = lengths.iter().sum();
            let Some(shares) = Shares::new(lengths.len(), |list| lengths[list], threads) else {
                return Ok(());
            };
            prop_assert!(shares.count() <= 2 * threads);
            let pieces: Vec<Piece> =
                (0..shares.count()).flat_map(|share| shares.pieces(share)).collect();
            // List by list and row by row, each result at a place of its own.
            let mut rows = vec![0..0; lengths.len()];
            let mut slots: Vec<Vec<usize>> = vec![Vec::new(); lengths.len()];
            for piece in &pieces {
                prop_assert!(!piece.rows.is_empty());
                prop_assert_eq!(rows[piece.list].end, piece.rows.start);
                rows[piece.list].end = piece.rows.end;
                slots[piece.list].push(piece.slot);
            }
            prop_assert!(pieces.windows(2).all(|pair| pair[0].slot < pair[1].slot));
            for (rows, len) in rows.iter().zip(&lengths) {
                prop_assert_eq!(rows.len(), *len);
            }
            let claimed: Vec<Vec<usize>> = shares.slots().map(Iterator::collect).collect();
            prop_assert_eq!(claimed, slots);
            let last = pieces.last().unwrap().slot;
            prop_assert!(last < most_slots(threads, lengths.len()));
            prop_assert!(rows_of(&shares).all(|rows| rows > 0));
            let most = (total / threads + 2).max(2 * ROWS_OF_A_SHARE);
            prop_assert!(busiest(rows_of(&shares), threads) <= most);
        }
    }
}
