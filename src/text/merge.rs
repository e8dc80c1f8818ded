//! Merging neighbors, best pair first: the loop shared by both kinds of BPE.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const NONE: u32 = u32::MAX;

/// A stretch of the text that is one piece so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    /// First byte in the text.
    pub(super) start: u32,
    /// Length in bytes; 0 once it has become part of its left neighbor.
    pub(super) len: u32,
    /// Token of the piece, or whatever the caller put there.
    pub(super) id: u32,
    prev: u32,
    next: u32,
}

/// A pair that can be merged. The order of the fields is the order of merging: lower rank first,
/// and of equal ranks the leftmost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    rank: u32,
    left: u32,
    right: u32,
    /// Bytes of both when the pair was found: if they differ now, the pair is stale.
    len: u32,
    id: u32,
}

/// Whether to give up, asked again and again.
pub(crate) type Stop<'a> = &'a dyn Fn() -> bool;

/// Steps between two such questions: some ten microseconds.
const STEPS: u32 = 256;

/// A list of symbols and the pending pairs; reused between words to avoid allocation.
pub(super) struct Merger<'a> {
    symbols: Vec<Symbol>,
    waiting: BinaryHeap<Reverse<Pair>>,
    stop: Stop<'a>,
    steps: u32,
    stopped: bool,
}

impl<'a> Merger<'a> {
    pub(super) fn new(stop: Stop<'a>) -> Merger<'a> {
        Merger { symbols: Vec::new(), waiting: BinaryHeap::new(), stop, steps: 0, stopped: stop() }
    }

    /// Whether it has given up: what it returns from then on is worthless.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Counts a step; true from when it is to give up.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps == STEPS {
            self.steps = 0;
            self.stopped |= (self.stop)();
        }
        self.stopped
    }

    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.waiting.clear();
        self.step();
    }

    /// Appends a symbol. Their number and the bytes of the text must fit `u32`.
    pub(super) fn push(&mut self, start: usize, len: usize, id: u32) {
        let at = self.symbols.len() as u32;
        if let Some(last) = self.symbols.last_mut() {
            last.next = at;
        }
        let prev = at.checked_sub(1).unwrap_or(NONE);
        self.symbols.push(Symbol { start: start as u32, len: len as u32, id, prev, next: NONE });
    }

    /// Merges until no pair is left for which `pair` has a rank and a merged id: n log n for n
    /// symbols.
    pub(super) fn run(&mut self, mut pair: impl FnMut(&Symbol, &Symbol) -> Option<(u32, u32)>) {
        for right in 1..self.symbols.len() as u32 {
            if self.step() {
                return;
            }
            self.offer(right - 1, right, &mut pair);
        }
        while let Some(Reverse(best)) = self.waiting.pop() {
            if self.step() {
                return;
            }
            let (left, right) =
                (self.symbols[best.left as usize], self.symbols[best.right as usize]);
            if left.len == 0 || right.len == 0 || left.len + right.len != best.len {
                continue;
            }
            self.symbols[best.right as usize].len = 0;
            let merged = &mut self.symbols[best.left as usize];
            merged.len = best.len;
            merged.id = best.id;
            merged.next = right.next;
            if right.next != NONE {
                self.symbols[right.next as usize].prev = best.left;
                self.offer(best.left, right.next, &mut pair);
            }
            if left.prev != NONE {
                self.offer(left.prev, best.left, &mut pair);
            }
        }
    }

    fn offer(
        &mut self,
        left: u32,
        right: u32,
        pair: &mut impl FnMut(&Symbol, &Symbol) -> Option<(u32, u32)>,
    ) {
        let (a, b) = (&self.symbols[left as usize], &self.symbols[right as usize]);
        if let Some((rank, id)) = pair(a, b) {
            let len = a.len + b.len;
            self.waiting.push(Reverse(Pair { rank, left, right, len, id }));
        }
    }

    /// The remaining symbols, in order.
    pub(super) fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|s| s.len > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_long_text_is_given_up_soon() {
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 3
        };
        let mut merger = Merger::new(&stop);
        let mut merges = 0;
        merger.clear();
        (0..1_000_000).for_each(|at| merger.push(at, 1, 0));
        merger.run(|_, _| {
            merges += 1;
            Some((0, 0))
        });
        assert!(merger.stopped());
        assert_eq!(asked.get(), 4);
        assert!(merges <= 3 * STEPS, "{merges}");
    }
}
