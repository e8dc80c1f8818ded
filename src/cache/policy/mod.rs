//! Eviction policies: which states go when the ring is full. One file each; [`Eviction`] lists them.

mod drop_oldest;
mod thin;

use super::sequence::Sequence;
use std::fmt::{Debug, Display, Formatter};

/// How a full ring makes room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Eviction {
    /// The oldest state but the sink goes.
    #[default]
    Drop,
    /// Every second state of the older half goes, so that old text stays in view at half the
    /// resolution. A ring of fewer than three states drops.
    Thin,
}

impl Eviction {
    /// All of them, in the order of their numbers in saved sessions.
    pub const ALL: [Eviction; 2] = [Eviction::Drop, Eviction::Thin];

    pub(crate) fn policy(self) -> &'static dyn Policy {
        match self {
            Eviction::Drop => &drop_oldest::DropOldest,
            Eviction::Thin => &thin::Thin,
        }
    }
}

impl Display for Eviction {
    /// `drop`, `thin`
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        f.write_str(self.policy().name())
    }
}

/// An eviction policy.
pub(crate) trait Policy: Debug + Send + Sync {
    /// Its name, by which policies differ.
    fn name(&self) -> &'static str;

    /// Names states of a full ring that go: one at least, else the oldest goes.
    fn evict(&self, full: &mut Full);

    /// Whether the states that go lie apart from one another. Rows of the ring are then moved
    /// together, and memory is set aside for that.
    fn scatters(&self) -> bool;
}

impl PartialEq for dyn Policy {
    fn eq(&self, other: &dyn Policy) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Policy {}

/// The states of a full ring that may go, the oldest first. The sink is none of them.
pub(crate) struct Full<'a> {
    pub(super) positions: &'a Sequence,
    pub(super) sinks: usize,
    /// Places among all states, in ascending order.
    pub(super) gone: &'a mut Sequence,
}

impl Full<'_> {
    /// How many there are; at least 1.
    pub fn len(&self) -> usize {
        self.positions.len() - self.sinks
    }

    /// Where the chunk of state `index` was closed.
    #[cfg_attr(not(test), expect(dead_code, reason = "for policies that go by position"))]
    pub fn position(&self, index: usize) -> Option<u64> {
        self.positions.get(self.sinks + index)
    }

    /// State `index` goes. Indices ascend from call to call; others are ignored.
    pub fn evict(&mut self, index: usize) {
        let place = self.sinks.saturating_add(index);
        let last = self.gone.len().checked_sub(1).and_then(|last| self.gone.get(last));
        if place < self.positions.len() && last.is_none_or(|last| last < place as u64) {
            self.gone.push(place as u64);
        }
    }
}
