//! Snapshots at the ends of turns, bounded in number and in bytes.

use crate::session::Snapshot;
use std::collections::VecDeque;

/// Turns that can be taken back without reading the chat anew.
const MOST: usize = 8;
/// What all of them may take, in bytes.
const MOST_BYTES: u64 = 32 << 20;

/// The state of a chat at the end of a turn.
pub(super) struct Checkpoint {
    /// Messages up to there.
    pub messages: usize,
    /// Bytes of text that the session had taken in.
    pub fed: usize,
    /// The sampler's recent tokens.
    pub recent: Vec<u32>,
    pub snapshot: Snapshot,
}

/// The newest checkpoints of a chat, the oldest first.
#[derive(Default)]
pub(super) struct Checkpoints(VecDeque<Checkpoint>);

impl Checkpoints {
    /// Keeps `checkpoint`; the oldest go where there is no room.
    pub fn push(&mut self, checkpoint: Checkpoint) {
        self.0.retain(|c| c.messages < checkpoint.messages);
        self.0.push_back(checkpoint);
        while self.0.len() > MOST || self.bytes() > MOST_BYTES {
            self.0.pop_front();
        }
    }

    /// Takes the one after `messages` messages out, and forgets all later ones.
    pub fn take(&mut self, messages: usize) -> Option<Checkpoint> {
        while let Some(last) = self.0.pop_back() {
            if last.messages == messages {
                return Some(last);
            }
            if last.messages < messages {
                self.0.push_back(last);
                break;
            }
        }
        None
    }

    /// The last one: bytes of text that the session had taken in, and the state.
    pub fn newest(&self) -> Option<(usize, &Snapshot)> {
        self.0.back().map(|c| (c.fed, &c.snapshot))
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|c| c.snapshot.bytes()).sum()
    }
}
