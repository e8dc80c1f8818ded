//! The states of a ring: a list of positions and slots, oldest first.

use super::policy::{Full, Policy};
use super::scores::Scores;
use super::sequence::{Sequence, Span};

/// Most states of a ring.
pub const MOST_RING: usize = u32::MAX as usize;

/// How many runs of adjacent slots the states may be spread over before rows are compacted: every
/// query reads each run separately.
const MOST_STRETCHES: usize = 4;
/// Spans that lists reserve room for up front.
const SPANS: usize = 16;
/// Tables are created before it is known whether there is memory for such a ring. Larger ones than
/// this allocate when rows are compacted for the first time.
const MOST_RESERVED: usize = 1 << 16;

/// Which states exist, and which slots of the ring they occupy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    ring: usize,
    /// Where the chunks of all states were closed.
    positions: Sequence,
    /// The slots of those in the ring. The others follow: they left the window within the block,
    /// and have not been moved yet.
    slots: Sequence,
    /// Free slots, in the order in which they will be used.
    free: Sequence,
    /// Of the states, and of the tokens after them; empty if the policy does without.
    scores: Scores,
    /// Empty; memory for evictions and for [`Slots::pack`].
    gone: Sequence,
    slot_of: Vec<u32>,
    state_in: Vec<u32>,
}

impl Slots {
    /// An empty ring of `ring` slots.
    pub fn new(ring: usize) -> Slots {
        let list = Sequence::default;
        let mut new = Slots {
            ring,
            positions: list(),
            slots: list(),
            free: list(),
            scores: Scores::default(),
            gone: list(),
            slot_of: Vec::new(),
            state_in: Vec::new(),
        };
        new.reset();
        new
    }

    /// Reserves room, so that nothing is allocated later unless a policy leaves states in many
    /// spans.
    pub fn reserve(&mut self, policy: &dyn Policy) {
        let packed = self.packed_at_once(policy);
        if policy.scored() {
            // The older half may be anywhere.
            self.positions.reserve_spans(packed / 2 + SPANS);
            let others = [&mut self.slots, &mut self.free, &mut self.gone];
            others.into_iter().for_each(|list| list.reserve_spans(SPANS));
            self.scores.reserve(packed);
            return;
        }
        let lists = [&mut self.positions, &mut self.slots, &mut self.free, &mut self.gone];
        lists.into_iter().for_each(|list| list.reserve(SPANS));
        self.slot_of.reserve(packed);
        self.state_in.reserve(packed);
    }

    /// Rows that can be compacted at once with the memory there is.
    pub fn packed_at_once(&self, policy: &dyn Policy) -> usize {
        if policy.scatters() { self.ring.min(MOST_RESERVED) } else { 0 }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let lists = [&self.positions, &self.slots, &self.free, &self.gone];
        lists.map(Sequence::bytes).iter().sum::<usize>()
            + 4 * (self.slot_of.capacity() + self.state_in.capacity())
            + self.scores.bytes()
    }

    pub fn reset(&mut self) {
        self.positions.clear();
        self.slots.clear();
        self.free.clear();
        self.free.push_range(0..self.ring as u64);
        self.scores.clear();
    }

    /// The scores, of policies that rank states by them.
    pub fn scores(&self) -> &Scores {
        &self.scores
    }

    /// The same, to be changed.
    pub fn scores_mut(&mut self) -> &mut Scores {
        &mut self.scores
    }

    pub fn ring(&self) -> usize {
        self.ring
    }

    /// Number of states, including those of the block that left the window.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Where the chunks of the states were closed.
    pub fn positions(&self) -> &Sequence {
        &self.positions
    }

    /// The slots of the states in the ring.
    pub fn slots(&self) -> &Sequence {
        &self.slots
    }

    /// Positions of the states that are not in the ring yet.
    pub fn outside(&self) -> impl Iterator<Item = u64> {
        self.positions.iter_from(self.slots.len())
    }

    /// The state of the chunk that was closed at `position` leaves the window.
    pub fn retire(&mut self, position: u64, policy: &dyn Policy) {
        self.make_room(policy);
        if self.ring > 0 {
            self.positions.push(position);
        } else {
            self.scores.forget_first();
        }
    }

    /// Evicts states from a full ring before another state needs room.
    pub fn make_room(&mut self, policy: &dyn Policy) {
        if self.ring > 0 && self.len() >= self.ring {
            self.evict(policy);
        }
    }

    /// Evicts states from a ring that is not empty. The first state of a ring of two or more is the
    /// sink and stays.
    fn evict(&mut self, policy: &dyn Policy) {
        let sinks = usize::from(self.ring >= 2).min(self.len() - 1);
        let Slots { positions, scores, gone, .. } = &mut *self;
        let mut full = Full { positions, sinks, scores, gone };
        policy.evict(&mut full);
        if self.gone.len() == 0 {
            self.gone.push(sinks as u64);
        }
        match policy.scored() {
            true => self.positions.remove_once(&self.gone, |_| {}),
            false => self.positions.remove(&self.gone, |_| {}),
        }
        self.scores.forget(&self.gone);
        let free = &mut self.free;
        self.slots.remove(&self.gone, |slot| free.push(slot));
        self.gone.clear();
    }

    /// Compacts the rows of the ring if they are in too many runs: `each` gets the source and
    /// destination slots, one move after the other.
    pub fn pack(&mut self, mut each: impl FnMut(u32, u32)) {
        const NONE: u32 = u32::MAX;
        if self.slots.ranges().nth(MOST_STRETCHES).is_none() {
            return;
        }
        let Some(hole) = self.free.get(0) else { return };
        let mut hole = hole as usize;
        let held = self.slots.len();
        let (slot_of, state_in) = (&mut self.slot_of, &mut self.state_in);
        slot_of.extend(self.slots.iter().map(|slot| slot as u32));
        state_in.resize(held, NONE);
        for (state, slot) in (0..).zip(&*slot_of) {
            if let Some(there) = state_in.get_mut(*slot as usize) {
                *there = state;
            }
        }
        // State by state moves to the slot of its index; whatever is there moves out to the hole.
        for state in 0..held {
            let slot = slot_of[state] as usize;
            if slot == state {
                continue;
            }
            let other = state_in[state];
            if other != NONE {
                each(state as u32, hole as u32);
                slot_of[other as usize] = hole as u32;
                if let Some(there) = state_in.get_mut(hole) {
                    *there = other;
                }
            }
            each(slot as u32, state as u32);
            if let Some(left) = state_in.get_mut(slot) {
                *left = NONE;
            }
            hole = slot;
        }
        slot_of.clear();
        state_in.clear();
        self.lie_in_order();
    }

    /// Assigns slots to the states outside the ring: `each` gets position and slot.
    pub fn settle(&mut self, mut each: impl FnMut(u64, u32)) {
        for position in self.positions.iter_from(self.slots.len()) {
            // There are as many free slots as states outside, since no more are kept than the ring
            // holds.
            let Some(slot) = self.free.pop_first() else { break };
            self.slots.push(slot);
            each(position, slot as u32);
        }
    }

    /// Gives back memory that only an eviction takes.
    pub fn trim(&mut self) {
        for list in [&mut self.slots, &mut self.free, &mut self.gone] {
            list.trim(SPANS);
        }
        self.slot_of = Vec::new();
        self.state_in = Vec::new();
    }

    /// Shrinks the ring, and returns the slots of the states that are kept. From then on these
    /// count as being in slots 0, 1, ….
    pub fn shrink(&mut self, ring: usize, policy: &dyn Policy) -> Vec<usize> {
        self.ring = self.ring.min(ring);
        while self.len() > self.ring {
            self.evict(policy);
        }
        let kept = self.slots.iter().map(|slot| slot as usize).collect();
        self.lie_in_order();
        kept
    }

    /// Puts states at ascending positions into slots 0, 1, … of an empty ring, unless there are
    /// more than it holds.
    pub fn restore(&mut self, positions: &[Span]) -> Option<()> {
        self.reset();
        positions.iter().for_each(|span| self.positions.push_span(*span));
        if self.len() > self.ring {
            return None;
        }
        self.slots.push_range(0..self.len() as u64);
        self.lie_in_order();
        Some(())
    }

    /// The states in the ring are now in slots 0, 1, ….
    fn lie_in_order(&mut self) {
        let held = self.slots.len() as u64;
        self.slots.clear();
        self.slots.push_range(0..held);
        self.free.clear();
        self.free.push_range(held..self.ring as u64);
    }
}
