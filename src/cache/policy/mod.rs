//! Eviction policies: which states are evicted when the ring is full. One file each; [`Eviction`]
//! lists them.

mod drop_oldest;
mod retain;
mod thin;

use super::scores::Scores;
use super::sequence::Sequence;
use std::fmt::{Debug, Display, Formatter};

/// How a full ring makes room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Eviction {
    /// The oldest state other than the sink is evicted.
    #[default]
    Drop,
    /// Every second state of the older half is evicted, so that old text stays in view at half the
    /// resolution. A ring of fewer than three states drops the oldest.
    Thin,
    /// Those that the model's retention gates score lowest are evicted, a fifth of the ring at a time; the
    /// newer half stays. Every KV head that doesn't see far decides for itself. For transformers whose
    /// file has such gates.
    Retain,
}

impl Eviction {
    /// All of them, in the order of their ids in saved sessions.
    pub const ALL: [Eviction; 3] = [Eviction::Drop, Eviction::Thin, Eviction::Retain];

    /// What heads do that see far, whatever the others do.
    pub(crate) fn by_position(self) -> Eviction {
        if self == Eviction::Retain { Eviction::Drop } else { self }
    }

    pub(crate) fn policy(self) -> &'static dyn Policy {
        match self {
            Eviction::Drop => &drop_oldest::DropOldest,
            Eviction::Thin => &thin::Thin,
            Eviction::Retain => &retain::Retain,
        }
    }
}

impl Display for Eviction {
    /// `drop`, `thin`, `retain`
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        f.write_str(self.policy().name())
    }
}

/// An eviction policy.
pub(crate) trait Policy: Debug + Send + Sync {
    /// Its name, which identifies it.
    fn name(&self) -> &'static str;

    /// Picks the states of a full ring to evict: at least one, or else the oldest is evicted.
    fn evict(&self, full: &mut Full);

    /// Whether the evicted states are scattered. Rows of the ring are then compacted, and memory is
    /// reserved for that.
    fn scatters(&self) -> bool;

    /// Whether it evicts by score. States are then evicted at the end of the block that fills the ring, so that
    /// rows are compacted before any token sees the ring in many pieces; and memory for that is taken when it
    /// is needed, since every head has a table of its own.
    fn scored(&self) -> bool {
        false
    }
}

impl PartialEq for dyn Policy {
    fn eq(&self, other: &dyn Policy) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Policy {}

/// The states of a full ring that may be evicted, oldest first. The sink is not among them.
pub(crate) struct Full<'a> {
    pub(super) positions: &'a Sequence,
    pub(super) sinks: usize,
    pub(super) scores: &'a Scores,
    /// Indices among all states, in ascending order.
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

    /// Evicts the `count` states with the lowest scores, of equal ones the oldest, except for the newest
    /// `newest`.
    pub fn evict_lowest(&mut self, count: usize, newest: usize) {
        let candidates = 0..self.len().saturating_sub(newest);
        let score = |index: usize| self.scores.of(self.sinks + index);
        let mut ranked: Vec<_> = candidates.map(|index| (score(index), index)).collect();
        ranked.sort_unstable();
        ranked.truncate(count);
        ranked.sort_unstable_by_key(|(_, index)| *index);
        ranked.into_iter().for_each(|(_, index)| self.evict(index));
    }

    /// Evicts state `index`. Indices must ascend from call to call; others are ignored.
    pub fn evict(&mut self, index: usize) {
        let place = self.sinks.saturating_add(index);
        let last = self.gone.len().checked_sub(1).and_then(|last| self.gone.get(last));
        if place < self.positions.len() && last.is_none_or(|last| last < place as u64) {
            self.gone.push(place as u64);
        }
    }
}
