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

/// A list of symbols and the pending pairs; reused between words to avoid allocation.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    waiting: BinaryHeap<Reverse<Pair>>,
}

impl Merger {
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.waiting.clear();
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
            self.offer(right - 1, right, &mut pair);
        }
        while let Some(Reverse(best)) = self.waiting.pop() {
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
