//! The chunk schedule: which token closes a chunk, which rows of keys and values a query may see,
//! and where they lie. Pure integer arithmetic; both engines follow it.
//!
//! A layer keeps three places for rows: the *ring* of chunk states (fixed budget), the *window* of
//! the last `L + 1` tokens (position `p` in slot `p % (L + 1)`), and the *block* of tokens that is
//! being computed and not yet committed. Chunk states are numbered by *ordinal*: state 0 is
//! position 0 (the sink), state `j` the `j`-th boundary after it.

/// Schedule of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Tokens in a chunk, `P`, at least 1.
    pub chunk: u64,
    /// How far this layer's boundaries are moved, `0 <= offset < chunk`.
    pub offset: u64,
    /// Tokens before the current one that stay visible, `L`.
    pub window: u64,
    /// Chunk states kept, the sink counted.
    pub ring: u64,
}

/// Where a row of keys and values lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Slot of the ring.
    Ring,
    /// Slot of the window.
    Window,
    /// Row of the block at hand.
    Block,
}

/// `len` rows of one place: `first`, `first + step`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where the rows lie.
    pub place: Place,
    /// Row of the first.
    pub first: usize,
    /// Rows from one to the next.
    pub step: usize,
    /// Number of rows.
    pub len: usize,
}

/// The rows that one query sees. At most ten runs: the sink, the ring in two pieces, position 0
/// before it reaches the ring, boundaries of the old window in two pieces and of the block, the
/// window in two pieces and of the block.
#[derive(Clone, Copy, Debug)]
pub struct Visible {
    runs: [Run; 10],
    len: usize,
}

impl Visible {
    fn new() -> Visible {
        const NONE: Run = Run { place: Place::Ring, first: 0, step: 1, len: 0 };
        Visible { runs: [NONE; 10], len: 0 }
    }

    fn push(&mut self, place: Place, first: u64, step: u64, len: u64) {
        if len > 0 {
            let [first, step, len] = [first, step, len].map(|x| x as usize);
            self.runs[self.len] = Run { place, first, step, len };
            self.len += 1;
        }
    }

    /// Rows at `first`, `first + step`, … of a place of `size` rows that wraps around at most once.
    fn push_wrapped(&mut self, place: Place, first: u64, step: u64, len: u64, size: u64) {
        let before = (size - first).div_ceil(step).min(len);
        self.push(place, first, step, before);
        if len > before {
            self.push(place, first + before * step - size, step, len - before);
        }
    }

    /// The runs.
    pub fn runs(&self) -> &[Run] {
        &self.runs[..self.len]
    }

    /// Number of rows in all.
    pub fn rows(&self) -> usize {
        self.runs().iter().map(|r| r.len).sum()
    }

    /// The part `index` of `parts`, of nearly equal numbers of rows.
    pub fn part(&self, index: usize, parts: usize) -> Visible {
        let rows = self.rows();
        let (from, to) = (index * rows / parts, (index + 1) * rows / parts);
        let mut part = Visible::new();
        let mut before = 0;
        for run in self.runs() {
            let first = from.clamp(before, before + run.len) - before;
            let end = to.clamp(before, before + run.len) - before;
            let start = (run.first + first * run.step) as u64;
            part.push(run.place, start, run.step as u64, (end - first) as u64);
            before += run.len;
        }
        part
    }
}

impl Schedule {
    /// Whether `position` closes a chunk. Position 0 is a chunk of its own.
    pub fn is_boundary(&self, position: u64) -> bool {
        position == 0 || (position + self.offset + 1).is_multiple_of(self.chunk)
    }

    /// Tokens of its chunk that come before the token at `position`.
    pub fn index_in_chunk(&self, position: u64) -> u64 {
        ((position + self.offset) % self.chunk).min(position.saturating_sub(1))
    }

    /// Boundaries among the first `positions` positions.
    fn closed(&self, positions: u64) -> u64 {
        match positions {
            0 => 0,
            n => 1 + (n + self.offset) / self.chunk - (1 + self.offset) / self.chunk,
        }
    }

    /// Position of the state `ordinal`.
    fn position(&self, ordinal: u64) -> u64 {
        match ordinal {
            0 => 0,
            j => ((1 + self.offset) / self.chunk + j) * self.chunk - self.offset - 1,
        }
    }

    /// States that have left the window once the token at `position` is in it.
    fn retired(&self, position: u64) -> u64 {
        self.closed(position.saturating_sub(self.window))
    }

    /// States retired before the block that begins at `start`.
    fn retired_before(&self, start: u64) -> u64 {
        if start == 0 { 0 } else { self.retired(start - 1) }
    }

    /// The oldest state, apart from the sink, that is kept when `retired` have left the window.
    /// With a ring of one the sink goes too; with none nothing is kept.
    fn oldest(&self, retired: u64) -> u64 {
        match self.ring {
            0 => retired,
            1 => retired.saturating_sub(1),
            n => retired.saturating_sub(n - 1).max(1),
        }
    }

    fn keeps_sink(&self) -> bool {
        self.ring >= 2
    }

    /// Slot of the ring that takes the state `ordinal`.
    fn slot(&self, ordinal: u64) -> u64 {
        match (ordinal, self.ring) {
            (0, _) | (_, 0 | 1) => 0,
            (j, n) => 1 + (j - 1) % (n - 1),
        }
    }

    /// States in the ring before the block that begins at `start`.
    pub fn ring_rows(&self, start: u64) -> usize {
        self.retired_before(start).min(self.ring) as usize
    }

    /// What the token at `position` sees while the block that begins at `start` is computed.
    pub fn visible(&self, start: u64, position: u64) -> Visible {
        let mut seen = Visible::new();
        let in_ring = self.retired_before(start);
        let retired = self.retired(position);
        let oldest = self.oldest(retired);

        // States: first those of the ring.
        if self.keeps_sink() && in_ring > 0 {
            seen.push(Place::Ring, 0, 1, 1);
        }
        let last = retired.min(in_ring);
        if oldest < last {
            let size = if self.keeps_sink() { self.ring - 1 } else { self.ring };
            let shift = self.ring - size;
            let first = self.slot(oldest) - shift;
            let mut ring = Visible::new();
            ring.push_wrapped(Place::Ring, first, 1, last - oldest, size);
            for run in ring.runs() {
                seen.push(Place::Ring, run.first as u64 + shift, 1, run.len as u64);
            }
        }
        // Then those that left the window within this block and are not in the ring yet.
        if in_ring == 0 && retired > 0 && (self.keeps_sink() || (self.ring == 1 && retired == 1)) {
            let place = if start > 0 { Place::Window } else { Place::Block };
            seen.push(place, 0, 1, 1);
        }
        let next = oldest.max(in_ring).max(1);
        if next < retired {
            let old = self.closed(start).clamp(next, retired);
            let size = self.window + 1;
            if next < old {
                let first = self.position(next) % size;
                seen.push_wrapped(Place::Window, first, self.chunk, old - next, size);
            }
            if old < retired {
                let first = self.position(old) - start;
                seen.push(Place::Block, first, self.chunk, retired - old);
            }
        }

        // The window, of which the later part lies in the block.
        let first = position.saturating_sub(self.window);
        if first < start {
            let size = self.window + 1;
            seen.push_wrapped(Place::Window, first % size, 1, start - first, size);
        }
        let first = first.max(start);
        seen.push(Place::Block, first - start, 1, position + 1 - first);
        seen
    }

    /// The rows that go to the ring when the block of `len` tokens from `start` is committed: place
    /// and row of the source, slot of the ring. To be done before the window is overwritten.
    pub fn retire(&self, start: u64, len: u64) -> impl Iterator<Item = (Place, usize, usize)> {
        let this = *self;
        let from = this.retired_before(start);
        let to = if len == 0 { from } else { this.retired(start + len - 1) };
        let oldest = this.oldest(to);
        let sink = (from == 0 && to > 0 && this.keeps_sink()).then_some(0);
        sink.into_iter().chain(from.max(oldest)..to).map(move |ordinal| {
            let position = this.position(ordinal);
            let (place, row) = if position < start {
                (Place::Window, position % (this.window + 1))
            } else {
                (Place::Block, position - start)
            };
            (place, row as usize, this.slot(ordinal) as usize)
        })
    }

    /// The rows that go to the window when the block is committed: row of the block, slot.
    pub fn enter(&self, start: u64, len: u64) -> impl Iterator<Item = (usize, usize)> + use<> {
        let size = self.window + 1;
        (len.saturating_sub(size)..len).map(move |i| (i as usize, ((start + i) % size) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Window and ring as the specification tells them, one token at a time.
    struct Told {
        schedule: Schedule,
        window: VecDeque<u64>,
        ring: Vec<u64>,
    }

    impl Told {
        fn token(&mut self, position: u64) -> Vec<u64> {
            let s = self.schedule;
            self.window.push_back(position);
            if self.window.len() as u64 > s.window + 1 {
                let leaving = self.window.pop_front().unwrap();
                if s.is_boundary(leaving) {
                    self.ring.push(leaving);
                    if self.ring.len() as u64 > s.ring {
                        let sink_stays = self.ring[0] == 0 && s.ring > 1;
                        self.ring.remove(if sink_stays { 1 } else { 0 });
                    }
                }
            }
            let mut seen: Vec<u64> = self.ring.iter().chain(&self.window).copied().collect();
            seen.sort_unstable();
            seen
        }
    }

    /// The three places with positions for rows.
    fn follow(schedule: Schedule, blocks: &[u64]) {
        let mut told = Told { schedule, window: VecDeque::new(), ring: Vec::new() };
        let mut ring = vec![None; schedule.ring as usize];
        let mut window = vec![None; schedule.window as usize + 1];
        let mut start = 0;
        for &len in blocks {
            for t in start..start + len {
                let visible = schedule.visible(start, t);
                let mut seen = Vec::new();
                for run in visible.runs() {
                    for row in (0..run.len).map(|i| run.first + i * run.step) {
                        seen.push(match run.place {
                            Place::Ring => ring[row].expect("an empty slot of the ring is seen"),
                            Place::Window => window[row].expect("an empty slot of the window"),
                            Place::Block => start + row as u64,
                        });
                    }
                }
                assert_eq!(seen.len(), visible.rows());
                seen.sort_unstable();
                assert_eq!(seen, told.token(t), "{schedule:?}, block from {start}, token {t}");
            }
            let moves: Vec<_> = schedule.retire(start, len).collect();
            for (place, row, slot) in moves {
                ring[slot] = match place {
                    Place::Window => window[row],
                    Place::Block => Some(start + row as u64),
                    Place::Ring => unreachable!("a state is retired once"),
                };
            }
            for (row, slot) in schedule.enter(start, len) {
                window[slot] = Some(start + row as u64);
            }
            start += len;
            assert_eq!(ring.iter().flatten().count(), schedule.ring_rows(start));
        }
    }

    #[test]
    fn a_transformer_sees_everything() {
        let s = Schedule { chunk: 1, offset: 0, window: 0, ring: 64 };
        follow(s, &[1, 1, 5, 1, 20]);
        assert_eq!(s.visible(20, 27).rows(), 28);
    }

    #[test]
    fn parts_make_up_the_whole() {
        let s = Schedule { chunk: 4, offset: 3, window: 9, ring: 17 };
        let whole = s.visible(500, 507);
        let rows = |v: &Visible| -> Vec<_> {
            let row = |r: &Run, i: usize| (r.place as u8, r.first + i * r.step);
            v.runs().iter().flat_map(|r| (0..r.len).map(move |i| row(r, i))).collect()
        };
        for parts in 1..40 {
            let joined: Vec<_> = (0..parts).flat_map(|i| rows(&whole.part(i, parts))).collect();
            assert_eq!(joined, rows(&whole), "{parts} parts");
        }
    }

    #[test]
    fn chunks_begin_after_boundaries() {
        for (chunk, offset) in [(1, 0), (4, 0), (4, 3), (7, 2)] {
            let s = Schedule { chunk, offset, window: 0, ring: 0 };
            let mut index = 0;
            for position in 0..50 {
                assert_eq!(s.index_in_chunk(position), index, "{s:?} at {position}");
                index = if s.is_boundary(position) { 0 } else { index + 1 };
            }
        }
    }

    #[test]
    fn decode_needs_few_runs() {
        let s = Schedule { chunk: 8, offset: 3, window: 64, ring: 128 };
        assert!(s.visible(100_000, 100_000).runs().len() <= 7);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_split_sees_what_the_specification_says(
            chunk in 1u64..20,
            offset in 0u64..20,
            window in 0u64..24,
            ring in 0u64..12,
            blocks in prop::collection::vec(0u64..40, 1..12),
        ) {
            follow(Schedule { chunk, offset: offset % chunk, window, ring }, &blocks);
        }
    }
}
