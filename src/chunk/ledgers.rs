//! The books of all layers. Layers whose books say the same share them.

use super::{Ledger, Overflow, Plan};

/// The books of all layers of a sequence.
#[derive(Clone, Debug)]
pub struct Ledgers {
    ledgers: Vec<Ledger>,
    /// For each layer, which of `ledgers` is its own.
    of_layer: Vec<usize>,
    /// Tokens that a block has at most.
    most: usize,
}

impl Ledgers {
    /// The books of empty layers that follow `plans`, for blocks of at most `most` tokens: `ring`
    /// chunk states a layer, the sink counted, and a window of `window` tokens before the current
    /// one.
    pub fn new(
        plans: &[Plan],
        window: u64,
        ring: usize,
        overflow: Overflow,
        most: usize,
    ) -> Ledgers {
        let ledgers = plans.iter().map(|plan| Ledger::new(*plan, window, ring, overflow)).collect();
        Ledgers::shared(ledgers, most)
    }

    fn shared(of_each_layer: Vec<Ledger>, most: usize) -> Ledgers {
        let mut ledgers: Vec<Ledger> = Vec::new();
        let mut of_layer = Vec::with_capacity(of_each_layer.len());
        for ledger in of_each_layer {
            let known = ledgers.iter().position(|other| *other == ledger);
            of_layer.push(known.unwrap_or(ledgers.len()));
            if known.is_none() {
                ledgers.push(ledger);
            }
        }
        ledgers.iter_mut().for_each(|ledger| ledger.reserve(most));
        Ledgers { ledgers, of_layer, most }
    }

    /// Tokens taken in.
    pub fn position(&self) -> u64 {
        self.ledgers.first().map_or(0, Ledger::position)
    }

    /// The books of `layer`.
    pub fn layer(&self, layer: usize) -> &Ledger {
        &self.ledgers[self.of_layer[layer]]
    }

    /// Books that differ.
    pub fn distinct(&self) -> &[Ledger] {
        &self.ledgers
    }

    /// For each layer, its index in [`Ledgers::distinct`].
    pub fn of_layer(&self) -> &[usize] {
        &self.of_layer
    }

    /// Tokens that the next block may have, at least 1.
    pub fn room(&self) -> usize {
        let room = self.ledgers.iter().map(Ledger::room).min().unwrap_or(u64::MAX);
        usize::try_from(room).unwrap_or(usize::MAX).min(self.most)
    }

    /// As [`Ledger::begin`], for all layers.
    pub fn begin(&mut self, len: usize) {
        self.ledgers.iter_mut().for_each(|ledger| ledger.begin(len));
    }

    /// As [`Ledger::finish`], for all layers.
    pub fn finish(&mut self) {
        self.ledgers.iter_mut().for_each(Ledger::finish);
    }

    /// Back to the start.
    pub fn reset(&mut self) {
        self.ledgers.iter_mut().for_each(Ledger::reset);
    }

    /// Most states in the ring of a layer.
    pub fn most_rows(&self) -> usize {
        self.ledgers.iter().map(Ledger::rows).max().unwrap_or(0)
    }

    /// Other chunk lengths from the next chunk on: a plan a layer.
    pub fn set_plans(&mut self, plans: &[Plan]) {
        let mut each: Vec<Ledger> =
            self.of_layer.iter().map(|&index| self.ledgers[index].clone()).collect();
        each.iter_mut().zip(plans).for_each(|(ledger, plan)| ledger.set_plan(*plan));
        *self = Ledgers::shared(each, self.most);
    }

    /// As [`Ledger::shrink`], for all layers: the states that each keeps.
    pub fn shrink(&mut self, ring: usize) -> Vec<Vec<usize>> {
        let kept: Vec<_> = self.ledgers.iter_mut().map(|ledger| ledger.shrink(ring)).collect();
        self.of_layer.iter().map(|&index| kept[index].clone()).collect()
    }

    /// Bytes that the books themselves take.
    pub fn bytes(&self) -> usize {
        self.ledgers.iter().map(Ledger::bytes).sum()
    }

    /// The books of every layer in numbers.
    pub fn encode(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        (0..self.of_layer.len()).for_each(|layer| self.layer(layer).encode(&mut numbers));
        numbers
    }

    /// Books of this geometry at `position` from what [`Ledgers::encode`] gave; none if they can't
    /// be such.
    pub fn decode(&self, position: u64, mut numbers: &[u64]) -> Option<Ledgers> {
        let mut each: Vec<Ledger> =
            self.of_layer.iter().map(|&index| self.ledgers[index].clone()).collect();
        each.iter_mut().try_for_each(|ledger| ledger.decode(position, &mut numbers))?;
        numbers.is_empty().then(|| Ledgers::shared(each, self.most))
    }
}
