//! A hash table from the bytes of a token to its id, four to eight bytes per entry.
//!
//! A `HashMap` would own a copy of every key. Here the vocabulary owns the bytes and the table only
//! the ids. Keys are hashed with the standard library's keyed hash: they come from a file, which
//! could otherwise be crafted so that all tokens collide.

use crate::error::Result;
use crate::room;
use std::hash::{BuildHasher, Hasher, RandomState};

const EMPTY: u32 = u32::MAX;

/// Open addressing with linear probing; the number of slots is a power of two.
pub(super) struct Index {
    slots: Box<[u32]>,
    hasher: RandomState,
}

impl Index {
    /// A table for at most `entries` ids.
    pub(super) fn new(entries: usize) -> Result<Index> {
        // At most two thirds full, so that a miss ends after a few slots.
        let slots = (entries + entries / 2 + 1).next_power_of_two();
        let mut empty = room::list(slots, "the vocabulary")?;
        empty.resize(slots, EMPTY);
        Ok(Index { slots: empty.into_boxed_slice(), hasher: RandomState::new() })
    }

    /// Inserts `id` under `bytes`, or returns the id that is already there under the same bytes.
    pub(super) fn insert<'a>(
        &mut self,
        bytes: &[u8],
        id: u32,
        text: impl Fn(u32) -> &'a [u8],
    ) -> Option<u32> {
        let slot = self.probe(bytes, text);
        match self.slots[slot] {
            EMPTY => {
                self.slots[slot] = id;
                None
            }
            other => Some(other),
        }
    }

    /// The id stored under `bytes`.
    pub(super) fn find<'a>(&self, bytes: &[u8], text: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        let id = self.slots[self.probe(bytes, text)];
        (id != EMPTY).then_some(id)
    }

    /// The slot that holds `bytes`, or the empty one where they belong. There is always one: the
    /// table is never full.
    fn probe<'a>(&self, bytes: &[u8], text: impl Fn(u32) -> &'a [u8]) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes);
        let mask = self.slots.len() - 1;
        let mut slot = hasher.finish() as usize & mask;
        while self.slots[slot] != EMPTY && text(self.slots[slot]) != bytes {
            slot = (slot + 1) & mask;
        }
        slot
    }
}
