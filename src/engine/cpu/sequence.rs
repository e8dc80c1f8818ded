//! One sequence of tokens: its memory, and its scratch buffers.

use super::Shared;
use super::cache::Cache;
use super::kernels::Precision;
use super::model::{Part, Pass};
use super::scratch::Scratch;
use crate::cache::{Layout, Plan, Saved, Tables};
use crate::engine::{Candidate, State, Want, most_likely};
use crate::error::{Error, Result};
use std::any::Any;
use std::sync::Arc;

/// One sequence of tokens on the CPU.
pub(super) struct Sequence<P: Precision> {
    shared: Arc<Shared>,
    cache: Cache<P>,
    scratch: Scratch,
}

impl<P: Precision> Sequence<P> {
    pub fn new(shared: Arc<Shared>, layout: Layout) -> Result<Sequence<P>> {
        let scratch = shared.scratch()?;
        let cache = Cache::new(Arc::new(layout), scratch.block)?;
        Ok(Sequence { shared, cache, scratch })
    }

    /// Evaluates one token of each of `sequences`, which belong to one engine, at once.
    pub fn together(
        sequences: &mut [&mut Sequence<P>],
        tokens: &[u32],
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let Some((first, others)) = sequences.split_first_mut() else { return Ok(()) };
        let Sequence { shared, cache, scratch } = &mut **first;
        let caches = std::iter::once(cache).chain(others.iter_mut().map(|other| &mut other.cache));
        let part = |(first, cache)| Part { cache, first, len: 1 };
        let mut parts: Vec<Part<P>> = (0..).zip(caches).map(part).collect();
        Pass { scratch: &mut *scratch, parts: &mut parts }.run(shared, tokens, Want::All, sink)?;
        // The first one's buffers hold the results of all of them.
        scratch.last_row = None;
        others.iter_mut().for_each(|other| other.scratch.last_row = None);
        Ok(())
    }

    /// Maximum tokens per block, over any number of sequences.
    pub fn block(&self) -> usize {
        self.scratch.block
    }

    /// Whether both belong to the same engine.
    pub fn is_beside(&self, other: &Sequence<P>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<P: Precision> State for Sequence<P> {
    fn forward(
        &mut self,
        tokens: &[u32],
        want: Want,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let vocab = self.shared.model.spec().vocab;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab });
        }
        if tokens.len() > State::room(self) {
            return Err(Error::argument(
                "a block",
                format!("has {} tokens; the limit is {}", tokens.len(), State::room(self)),
            ));
        }
        if tokens.is_empty() {
            return Ok(());
        }
        self.scratch.last_row = None;
        let part = Part { cache: &mut self.cache, first: 0, len: tokens.len() };
        Pass { scratch: &mut self.scratch, parts: &mut [part] }.run(
            &self.shared,
            tokens,
            want,
            sink,
        )
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn forward_top(&mut self, tokens: &[u32], top: &mut Vec<Candidate>) -> Result<()> {
        self.forward(tokens, Want::Last, &mut |_, logits| most_likely(logits, top))
    }

    fn last_logits(&mut self, logits: &mut Vec<f32>) -> Result<()> {
        logits.clear();
        let position = self.cache.tables.position();
        let row = self.scratch.last_row.ok_or(Error::NoLogits { position })?;
        let vocab = self.shared.model.spec().vocab;
        logits.extend_from_slice(&self.scratch.logits.as_mut_slice()[row * vocab..][..vocab]);
        Ok(())
    }

    fn tables(&self) -> &Tables {
        &self.cache.tables
    }

    fn set_plans(&mut self, plans: &[Plan]) -> Result<()> {
        self.cache.tables.set_plans(plans)
    }

    fn shrink(&mut self, rings: &[usize]) -> Result<()> {
        self.cache.shrink(rings)
    }

    fn reset(&mut self) {
        // Nothing else to do: at position 0 no row is visible and every mixer starts from zero.
        self.cache.tables.reset();
        self.scratch.last_row = None;
    }

    fn export(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.cache.pieces(&mut |piece| sink(piece))
    }

    fn import(
        &mut self,
        saved: Saved,
        source: &mut dyn FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        self.scratch.last_row = None;
        self.cache.tables = saved.into_tables(&self.cache.tables)?;
        let taken = self.cache.pieces(source);
        if taken.is_err() {
            self.reset();
        }
        taken
    }

    fn state_bytes(&self) -> u64 {
        self.cache.state_bytes() as u64
    }

    fn scratch_bytes(&self) -> u64 {
        (self.scratch.bytes() + self.cache.block_bytes()) as u64
    }
}
