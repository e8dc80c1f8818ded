//! The block tables of a sequence. Classes with equal tables share one.

use super::{BlockTable, Layout, Plan, Remap};
use crate::error::{Error, Result};
use std::sync::Arc;

/// The block tables of all classes of KV heads of a sequence.
#[derive(Clone, Debug)]
pub struct Tables {
    layout: Arc<Layout>,
    distinct: Vec<BlockTable>,
    /// For each class, its index in `distinct`.
    of_class: Vec<usize>,
    /// Maximum tokens per block.
    most: usize,
}

impl Tables {
    /// The tables of a sequence that holds nothing yet, for blocks of at most `most` tokens.
    ///
    /// # Errors
    /// As [`BlockTable::new`].
    pub fn new(layout: Arc<Layout>, most: usize) -> Result<Tables> {
        let each = layout
            .classes()
            .iter()
            .map(|class| BlockTable::new(class.plan, class.window, class.ring, class.eviction));
        let each = each.collect::<Result<_>>()?;
        Ok(Tables::shared(layout, each, most))
    }

    fn shared(layout: Arc<Layout>, of_each_class: Vec<BlockTable>, most: usize) -> Tables {
        let mut distinct: Vec<BlockTable> = Vec::new();
        let mut of_class = Vec::with_capacity(of_each_class.len());
        for table in of_each_class {
            // Heads that evict by their own scores soon differ.
            let known = distinct.iter().position(|other| *other == table && !table.scored());
            of_class.push(known.unwrap_or(distinct.len()));
            if known.is_none() {
                distinct.push(table);
            }
        }
        distinct.iter_mut().for_each(|table| table.reserve(most));
        Tables { layout, distinct, of_class, most }
    }

    /// Which heads have which memory.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Tokens processed so far.
    pub fn position(&self) -> u64 {
        self.distinct.first().map_or(0, BlockTable::position)
    }

    /// The table of a class.
    pub fn class(&self, class: usize) -> &BlockTable {
        &self.distinct[self.of_class[class]]
    }

    /// The table of the first class of a layer, whose chunks the layer's mixers follow.
    pub fn layer(&self, layer: usize) -> &BlockTable {
        self.class(self.layout.classes_of(layer).start)
    }

    /// The distinct tables.
    #[cfg(any(test, feature = "gpu"))]
    pub fn distinct(&self) -> &[BlockTable] {
        &self.distinct
    }

    /// For each class, its index in [`Tables::distinct`].
    #[cfg(any(test, feature = "gpu"))]
    pub fn of_class(&self) -> &[usize] {
        &self.of_class
    }

    /// Maximum tokens of the next block; at least 1.
    pub fn room(&self) -> usize {
        self.distinct.iter().map(BlockTable::room).fold(self.most, usize::min)
    }

    /// As [`BlockTable::note`], for a class of one head.
    pub fn note(&mut self, class: usize, position: u64, score: f32) {
        self.distinct[self.of_class[class]].note(position, score);
    }

    /// As [`BlockTable::begin`], for all classes.
    pub fn begin(&mut self, len: usize) {
        self.distinct.iter_mut().for_each(|table| table.begin(len));
    }

    /// As [`BlockTable::finish`], for all classes.
    pub fn finish(&mut self) {
        self.distinct.iter_mut().for_each(BlockTable::finish);
    }

    /// Back to the start.
    pub fn reset(&mut self) {
        self.distinct.iter_mut().for_each(BlockTable::reset);
    }

    /// The largest number of states in any ring.
    pub fn most_rows(&self) -> usize {
        self.distinct.iter().map(BlockTable::rows).max().unwrap_or(0)
    }

    fn of_each_class(&self) -> Vec<BlockTable> {
        self.of_class.iter().map(|&index| self.distinct[index].clone()).collect()
    }

    /// Changes chunk lengths from the next chunk on: one plan per class.
    ///
    /// # Errors
    /// [`Error::Argument`] unless there are as many plans as classes.
    pub fn set_plans(&mut self, plans: &[Plan]) -> Result<()> {
        self.layout.check_count("chunk plans", plans.len())?;
        let mut each = self.of_each_class();
        each.iter_mut().zip(plans).for_each(|(table, plan)| table.set_plan(*plan));
        *self = Tables::shared(Arc::clone(&self.layout), each, self.most);
        Ok(())
    }

    /// As [`BlockTable::shrink`], for all classes, with one length of a ring each: returns what
    /// happens to their rows.
    ///
    /// # Errors
    /// [`Error::Argument`] unless there are as many lengths as classes.
    pub fn shrink(&mut self, rings: &[usize]) -> Result<Remap> {
        let to = Arc::new(self.layout.shrunk(rings)?);
        let mut each = self.of_each_class();
        let kept = each.iter_mut().zip(to.classes()).map(|(table, class)| table.shrink(class.ring));
        let kept = kept.collect();
        *self = Tables::shared(Arc::clone(&to), each, self.most);
        Ok(Remap { to, kept })
    }

    /// Bytes that the tables themselves take.
    pub fn bytes(&self) -> usize {
        self.distinct.iter().map(BlockTable::bytes).sum()
    }

    /// The tables of every class as numbers.
    pub fn encode(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        (0..self.of_class.len()).for_each(|class| self.class(class).encode(&mut numbers));
        numbers
    }

    /// Decodes what [`Tables::encode`] returned for a state of the same layout at `position`; none
    /// if the numbers can't be that.
    pub fn decode(&self, position: u64, mut numbers: &[u64]) -> Option<Saved> {
        let mut each = self.of_each_class();
        each.iter_mut().try_for_each(|table| table.decode(position, &mut numbers))?;
        let tables = Tables::shared(Arc::clone(&self.layout), each, self.most);
        numbers.is_empty().then_some(Saved(tables))
    }
}

/// The tables of a saved state: checked against a layout, and valid for states of that layout only.
#[derive(Clone, Debug)]
pub struct Saved(Tables);

impl Saved {
    /// Bytes of the image that belongs to them.
    pub fn image_bytes(&self) -> u64 {
        self.0.image_bytes()
    }

    /// The tables for a state that has the tables `of` now.
    ///
    /// # Errors
    /// [`Error::Argument`] if that state has another layout.
    pub(crate) fn into_tables(self, of: &Tables) -> Result<Tables> {
        if self.0.layout != of.layout {
            return Err(Error::argument(
                "the saved state",
                "has other windows, rings or classes of KV heads than this one",
            ));
        }
        let mut tables = Tables { most: of.most, ..self.0 };
        tables.distinct.iter_mut().for_each(|table| table.reserve(of.most));
        Ok(tables)
    }
}
