//! Snapshots at the ends of turns, bounded in number and in bytes.

use crate::engine::Geometry;
use crate::error::Result;
use crate::model::ModelSpec;
use crate::session::Snapshot;
use std::collections::VecDeque;
use std::sync::Arc;

/// Turns that can be taken back without reading the chat anew.
const MOST: usize = 8;
/// What all of them may take, in bytes.
const MOST_BYTES: u64 = 32 << 20;

/// The most that the checkpoints of a chat take, in bytes.
pub(crate) fn most_bytes(spec: &ModelSpec, geometry: Geometry) -> Result<u64> {
    let one = Snapshot::most_bytes(spec, geometry)?;
    Ok(one.saturating_mul(MOST as u64).min(MOST_BYTES))
}

/// The state of a chat at the end of a turn.
pub(super) struct Checkpoint {
    /// Messages up to there.
    pub messages: usize,
    /// Bytes of text that the session had taken in.
    pub fed: usize,
    /// The sampler's recent tokens.
    pub recent: Vec<u32>,
    pub snapshot: Arc<Snapshot>,
}

/// The newest checkpoints of a chat, the oldest first.
#[derive(Default)]
pub(super) struct Checkpoints(VecDeque<Checkpoint>);

impl Checkpoints {
    /// Makes room for one of `bytes` bytes: the oldest go. False where there can be none.
    pub fn make_room(&mut self, bytes: u64) -> bool {
        if bytes > MOST_BYTES {
            return false;
        }
        while self.0.len() >= MOST || self.bytes() + bytes > MOST_BYTES {
            self.0.pop_front();
        }
        true
    }

    /// Keeps `checkpoint`, for which room was made.
    pub fn push(&mut self, checkpoint: Checkpoint) {
        self.0.push_back(checkpoint);
    }

    /// The one after `messages` messages; all later ones are forgotten.
    pub fn back_to(&mut self, messages: usize) -> Option<&Checkpoint> {
        self.0.retain(|c| c.messages <= messages);
        self.0.back().filter(|c| c.messages == messages)
    }

    /// The last one, if it is of `messages` messages and `fed` bytes of text.
    pub fn of(&self, messages: usize, fed: usize) -> Option<&Checkpoint> {
        self.0.back().filter(|c| c.messages == messages && c.fed == fed)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|c| c.snapshot.bytes()).sum()
    }
}
