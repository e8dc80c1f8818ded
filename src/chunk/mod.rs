//! The chunk schedule: which token closes a chunk, which rows of keys and values a query may see,
//! and where they lie. Pure integer arithmetic; both engines follow it.
//!
//! A layer keeps three places for rows: the *ring* of chunk states (fixed budget), the *window* of
//! the last `L + 1` tokens (position `p` in slot `p % (L + 1)`), and the *block* of tokens that is
//! being computed. [`Ledgers`] say, before a block is computed, what each of its tokens sees and
//! which rows move where after it.

mod ledger;
mod ledgers;

pub use ledger::Ledger;
pub use ledgers::Ledgers;

/// Which positions close chunks in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Tokens in a chunk, `P`, at least 1.
    pub chunk: u64,
    /// How far this layer's boundaries are moved, `0 <= offset < chunk`.
    pub offset: u64,
}

impl Plan {
    /// Whether `position` closes a chunk. Position 0 is a chunk of its own.
    pub fn is_boundary(self, position: u64) -> bool {
        position == 0 || (position + self.offset + 1).is_multiple_of(self.chunk)
    }

    /// The first boundary at `position` or after it.
    fn next(self, position: u64) -> u64 {
        match (position + self.offset + 1) % self.chunk {
            past if past > 0 && position > 0 => position + self.chunk - past,
            _ => position,
        }
    }
}

/// How a full ring makes room for one state more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest state but the sink goes.
    Drop,
    /// Every second state of the older half goes, so that old text stays in view at half the
    /// resolution. A ring of fewer than three states drops.
    Thin,
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
    pub first: u32,
    /// Rows from one to the next.
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

/// A row that goes to a slot of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where the row lies.
    pub from: Place,
    /// Its row there.
    pub row: usize,
    /// The slot of the ring that takes it.
    pub slot: usize,
}

/// Number of rows of `runs`.
pub fn rows(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.len as usize).sum()
}

#[cfg(test)]
mod tests;
