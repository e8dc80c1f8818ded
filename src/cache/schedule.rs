//! Which positions close chunks.

use crate::error::{Error, Result};

/// Longest chunk, in tokens.
pub const MOST_CHUNK: usize = 1 << 24;

/// Chunks of equal length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    chunk: u64,
    offset: u64,
}

impl Plan {
    /// Chunks of `chunk` tokens, `P`, with boundaries shifted by `offset`.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `1 <= chunk <= MOST_CHUNK` and `offset < chunk`.
    pub fn new(chunk: u64, offset: u64) -> Result<Plan> {
        if !(1..=MOST_CHUNK as u64).contains(&chunk) {
            return Err(Error::argument(
                "a chunk length",
                format!("must be between 1 and {MOST_CHUNK}, not {chunk}"),
            ));
        }
        if offset >= chunk {
            return Err(Error::argument(
                format!("the offset of chunks of {chunk} tokens"),
                format!("must be below {chunk}, not {offset}"),
            ));
        }
        Ok(Plan { chunk, offset })
    }

    /// Every token is a chunk.
    #[cfg(test)]
    pub const EVERY_TOKEN: Plan = Plan { chunk: 1, offset: 0 };

    /// Tokens in a chunk, `P`.
    pub fn chunk(self) -> u64 {
        self.chunk
    }

    /// How far boundaries are shifted; less than the length of a chunk.
    pub fn offset(self) -> u64 {
        self.offset
    }

    /// Whether `position` closes a chunk. Position 0 is a chunk of its own.
    pub fn is_boundary(self, position: u64) -> bool {
        position == 0 || (position + self.offset + 1).is_multiple_of(self.chunk)
    }

    /// Number of positions before `end` that close a chunk.
    pub fn boundaries(self, end: u64) -> u64 {
        // Position 0 closes a chunk even if the others' period does not meet it.
        let alone = end > 0 && self.offset + 1 < self.chunk;
        (end + self.offset) / self.chunk + u64::from(alone)
    }
}

/// The chunks of a sequence: their length may change from one to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub plan: Plan,
    /// The plan that takes over once the current chunk is closed.
    pub next: Option<Plan>,
    /// Where the chunk of the next token begins.
    pub chunk_start: u64,
}

impl Schedule {
    pub fn new(plan: Plan) -> Schedule {
        Schedule { plan, next: None, chunk_start: 0 }
    }

    /// Advances to the next token, at `position`: returns how many tokens of its chunk come before
    /// it, and whether it closes the chunk.
    pub fn token(&mut self, position: u64) -> (u64, bool) {
        let in_chunk = position - self.chunk_start;
        let closes = self.plan.is_boundary(position);
        if closes {
            self.chunk_start = position + 1;
            self.plan = self.next.take().unwrap_or(self.plan);
        }
        (in_chunk, closes)
    }

    /// Switches to another plan from the next chunk on; the next token is the one at `position`.
    pub fn set(&mut self, plan: Plan, position: u64) {
        if position == self.chunk_start {
            (self.plan, self.next) = (plan, None);
        } else {
            self.next = Some(plan);
        }
    }

    /// The plan that the next chunk follows.
    pub fn upcoming(&self) -> Plan {
        self.next.unwrap_or(self.plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn boundaries_are_counted(chunk in 1u64..20, offset in 0u64..20, end in 0u64..200) {
            let plan = Plan::new(chunk, offset % chunk).unwrap();
            let counted = (0..end).filter(|p| plan.is_boundary(*p)).count() as u64;
            prop_assert_eq!(plan.boundaries(end), counted);
        }
    }
}
