//! The block table of KV heads with the same memory: what they hold, and what a block of tokens
//! changes.

use super::Move;
use super::policy::{Eviction, Policy};
use super::schedule::{Plan, Schedule};
use super::slots::{MOST_RING, Slots};
use super::visibility::{Near, Place, Run, Visibility};
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::ops::Range;

/// Longest window, in tokens.
pub const MOST_WINDOW: usize = 1 << 24;

/// Which states some KV heads hold, where these are stored, and what a block of tokens changes.
#[derive(Clone, Debug)]
pub struct BlockTable {
    pub(super) schedule: Schedule,
    pub(super) window: u64,
    policy: &'static dyn Policy,
    /// Tokens processed so far.
    pub(super) position: u64,
    pub(super) slots: Slots,
    /// Positions of the boundaries in the window.
    pub(super) closed: VecDeque<u64>,
    block: Block,
}

/// What is known of a block before it is computed.
#[derive(Clone, Debug, Default)]
struct Block {
    len: usize,
    /// For each token, how many tokens of its chunk come before it.
    in_chunk: Vec<u64>,
    seen: Visibility,
    moves: Vec<Move>,
}

/// Tables are equal if they behave the same from here on.
impl PartialEq for BlockTable {
    fn eq(&self, other: &BlockTable) -> bool {
        self.schedule == other.schedule
            && self.window == other.window
            && *self.policy == *other.policy
            && self.position == other.position
            && self.slots == other.slots
            && self.closed == other.closed
    }
}

impl Eq for BlockTable {}

impl BlockTable {
    /// The table of heads that hold nothing yet: chunks as `plan` says, a window of `window` tokens
    /// before the current one, and a ring of `ring` states, including the sink.
    ///
    /// # Errors
    /// [`Error::Argument`] if `window` is beyond [`MOST_WINDOW`] or `ring` beyond [`MOST_RING`].
    pub fn new(plan: Plan, window: usize, ring: usize, eviction: Eviction) -> Result<BlockTable> {
        BlockTable::with_policy(plan, window, ring, eviction.policy())
    }

    pub(super) fn with_policy(
        plan: Plan,
        window: usize,
        ring: usize,
        policy: &'static dyn Policy,
    ) -> Result<BlockTable> {
        let limits = [("window", window, MOST_WINDOW), ("ring", ring, MOST_RING)];
        if let Some((what, n, most)) = limits.into_iter().find(|(_, n, most)| n > most) {
            return Err(Error::argument(
                format!("the length of a {what}"),
                format!("must be between 0 and {most}, not {n}"),
            ));
        }
        Ok(BlockTable {
            schedule: Schedule::new(plan),
            window: window as u64,
            policy,
            position: 0,
            slots: Slots::new(ring),
            closed: VecDeque::new(),
            block: Block::default(),
        })
    }

    /// Reserves room for blocks of up to `tokens` tokens, so that nothing is allocated later unless
    /// chunk lengths change often.
    pub fn reserve(&mut self, tokens: usize) {
        let (tokens, runs, packed) = match self.policy.scored() {
            // There are many such tables.
            true => (tokens.min(self.most_room()), Visibility::FEW_RUNS, 0),
            false => (tokens, Visibility::RUNS, self.slots.packed_at_once(self.policy)),
        };
        self.closed.reserve(tokens + self.window.min(1 << 16) as usize + 1);
        self.slots.reserve(self.policy);
        self.block.in_chunk.reserve(tokens);
        self.block.seen.reserve(tokens, runs);
        self.block.moves.reserve(tokens.min(self.slots.ring()) + packed);
    }

    /// Bytes that the table itself takes.
    pub fn bytes(&self) -> usize {
        8 * (self.closed.capacity() + self.block.in_chunk.capacity())
            + self.slots.bytes()
            + self.block.seen.bytes()
            + size_of::<Move>() * self.block.moves.capacity()
    }

    /// Back to the start.
    pub fn reset(&mut self) {
        self.schedule = Schedule::new(self.schedule.upcoming());
        self.position = 0;
        self.slots.reset();
        self.closed.clear();
    }

    /// Changes the chunk length from the next chunk on.
    pub fn set_plan(&mut self, plan: Plan) {
        self.schedule.set(plan, self.position);
    }

    /// The plan that the next chunk follows.
    pub fn plan(&self) -> Plan {
        self.schedule.upcoming()
    }

    /// Tokens processed so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// States in the ring.
    pub fn rows(&self) -> usize {
        self.slots.slots().len()
    }

    /// Slots of the states in the ring, oldest first, as ranges.
    pub fn order(&self) -> impl Iterator<Item = Range<usize>> {
        self.slots.slots().ranges().map(|slots| slots.start as usize..slots.end as usize)
    }

    fn near(&self) -> Near {
        Near { window: self.window, start: self.position }
    }

    /// Works out what the next `len` tokens see and move. Must be followed by
    /// [`BlockTable::finish`] once the block is computed; until then nothing has moved.
    pub fn begin(&mut self, len: usize) {
        let near = self.near();
        if self.policy.scored() && self.block.moves.len() > len {
            // After an eviction.
            self.block.moves = Vec::new();
            self.slots.trim();
        }
        let Block { in_chunk, seen, moves, .. } = &mut self.block;
        in_chunk.clear();
        seen.clear();
        moves.clear();
        for t in self.position..self.position + len as u64 {
            let (before, closes) = self.schedule.token(t);
            in_chunk.push(before);
            if closes {
                self.closed.push_back(t);
            }
            while let Some(&position) = self.closed.front()
                && position + self.window < t
            {
                self.closed.pop_front();
                self.slots.retire(position, self.policy);
            }
            seen.push(t, self.slots.slots(), self.slots.outside(), near);
        }
        if self.policy.scored() {
            self.slots.make_room(self.policy);
        }
        self.slots.pack(|row, slot| moves.push(Move { from: Place::Ring, row, slot }));
        self.slots.settle(|position, slot| {
            let (from, row) = near.row(position);
            moves.push(Move { from, row, slot });
        });
        self.block.len = len;
    }

    /// Maximum tokens of the next block; at least 1. Where states are chosen by scores, a block ends when
    /// the ring is full, and the scores of those that may be evicted then are known before.
    pub fn room(&self) -> usize {
        if !self.policy.scored() || self.slots.ring() == 0 {
            return usize::MAX;
        }
        let before_first = (self.window + 1).saturating_sub(self.position);
        let free = self.slots.ring().saturating_sub(self.slots.len()) as u64;
        let room = usize::try_from(before_first + free).unwrap_or(usize::MAX);
        room.clamp(1, self.most_room())
    }

    /// The most that [`BlockTable::room`] may be where states are chosen by scores: of a full ring the newer
    /// half stays, so that what goes is older than a block.
    fn most_room(&self) -> usize {
        (self.window as usize + self.slots.ring() / 4).max(1)
    }

    /// Whether it evicts by score.
    pub fn scored(&self) -> bool {
        self.policy.scored()
    }

    /// Notes the score of a token of the block, at `position`, before it is finished.
    pub fn note(&mut self, position: u64, score: f32) {
        // Tokens within chunks leave no states.
        if !self.policy.scored() || self.schedule.plan.chunk() > 1 {
            return;
        }
        // The newest states are those of the tokens before the first one in the window.
        let index = self.closed.front().and_then(|front| {
            let after = self.slots.len() as u64 + position;
            usize::try_from(after.checked_sub(*front)?).ok()
        });
        if let Some(index) = index.filter(|index| *index < self.slots.len() + self.closed.len()) {
            self.slots.scores_mut().note(index, score);
        }
    }

    /// Marks the current block as computed and its rows as moved.
    pub fn finish(&mut self) {
        self.position += self.block.len as u64;
        self.block.len = 0;
    }

    /// What token `t` of the block sees.
    pub fn visible(&self, t: usize) -> &[Run] {
        self.block.seen.of(t)
    }

    /// For each token of the block, how many tokens of its chunk come before it.
    pub fn in_chunk(&self) -> &[u64] {
        &self.block.in_chunk
    }

    /// Rows to move to slots of the ring when the block has been computed, one after the other,
    /// before the window is overwritten.
    pub fn moves(&self) -> &[Move] {
        &self.block.moves
    }

    /// Rows of the block to move to the window after that: row of the block, slot.
    pub fn enter(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (size, position) = (self.near().slots(), self.position);
        let len = self.block.len as u64;
        (len.saturating_sub(size)..len).map(move |i| (i as usize, ((position + i) % size) as usize))
    }

    /// Shrinks the ring, and returns the slots of the states that are kept, oldest first. From then
    /// on the table has them in slots 0, 1, ….
    pub fn shrink(&mut self, ring: usize) -> Vec<usize> {
        self.slots.shrink(ring, self.policy)
    }
}
