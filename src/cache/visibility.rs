//! What a query sees, as runs of rows.

use super::sequence::Sequence;

/// Where a row of keys and values is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Slot of the ring.
    Ring,
    /// Slot of the window.
    Window,
    /// Row of the current block.
    Block,
}

/// `len` rows of one place: `first`, `first + step`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where the rows are stored.
    pub place: Place,
    /// Row of the first.
    pub first: u32,
    /// Distance from one row to the next.
    pub step: u32,
    /// Number of rows.
    pub len: u32,
}

impl Run {
    /// The row `index` of the run.
    pub fn row(&self, index: u32) -> usize {
        self.first as usize + index as usize * self.step as usize
    }
}

/// Number of rows of `runs`.
pub fn rows(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.len as usize).sum()
}

/// The window before a block, and the block: maps a position to its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near {
    /// Tokens before the current one that stay visible, `L`.
    pub window: u64,
    /// Position of the block's first token.
    pub start: u64,
}

impl Near {
    /// Slots of the window.
    pub fn slots(self) -> u64 {
        self.window + 1
    }

    /// The row of a token that is no further back than the window reaches.
    pub fn row(self, position: u64) -> (Place, u32) {
        match position.checked_sub(self.start) {
            Some(row) => (Place::Block, row as u32),
            None => (Place::Window, (position % self.slots()) as u32),
        }
    }
}

/// What the tokens of a block see, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Visibility {
    runs: Vec<Run>,
    /// For each token, where its runs end.
    ends: Vec<usize>,
}

impl Visibility {
    /// Runs per token, unless a policy leaves states in many runs or chunk lengths change often.
    pub const RUNS: usize = 9;
    /// The same where every token is a chunk, as a rule.
    pub const FEW_RUNS: usize = 3;

    pub fn reserve(&mut self, tokens: usize, runs: usize) {
        self.runs.reserve(runs * tokens);
        self.ends.reserve(tokens);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of::<Run>() * self.runs.capacity() + 8 * self.ends.capacity()
    }

    pub fn clear(&mut self) {
        self.runs.clear();
        self.ends.clear();
    }

    /// What token `t` of the block sees.
    pub fn of(&self, t: usize) -> &[Run] {
        let start = if t == 0 { 0 } else { self.ends[t - 1] };
        &self.runs[start..self.ends[t]]
    }

    /// Adds the next token, at `position`: it sees states in these slots of the ring, states
    /// outside it that were closed at these positions, and its window.
    pub fn push(
        &mut self,
        position: u64,
        slots: &Sequence,
        outside: impl Iterator<Item = u64>,
        near: Near,
    ) {
        for span in slots.spans() {
            let [first, step, len] = [span.first, span.step, span.len].map(|n| n as u32);
            self.runs.push(Run { place: Place::Ring, first, step, len });
        }
        let from = self.runs.len();
        for position in outside {
            let (place, row) = near.row(position);
            self.push_row(from, place, row);
        }
        // The window, the later part of which is in the block.
        let first = position.saturating_sub(near.window);
        if first < near.start {
            let (slot, len) = (first % near.slots(), near.start - first);
            let before = len.min(near.slots() - slot);
            self.push_range(from, Place::Window, slot, before);
            self.push_range(from, Place::Window, 0, len - before);
        }
        let first = first.max(near.start);
        self.push_range(from, Place::Block, first - near.start, position + 1 - first);
        self.ends.push(self.runs.len());
    }

    /// Adds `len` rows from `first` on to those from run `from` on.
    fn push_range(&mut self, from: usize, place: Place, first: u64, len: u64) {
        if len == 0 {
            return;
        }
        let (first, len) = (first as u32, len as u32);
        match self.runs[from..].last_mut() {
            Some(last)
                if last.place == place
                    && (last.step == 1 || last.len == 1)
                    && last.first + last.len == first =>
            {
                (last.step, last.len) = (1, last.len + len);
            }
            _ => self.runs.push(Run { place, first, step: 1, len }),
        }
    }

    /// Adds a row to those from run `from` on.
    fn push_row(&mut self, from: usize, place: Place, row: u32) {
        match self.runs[from..].last_mut() {
            Some(last) if last.place == place && last.len == 1 && row > last.first => {
                (last.step, last.len) = (row - last.first, 2);
            }
            Some(last) if last.place == place && row == last.first + last.len * last.step => {
                last.len += 1;
            }
            _ => self.runs.push(Run { place, first: row, step: 1, len: 1 }),
        }
    }
}
