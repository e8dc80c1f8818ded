//! What a tile of neighboring tokens sees: the rows that any of them does, in runs of rows that the same
//! of them see, so that attention reads each row once for all of them.

use super::plan::place;
use crate::cache::{Common, Place, Run};

/// Place, first row, distance of rows, number of rows; the first of the tokens that see them in the
/// lower half of a word, and the one after the last in the upper half.
pub(super) type SeenRun = [u32; 5];

/// Finds those runs, in memory that is kept.
#[derive(Default)]
pub(super) struct Tiles {
    common: Common,
    /// Place, row and token of what not all see.
    others: Vec<[u32; 3]>,
    /// Place, first token, one after the last, row.
    spans: Vec<[u32; 4]>,
    runs: Vec<SeenRun>,
}

impl Tiles {
    /// Hands the runs of a tile of `len` tokens, of which each sees what `seen` says, to `each`, one
    /// place after the other. Returns the number of rows in the ring, in ring and window, and in all.
    pub fn find<'a>(
        &mut self,
        len: usize,
        seen: impl Fn(usize) -> &'a [Run],
        mut each: impl FnMut(SeenRun),
    ) -> [usize; 3] {
        let Tiles { common, others, spans, runs } = self;
        runs.clear();
        for run in common.find(len, &seen) {
            runs.push([place(run.place), run.first, run.step, run.len, (len as u32) << 16]);
        }
        others.clear();
        for token in 0..len {
            for run in common.others(seen(token)) {
                let row = |i| [place(run.place), run.row(i) as u32, token as u32];
                others.extend((0..run.len).map(row));
            }
        }
        others.sort_unstable();
        spans.clear();
        for &[place, row, token] in &*others {
            match spans.last_mut() {
                Some([of, _, end, last]) if (*of, *last, *end) == (place, row, token) => *end += 1,
                _ => spans.push([place, token, token + 1, row]),
            }
        }
        spans.sort_unstable();
        let mut run: Option<SeenRun> = None;
        for &[place, from, to, row] in &*spans {
            let by = from | to << 16;
            if let Some([of, first, step, len, seen_by]) = &mut run
                && (*of, *seen_by) == (place, by)
                && row > *first
                && (*len == 1 || *first + *step * *len == row)
            {
                *step = (row - *first) / *len;
                *len += 1;
                continue;
            }
            runs.extend(run.replace([place, row, 1, 1, by]));
        }
        runs.extend(run);
        // Within a place as they come: sums must not depend on which rows of it are in use.
        let mut rows = 0;
        [Place::Ring, Place::Window, Place::Block].map(|of| {
            for run in runs.iter().filter(|run| run[0] == place(of)) {
                rows += run[3] as usize;
                each(*run);
            }
            rows
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_token_sees_its_rows(
            ring in 0..80_u32, evicted in 0..3_u32, step in 1..5_u32, window in 0..40_u32,
            len in 1..33_u32, odd in any::<prop::sample::Index>(),
        ) {
            let mut lists: Vec<Vec<Run>> = (0..len)
                .map(|t| {
                    let run = |place, first, step, len| Run { place, first, step, len };
                    let runs = [
                        run(Place::Ring, t * evicted, 1, ring.saturating_sub(t * evicted)),
                        run(Place::Window, 1, step, 2 + t / step),
                        run(Place::Window, 50 * step + t, 1, window.saturating_sub(t)),
                        run(Place::Block, t.saturating_sub(window), 1, t.min(window) + 1),
                    ];
                    runs.into_iter().filter(|run| run.len > 0).collect()
                })
                .collect();
            // One that its neighbors are not like.
            lists[odd.index(len as usize)].pop();
            let mut seen: Vec<Vec<(u32, u32)>> = vec![Vec::new(); len as usize];
            let mut of_places = [0; 3];
            let mut last = 0;
            let rows = Tiles::default().find(len as usize, |t| &lists[t], |run| {
                let [place, first, step, count, by] = run;
                assert!(place >= last);
                last = place;
                of_places[place as usize..].iter_mut().for_each(|rows| *rows += count as usize);
                for token in (by & 0xffff)..(by >> 16) {
                    seen[token as usize].extend((0..count).map(|i| (place, first + i * step)));
                }
            });
            prop_assert_eq!(rows, of_places);
            for (got, list) in seen.iter_mut().zip(&lists) {
                let row = |run: &Run| {
                    let run = *run;
                    (0..run.len).map(move |i| (place(run.place), run.row(i) as u32))
                };
                let mut want: Vec<(u32, u32)> = list.iter().flat_map(row).collect();
                got.sort_unstable();
                want.sort_unstable();
                prop_assert_eq!(&*got, &want);
            }
        }
    }

    #[test]
    fn a_row_that_several_tokens_see_is_listed_once() {
        // A block of eight tokens after a full window of sixteen, the sixteenth of which they all see.
        let lists: Vec<[Run; 2]> = (0..8)
            .map(|t| {
                [
                    Run { place: Place::Window, first: t, step: 1, len: 16 - t },
                    Run { place: Place::Block, first: 0, step: 1, len: t + 1 },
                ]
            })
            .collect();
        assert_eq!(Tiles::default().find(8, |t| &lists[t], |_| ()), [0, 16, 16 + 8]);
    }
}
