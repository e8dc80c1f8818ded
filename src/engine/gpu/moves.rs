//! The moves of rows after a block, so that a GPU can make many at a time: those that touch the same
//! row follow each other, in order, and are made by the same invocations; all others are independent.

/// Source place and row, destination place and row.
pub(super) type Move = [u32; 4];

/// Marks a move, in its first word, that must be made after the one before it in the list.
const FOLLOWS: u32 = 4;

/// Sorts moves into chains, in memory that is kept.
#[derive(Default)]
pub(super) struct Chains {
    moves: Vec<Move>,
    /// The destination of each move and its index, sorted.
    goals: Vec<([u32; 2], usize)>,
    /// For each move an earlier one of its chain, or itself if it is the first.
    before: Vec<usize>,
    order: Vec<usize>,
}

impl Chains {
    /// Brings moves that are made one after the other into an order in which only those that are
    /// marked depend on another, the one before, and hands them to `each`.
    pub fn sort(&mut self, list: impl Iterator<Item = Move>, mut each: impl FnMut(Move)) {
        let Chains { moves, goals, before, order } = self;
        moves.clear();
        moves.extend(list);
        goals.clear();
        goals.extend(moves.iter().zip(0..).map(|([.., place, row], i)| ([*place, *row], i)));
        goals.sort_unstable();
        before.clear();
        before.extend(0..moves.len());
        for (i, &[source, from, place, row]) in moves.iter().enumerate() {
            // Rows that nobody writes may be read by many.
            for touched in [[source, from], [place, row]] {
                let first = goals.partition_point(|(goal, _)| *goal < touched);
                if let Some((_, other)) = goals.get(first).filter(|(goal, _)| *goal == touched) {
                    let (a, b) = (start(before, i), start(before, *other));
                    before[a.max(b)] = a.min(b);
                }
            }
        }
        // Those before are done already.
        for i in 0..before.len() {
            before[i] = before[before[i]];
        }
        order.clear();
        order.extend(0..moves.len());
        // By chain, within a chain as they were.
        order.sort_unstable_by_key(|&i| (before[i], i));
        for &i in &*order {
            let [place, row, goal, slot] = moves[i];
            let follows = if before[i] == i { 0 } else { FOLLOWS };
            each([place | follows, row, goal, slot]);
        }
    }
}

/// The first move of the chain of a move, as far as it is known; the way there gets shorter.
fn start(before: &mut [usize], mut of: usize) -> usize {
    while before[of] != of {
        before[of] = before[before[of]];
        of = before[of];
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Places of eight rows each, after these moves.
    fn moved(moves: impl IntoIterator<Item = Move>) -> [[u32; 8]; 3] {
        let mut places = [0, 1, 2].map(|place| [0, 1, 2, 3, 4, 5, 6, 7].map(|row| 8 * place + row));
        for [place, row, goal, slot] in moves {
            places[goal as usize][slot as usize] = places[place as usize][row as usize];
        }
        places
    }

    proptest! {
        /// Whichever chain is made first, rows end up where they would one after the other.
        #[test]
        fn chains_are_independent(
            moves in prop::collection::vec((0..3_u32, 0..8_u32, 0..2_u32, 0..8_u32), 0..12),
        ) {
            let moves: Vec<Move> = moves.into_iter().map(|(a, b, c, d)| [a, b, c, d]).collect();
            let mut chains: Vec<Vec<Move>> = Vec::new();
            Chains::default().sort(moves.iter().copied(), |[first, row, goal, slot]| {
                let plain = [first % FOLLOWS, row, goal, slot];
                match chains.last_mut() {
                    Some(chain) if first >= FOLLOWS => chain.push(plain),
                    _ => chains.push(vec![plain]),
                }
            });
            prop_assert_eq!(chains.iter().map(Vec::len).sum::<usize>(), moves.len());
            prop_assert_eq!(moved(chains.iter().flatten().copied()), moved(moves.clone()));
            prop_assert_eq!(moved(chains.iter().rev().flatten().copied()), moved(moves));
        }
    }

    #[test]
    fn only_moves_of_the_same_row_are_chained() {
        // What leaves the window, and what takes its place; two that read the same row.
        let moves = [[1, 0, 0, 5], [1, 1, 0, 6], [2, 0, 1, 0], [2, 1, 1, 1], [2, 1, 1, 2]];
        let mut sorted = Vec::new();
        Chains::default().sort(moves.into_iter(), |m| sorted.push(m));
        let expected = [[1, 0, 0, 5], [6, 0, 1, 0], [1, 1, 0, 6], [6, 1, 1, 1], [2, 1, 1, 2]];
        assert_eq!(sorted, expected);
    }
}
