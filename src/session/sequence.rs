//! A state of an engine, and what is known of the token that comes next. Both lie behind one face,
//! so that logits can't outlive the state that they are of.

use crate::cache::{Plan, Saved, Tables};
use crate::engine::{Candidate, Engine, Geometry, State, TOP, Want};
use crate::error::Result;
use std::sync::Arc;

/// What is known of the token that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing: there was no token yet, or the last was taken in without logits.
    Nothing,
    /// The likeliest, read from a device that has the rest; after so many tokens.
    Top(u64),
    /// All logits, after so many tokens.
    Logits(u64),
}

/// What a sampler can choose from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next<'a> {
    Nothing,
    /// In descending order.
    Top(&'a [Candidate]),
    /// `[vocab]`
    Logits(&'a [f32]),
}

/// Logits of the last token. The buffers are allocated once.
pub(super) struct Logits {
    known: Known,
    /// `[vocab]`
    row: Vec<f32>,
    top: Vec<Candidate>,
}

impl Logits {
    fn new(vocab: usize) -> Logits {
        let (row, top) = (Vec::with_capacity(vocab), Vec::with_capacity(TOP));
        Logits { known: Known::Nothing, row, top }
    }

    /// Keeps the logits of the token that `position` tokens end with.
    pub fn put(&mut self, position: u64, row: &[f32]) {
        self.row.clear();
        self.row.extend_from_slice(row);
        self.known = Known::Logits(position);
    }
}

/// One sequence on an engine.
pub(super) struct Sequence {
    state: Box<dyn State>,
    logits: Logits,
}

impl Sequence {
    pub fn new(engine: &dyn Engine, geometry: Geometry) -> Result<Sequence> {
        let logits = Logits::new(engine.model().spec().vocab);
        Ok(Sequence { state: engine.open(geometry)?, logits })
    }

    /// Takes in a block; `each` gets the logits that are wanted, and those of the block's last token
    /// are kept.
    pub fn forward(
        &mut self,
        tokens: &[u32],
        want: Want,
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let after = self.position() + tokens.len() as u64;
        let (state, logits) = self.parts();
        state.forward(tokens, want, &mut |index, row| {
            each(index, row);
            if index + 1 == tokens.len() {
                logits.put(after, row);
            }
        })
    }

    /// Takes in one token, of whose successors only the likeliest are read.
    pub fn forward_top(&mut self, token: u32) -> Result<()> {
        self.logits.known = Known::Nothing;
        self.state.forward_top(&[token], &mut self.logits.top)?;
        self.logits.known = Known::Top(self.position());
        Ok(())
    }

    /// The state, to take in tokens, and the place for the logits of the last of them.
    pub fn parts(&mut self) -> (&mut dyn State, &mut Logits) {
        self.logits.known = Known::Nothing;
        (&mut *self.state, &mut self.logits)
    }

    /// What comes next, as far as it is known.
    pub fn next(&self) -> Next<'_> {
        match self.logits.known {
            Known::Top(at) if at == self.position() => Next::Top(&self.logits.top),
            Known::Logits(at) if at == self.position() => Next::Logits(&self.logits.row),
            _ => Next::Nothing,
        }
    }

    /// The logits of the last token, if they are here.
    pub fn logits(&self) -> Option<&[f32]> {
        match self.next() {
            Next::Logits(row) => Some(row),
            Next::Top(_) | Next::Nothing => None,
        }
    }

    /// Whether there are logits of the last token, here or on the device.
    pub fn has_logits(&self) -> bool {
        !matches!(self.next(), Next::Nothing)
    }

    /// Whether the logits of the last token are still on the device.
    pub fn has_logits_elsewhere(&self) -> bool {
        matches!(self.next(), Next::Top(_))
    }

    /// Fetches them from there.
    pub fn fetch_logits(&mut self) -> Result<()> {
        self.state.last_logits(&mut self.logits.row)?;
        self.logits.known = Known::Logits(self.position());
        Ok(())
    }

    pub fn reset(&mut self) {
        self.logits.known = Known::Nothing;
        self.state.reset();
    }

    /// Takes over the image of a state, and the logits of its last token if there are any.
    pub fn import(
        &mut self,
        saved: Saved,
        logits: Option<&[f32]>,
        source: &mut dyn FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        self.logits.known = Known::Nothing;
        self.state.import(saved, source)?;
        if let Some(row) = logits {
            self.logits.put(self.position(), row);
        }
        Ok(())
    }

    pub fn export(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.state.export(sink)
    }

    /// The logits stay: what was known of the next token was computed before.
    pub fn shrink(&mut self, ring: usize) -> Result<()> {
        self.state.shrink(ring)
    }

    pub fn set_plans(&mut self, plans: &[Plan]) -> Result<()> {
        self.state.set_plans(plans)
    }

    pub fn tables(&self) -> &Tables {
        self.state.tables()
    }

    pub fn position(&self) -> u64 {
        self.state.tables().position()
    }

    pub fn room(&self) -> usize {
        self.state.room()
    }

    pub fn state_bytes(&self) -> u64 {
        self.state.state_bytes()
    }

    /// Bytes to compute in, the row of logits included.
    pub fn scratch_bytes(&self) -> u64 {
        self.state.scratch_bytes() + 4 * self.logits.row.capacity() as u64
    }
}

/// A sequence on `engine`, or, where that is lost, on the one that takes over from it.
pub(super) fn open(
    engine: Arc<dyn Engine>,
    geometry: Geometry,
) -> Result<(Arc<dyn Engine>, Sequence)> {
    match Sequence::new(&*engine, geometry) {
        Ok(sequence) => Ok((engine, sequence)),
        Err(e) => match engine.successor() {
            None => Err(e),
            Some(next) => {
                log::warn!("{e}; a new session is computed on the {}", next.describe());
                let sequence = Sequence::new(&*next, geometry)?;
                Ok((next, sequence))
            }
        },
    }
}
