//! Block tables in numbers, as a saved session has them, and back. Arbitrary numbers are either
//! rejected or harmless.

use super::schedule::Plan;
use super::sequence::Span;
use super::table::BlockTable;

/// Numbers of a table beside its lists.
const FIXED: usize = 6;
/// At a million tokens per second no sequence gets there within a century; sums stay well within 64
/// bits.
const FARTHEST: u64 = 1 << 56;

impl BlockTable {
    /// Upper bound on the numbers that [`BlockTable::encode`] appends.
    pub fn most_numbers(window: usize, ring: usize, position: u64) -> u64 {
        let spans = position.min(ring as u64);
        (FIXED as u64 + 3 + 4 * spans).saturating_add(2 * (window as u64 + 1))
    }

    /// Appends what a state can't be resumed without: position, chunk and offset of the current
    /// plan and of the next one (equal if there is none), and the start of the current chunk; the
    /// number of boundaries in the window, and their positions; the number of spans of states in
    /// the ring, and for each span its first position, its step and its length. If the policy ranks by
    /// scores, the number of those that are known, of states and then of the tokens after them, and these.
    pub fn encode(&self, numbers: &mut Vec<u64>) {
        let (plan, next) = (self.schedule.plan, self.schedule.upcoming());
        numbers.extend([self.position, plan.chunk(), plan.offset()]);
        numbers.extend([next.chunk(), next.offset(), self.schedule.chunk_start]);
        numbers.push(self.closed.len() as u64);
        numbers.extend(&self.closed);
        let spans = self.slots.positions().spans();
        numbers.push(spans.len() as u64);
        numbers.extend(spans.iter().flat_map(|span| [span.first, span.step, span.len]));
        if self.scored() {
            let scores = self.slots.scores().list();
            numbers.push(scores.len() as u64);
            numbers.extend(scores.iter().map(|score| u64::from(*score)));
        }
    }

    /// Reads what [`BlockTable::encode`] wrote off the front of `numbers`, provided that it is a
    /// possible table for this ring and window at `position`. The states are then in slots 0, 1, ….
    pub fn decode(&mut self, position: u64, numbers: &mut &[u64]) -> Option<()> {
        let (&[own, chunk, offset, next_chunk, next_offset, chunk_start], rest) =
            numbers.split_first_chunk::<FIXED>()?;
        let (closed, rest) = list(rest, 1)?;
        let (spans, rest) = list(rest, 3)?;
        let (scores, rest) = if self.scored() { list(rest, 1)? } else { (&[][..], rest) };
        let plan = Plan::new(chunk, offset).ok()?;
        let next = Plan::new(next_chunk, next_offset).ok()?;
        // What is older has left the window.
        let oldest = position.saturating_sub(self.window + 1);
        let sound = own == position
            && position <= FARTHEST
            && chunk_start <= position
            && closed.is_sorted_by(|a, b| a < b)
            && closed.iter().all(|b| (oldest..position).contains(b));
        if !sound {
            return None;
        }
        let mut positions = Vec::with_capacity(spans.len() / 3);
        let mut first_free = 0;
        for &[first, step, len] in spans.as_chunks::<3>().0 {
            let last = len.checked_sub(1)?.checked_mul(step)?.checked_add(first)?;
            if step == 0 || first < first_free || last >= oldest {
                return None;
            }
            positions.push(Span { first, step, len });
            first_free = last + 1;
        }
        // The sink is present whenever any state is.
        if self.slots.ring() >= 2 && positions.first().is_some_and(|span| span.first != 0) {
            return None;
        }
        self.reset();
        self.slots.restore(&positions)?;
        let most = self.slots.len() + closed.len();
        if scores.len() > most || scores.iter().any(|score| *score > u64::from(u32::MAX)) {
            return None;
        }
        self.slots.scores_mut().restore(scores.iter().map(|score| *score as u32));
        self.schedule.plan = plan;
        self.schedule.next = (next != plan).then_some(next);
        self.schedule.chunk_start = chunk_start;
        self.position = position;
        self.closed.extend(closed);
        *numbers = rest;
        Some(())
    }
}

/// A count of items of `width` numbers each, followed by the items.
fn list(numbers: &[u64], width: usize) -> Option<(&[u64], &[u64])> {
    let (&count, rest) = numbers.split_first()?;
    rest.split_at_checked(usize::try_from(count).ok()?.checked_mul(width)?)
}
