//! Snapshots at the ends of turns, bounded in number and in bytes.

use crate::engine::Geometry;
use crate::error::Result;
use crate::model::ModelSpec;
use crate::session::Snapshot;
use std::collections::VecDeque;
use std::sync::Arc;

/// Turns that can be undone without processing the chat again.
const MOST: usize = 8;
/// The maximum bytes of all of them together, unless a chat sets another.
const MOST_BYTES: u64 = 32 << 20;

/// The maximum bytes that the checkpoints of a chat take.
pub(crate) fn most_bytes(spec: &ModelSpec, geometry: Geometry) -> Result<u64> {
    let one = Snapshot::most_bytes(spec, geometry)?;
    Ok(one.saturating_mul(MOST as u64).min(MOST_BYTES))
}

/// The state of a chat at the end of a turn.
pub(super) struct Checkpoint {
    /// Messages up to that point.
    pub messages: usize,
    /// Bytes of text that the session had processed.
    pub fed: usize,
    /// The sampler's recent tokens.
    pub recent: Vec<u32>,
    pub snapshot: Arc<Snapshot>,
}

/// The latest checkpoints of a chat.
pub(super) struct Checkpoints {
    /// Oldest first.
    all: VecDeque<Checkpoint>,
    most_bytes: u64,
}

impl Default for Checkpoints {
    fn default() -> Checkpoints {
        Checkpoints { all: VecDeque::new(), most_bytes: MOST_BYTES }
    }
}

impl Checkpoints {
    /// None yet, of as many bytes as these may have.
    pub fn empty(&self) -> Checkpoints {
        Checkpoints { all: VecDeque::new(), most_bytes: self.most_bytes }
    }

    /// At most `bytes` from now on.
    pub fn set_most_bytes(&mut self, bytes: u64) {
        self.most_bytes = bytes;
        self.drop_until_free(0);
    }

    /// Makes room for one of `bytes` bytes by dropping the oldest. False if it can't fit.
    pub fn make_room(&mut self, bytes: u64) -> bool {
        let fits = bytes <= self.most_bytes;
        if fits {
            while self.all.len() >= MOST {
                self.all.pop_front();
            }
            self.drop_until_free(bytes);
        }
        fits
    }

    fn drop_until_free(&mut self, bytes: u64) {
        while !self.all.is_empty() && self.bytes() + bytes > self.most_bytes {
            self.all.pop_front();
        }
    }

    /// Keeps `checkpoint`, which room was made for.
    pub fn push(&mut self, checkpoint: Checkpoint) {
        self.all.push_back(checkpoint);
    }

    /// The one after `messages` messages; all later ones are dropped.
    pub fn back_to(&mut self, messages: usize) -> Option<&Checkpoint> {
        self.all.retain(|c| c.messages <= messages);
        self.all.back().filter(|c| c.messages == messages)
    }

    /// The last one, if it has `messages` messages and `fed` bytes of text.
    pub fn of(&self, messages: usize, fed: usize) -> Option<&Checkpoint> {
        self.all.back().filter(|c| c.messages == messages && c.fed == fed)
    }

    /// The chat forgot `messages` messages before number `end`, and `bytes` of its text: so do those
    /// after them; those of earlier turns go.
    pub fn forget(&mut self, end: usize, messages: usize, bytes: usize) {
        self.all.retain_mut(|c| {
            let after = c.messages >= end && c.fed >= bytes;
            if after {
                c.messages -= messages;
                c.fed -= bytes;
            }
            after
        });
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn clear(&mut self) {
        self.all.clear();
    }

    pub fn bytes(&self) -> u64 {
        self.all.iter().map(|c| c.snapshot.bytes()).sum()
    }
}
