//! The books of one layer: what it remembers, and what a block of tokens changes.

use super::{Move, Overflow, Place, Plan, Run};
use std::collections::VecDeque;

/// What one layer remembers and where it lies.
///
/// States are listed in order, the oldest first. The first of a ring of two or more is the sink,
/// in slot 0; the others lie round and round behind it, the oldest in slot `head`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    plan: Plan,
    /// The plan that takes over once the chunk at hand is closed.
    next: Option<Plan>,
    window: u64,
    ring: usize,
    overflow: Overflow,
    /// Tokens taken in.
    position: u64,
    /// Where the chunk of the next token begins.
    chunk_start: u64,
    /// States in the ring.
    rows: usize,
    head: usize,
    /// Positions of the boundaries that are not in the ring: of the window, and of the block.
    closed: VecDeque<u64>,
    block: Block,
}

/// What is known of a block before it is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    len: usize,
    /// For each token, how many of its chunk come before it.
    in_chunk: Vec<u64>,
    /// What each token sees, one after the other.
    runs: Vec<Run>,
    /// For each token, where its runs end.
    ends: Vec<usize>,
    /// What goes to the ring.
    moves: Vec<Move>,
    /// What moves within the ring after that, to lower slots: from, to.
    compaction: Vec<(usize, usize)>,
    /// Boundaries that leave the window.
    retired: usize,
    rows: usize,
    head: usize,
}

impl Ledger {
    /// The books of an empty layer: `ring` chunk states, the sink counted, and a window of `window`
    /// tokens before the current one.
    pub fn new(plan: Plan, window: u64, ring: usize, overflow: Overflow) -> Ledger {
        let mut ledger = Ledger {
            plan,
            next: None,
            window,
            ring,
            overflow,
            position: 0,
            chunk_start: 0,
            rows: 0,
            head: 0,
            closed: VecDeque::new(),
            block: Block::default(),
        };
        ledger.head = ledger.sinks();
        ledger
    }

    /// Makes room for blocks of up to `tokens` tokens, so that nothing is allocated later unless
    /// chunk lengths change often.
    pub fn reserve(&mut self, tokens: usize) {
        const RUNS_OF_A_TOKEN: usize = 9;
        // Books are made before anybody knows that there is memory for such a ring. Larger ones
        // than this allocate when they are thinned for the first time.
        const MOST_STATES: usize = 1 << 16;
        self.closed.reserve(tokens + self.window.min(1 << 16) as usize + 1);
        self.block.in_chunk.reserve(tokens);
        self.block.runs.reserve(RUNS_OF_A_TOKEN * tokens);
        self.block.ends.reserve(tokens);
        self.block.moves.reserve(tokens.min(self.ring));
        if self.thins() {
            self.block.compaction.reserve(self.ring.min(MOST_STATES));
        }
    }

    /// Bytes that the books themselves take.
    pub fn bytes(&self) -> usize {
        8 * (self.closed.capacity() + self.block.in_chunk.capacity() + self.block.ends.capacity())
            + size_of::<Run>() * self.block.runs.capacity()
            + size_of::<Move>() * self.block.moves.capacity()
            + 16 * self.block.compaction.capacity()
    }

    /// Back to the start.
    pub fn reset(&mut self) {
        self.plan = self.next.take().unwrap_or(self.plan);
        (self.position, self.chunk_start, self.rows) = (0, 0, 0);
        self.head = self.sinks();
        self.closed.clear();
    }

    /// Another chunk length from the next chunk on.
    pub fn set_plan(&mut self, plan: Plan) {
        if self.position == self.chunk_start {
            (self.plan, self.next) = (plan, None);
        } else {
            self.next = Some(plan);
        }
    }

    /// The plan that the next chunk follows.
    pub fn plan(&self) -> Plan {
        self.next.unwrap_or(self.plan)
    }

    /// Tokens taken in.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// States in the ring.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Slots of the states in the ring, the oldest first, as at most three ranges.
    pub fn order(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let sinks = self.sinks().min(self.rows);
        let round = self.rows - sinks;
        let first = round.min(self.ring.saturating_sub(self.head));
        let ranges = [0..sinks, self.head..self.head + first, sinks..sinks + round - first];
        ranges.into_iter().filter(|range| !range.is_empty())
    }

    /// Tokens that the next block may have. A ring is thinned between blocks only.
    pub fn room(&self) -> u64 {
        if !self.thins() {
            return u64::MAX;
        }
        // The first boundary that there is no room for; it leaves the window L + 1 tokens later.
        let free = self.ring - self.rows;
        let one_too_many = match self.closed.get(free) {
            Some(position) => *position,
            None => {
                let mut plan = self.plan;
                let mut missing = (free - self.closed.len()) as u64;
                let mut boundary = plan.next(self.position);
                if missing > 0
                    && let Some(next) = self.next
                {
                    plan = next;
                    boundary = plan.next(boundary + 1);
                    missing -= 1;
                }
                // Position 0 is a chunk of its own whatever the plan.
                if missing > 0 && boundary == 0 {
                    boundary = plan.next(1);
                    missing -= 1;
                }
                boundary.saturating_add(missing.saturating_mul(plan.chunk))
            }
        };
        (one_too_many + self.window + 1).saturating_sub(self.position)
    }

    /// Works out what the next `len` tokens see and move; at most [`Ledger::room`] of them. To be
    /// followed by [`Ledger::finish`] once the block is computed.
    pub fn begin(&mut self, len: usize) {
        let Block { in_chunk, runs, ends, moves, compaction, .. } = &mut self.block;
        in_chunk.clear();
        runs.clear();
        ends.clear();
        moves.clear();
        compaction.clear();
        self.block.len = len;
        self.find_boundaries();
        for t in self.position..self.position + len as u64 {
            self.see(t);
        }
        self.find_moves();
        if self.thins() {
            self.find_compaction();
        }
    }

    /// Takes the block that was begun into the books.
    pub fn finish(&mut self) {
        self.position += self.block.len as u64;
        self.closed.drain(..self.block.retired);
        (self.rows, self.head) = (self.block.rows, self.block.head);
        self.block.len = 0;
    }

    /// What the token `t` of the block sees.
    pub fn visible(&self, t: usize) -> &[Run] {
        let start = if t == 0 { 0 } else { self.block.ends[t - 1] };
        &self.block.runs[start..self.block.ends[t]]
    }

    /// For each token of the block, how many of its chunk come before it.
    pub fn in_chunk(&self) -> &[u64] {
        &self.block.in_chunk
    }

    /// Rows of window and block that go to the ring when the block has been computed, before the
    /// window is overwritten. No slot occurs twice.
    pub fn moves(&self) -> &[Move] {
        &self.block.moves
    }

    /// Slots of the ring whose states move to lower ones, one after the other, after all else:
    /// from, to.
    pub fn compaction(&self) -> &[(usize, usize)] {
        &self.block.compaction
    }

    /// Rows of the block that go to the window: row of the block, slot.
    pub fn enter(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (size, position, len) = (self.window + 1, self.position, self.block.len as u64);
        (len.saturating_sub(size)..len).map(move |i| (i as usize, ((position + i) % size) as usize))
    }

    /// Makes the ring smaller, and gives the states that are kept, by their place in the list. The
    /// books then say that they lie in slots 0, 1, ….
    pub fn shrink(&mut self, ring: usize) -> Vec<usize> {
        let mut kept: Vec<usize> = (0..self.rows).collect();
        let ring = ring.min(self.ring);
        self.ring = ring;
        let sinks = self.sinks();
        if self.thins() {
            while kept.len() > ring || (kept.len() == ring && self.next_token_retires()) {
                let (len, mut index) = (kept.len(), 0);
                kept.retain(|_| {
                    index += 1;
                    !thinned(index - 1, len)
                });
            }
        } else {
            let excess = self.excess(kept.len());
            let first = sinks.min(kept.len());
            kept.drain(first..first + excess);
        }
        (self.rows, self.head) = (kept.len(), sinks);
        kept
    }

    /// States at the beginning of the list that stay for ever.
    fn sinks(&self) -> usize {
        usize::from(self.ring >= 2)
    }

    fn thins(&self) -> bool {
        self.overflow == Overflow::Thin && self.ring >= 3
    }

    /// The slot of the state `index` of the list, were the ring as it is now.
    fn slot(&self, index: usize) -> usize {
        let sinks = self.sinks();
        match index.checked_sub(sinks) {
            None => index,
            Some(round) => sinks + (self.head - sinks + round) % (self.ring - sinks),
        }
    }

    /// Of `total` states, how many behind the sink there is no room for.
    fn excess(&self, total: usize) -> usize {
        total.saturating_sub(self.ring)
    }

    /// Boundaries known that have left the window once the token `t` is in it.
    fn retired(&self, t: u64) -> usize {
        self.closed.partition_point(|b| b + self.window < t)
    }

    fn next_token_retires(&self) -> bool {
        self.retired(self.position) > 0
    }

    fn find_boundaries(&mut self) {
        for t in self.position..self.position + self.block.len as u64 {
            self.block.in_chunk.push(t - self.chunk_start);
            if self.plan.is_boundary(t) {
                self.closed.push_back(t);
                self.chunk_start = t + 1;
                self.plan = self.next.take().unwrap_or(self.plan);
            }
        }
    }

    /// Adds what the token at `t` sees to the block's runs.
    fn see(&mut self, t: u64) {
        let mut seen = std::mem::take(&mut self.block.runs);
        let from = seen.len();
        let (start, size) = (self.position, self.window + 1);
        let retired = self.retired(t);
        let (sinks, excess) = (self.sinks(), self.excess(self.rows + retired));
        let dropped = sinks..sinks + excess;

        // The states: those of the ring, then those that left the window within the block.
        let mut index = 0;
        for slots in self.order() {
            let len = slots.len();
            let before = dropped.start.clamp(index, index + len) - index;
            let after = dropped.end.clamp(index, index + len) - index;
            push_range(&mut seen, from, Place::Ring, slots.start, before);
            push_range(&mut seen, from, Place::Ring, slots.start + after, len - after);
            index += len;
        }
        for (i, position) in self.closed.iter().take(retired).enumerate() {
            if !dropped.contains(&(index + i)) {
                let (place, row) = self.row(*position);
                push_row(&mut seen, from, place, row);
            }
        }
        // The window, of which the later part lies in the block.
        let first = t.saturating_sub(self.window);
        if first < start {
            let (slot, len) = ((first % size) as usize, (start - first) as usize);
            let before = len.min(size as usize - slot);
            push_range(&mut seen, from, Place::Window, slot, before);
            push_range(&mut seen, from, Place::Window, 0, len - before);
        }
        let first = first.max(start);
        let len = (t + 1 - first) as usize;
        push_range(&mut seen, from, Place::Block, (first - start) as usize, len);
        self.block.ends.push(seen.len());
        self.block.runs = seen;
    }

    /// Where the row of a token lies that is not in the ring.
    fn row(&self, position: u64) -> (Place, usize) {
        match position.checked_sub(self.position) {
            Some(row) => (Place::Block, row as usize),
            None => (Place::Window, (position % (self.window + 1)) as usize),
        }
    }

    fn find_moves(&mut self) {
        let end = self.position + self.block.len as u64;
        let retired = if self.block.len == 0 { 0 } else { self.retired(end - 1) };
        let total = self.rows + retired;
        let (sinks, excess) = (self.sinks(), self.excess(total));
        for (i, position) in self.closed.iter().take(retired).enumerate() {
            let index = self.rows + i;
            if index < sinks || index >= sinks + excess {
                let (from, row) = self.row(*position);
                self.block.moves.push(Move { from, row, slot: self.slot(index) });
            }
        }
        self.block.retired = retired;
        self.block.rows = total - excess;
        self.block.head = if self.ring > sinks {
            sinks + (self.head - sinks + excess) % (self.ring - sinks)
        } else {
            self.head
        };
    }

    /// Thins the ring if it is full and the token after the block pushes one more state into it.
    fn find_compaction(&mut self) {
        let next = self.position + self.block.len as u64;
        if self.block.rows < self.ring || self.retired(next) <= self.block.retired {
            return;
        }
        let mut to = 0;
        for from in 0..self.block.rows {
            if !thinned(from, self.block.rows) {
                if from > to {
                    self.block.compaction.push((from, to));
                }
                to += 1;
            }
        }
        self.block.rows = to;
    }
}

/// Whether the state `index` of a full ring of `ring` goes: every second of the older half, the
/// sink apart, and the oldest first, so that no state stays for ever but the sink.
fn thinned(index: usize, ring: usize) -> bool {
    index % 2 == 1 && index <= (ring - 1) / 2
}

/// Adds `len` rows from `first` on to the runs of a token, which begin at `from`.
fn push_range(runs: &mut Vec<Run>, from: usize, place: Place, first: usize, len: usize) {
    if len == 0 {
        return;
    }
    let (first, len) = (first as u32, len as u32);
    match runs[from..].last_mut() {
        Some(last)
            if last.place == place
                && (last.step == 1 || last.len == 1)
                && last.first + last.len == first =>
        {
            (last.step, last.len) = (1, last.len + len);
        }
        _ => runs.push(Run { place, first, step: 1, len }),
    }
}

/// Adds a row to the runs of a token, which begin at `from`.
fn push_row(runs: &mut Vec<Run>, from: usize, place: Place, row: usize) {
    let row = row as u32;
    match runs[from..].last_mut() {
        Some(last) if last.place == place && last.len == 1 && row > last.first => {
            (last.step, last.len) = (row - last.first, 2);
        }
        Some(last) if last.place == place && row == last.first + last.len * last.step => {
            last.len += 1;
        }
        _ => runs.push(Run { place, first: row, step: 1, len: 1 }),
    }
}

/// The books in numbers, and back.
impl Ledger {
    /// Numbers before the boundaries: see [`Ledger::encode`].
    const FIXED: usize = 7;

    /// Appends what a state can't be taken up without: position, chunk and offset of the plan and of
    /// the next (equal where there is none), where the chunk at hand begins, states in the ring,
    /// number of boundaries that are not in it, and their positions.
    pub fn encode(&self, numbers: &mut Vec<u64>) {
        let next = self.next.unwrap_or(self.plan);
        numbers.extend([self.position, self.plan.chunk, self.plan.offset]);
        numbers.extend([next.chunk, next.offset, self.chunk_start, self.rows as u64]);
        numbers.push(self.closed.len() as u64);
        numbers.extend(&self.closed);
    }

    /// Takes what [`Ledger::encode`] wrote from the beginning of `numbers`, if the books of a layer
    /// of this geometry at `position` can be such. The states then lie in slots 0, 1, ….
    pub fn decode(&mut self, position: u64, numbers: &mut &[u64]) -> Option<()> {
        let (&[own, chunk, offset, next_chunk, next_offset, chunk_start, rows], rest) =
            numbers.split_first_chunk::<{ Ledger::FIXED }>()?;
        let (&count, rest) = rest.split_first()?;
        let (closed, rest) = rest.split_at_checked(usize::try_from(count).ok()?)?;
        let plan = Plan { chunk, offset };
        let next = Plan { chunk: next_chunk, offset: next_offset };
        let oldest = position.saturating_sub(self.window + 1);
        let sound = own == position
            && [plan, next]
                .iter()
                .all(|p| p.chunk > 0 && p.chunk <= MOST_CHUNK && p.offset < p.chunk)
            && chunk_start <= position
            && rows <= (self.ring as u64).min(position)
            && closed.is_sorted_by(|a, b| a < b)
            && closed.iter().all(|b| (oldest..position).contains(b));
        if !sound {
            return None;
        }
        self.reset();
        (self.plan, self.next) = (plan, (next != plan).then_some(next));
        (self.position, self.chunk_start, self.rows) = (position, chunk_start, rows as usize);
        self.closed.extend(closed);
        *numbers = rest;
        // A full ring that the next token overflows would have been thinned already.
        (self.room() > 0).then_some(())
    }
}

/// Longer chunks than any model has; sums with positions stay far from 64 bits.
const MOST_CHUNK: u64 = 1 << 32;
