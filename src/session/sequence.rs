//! An engine's state together with what is known about the next token. Both are behind one
//! interface, so that logits can't outlive the state that they belong to.

use crate::cache::{Plan, Saved, Tables};
use crate::engine::{Candidate, Engine, Geometry, State, TOP, Want};
use crate::error::Result;
use crate::room;

/// What is known about the next token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing: there was no token yet, or the last one was processed without logits.
    Nothing,
    /// The most likely ones, read from a device that has the rest; after this many tokens.
    Top(u64),
    /// All logits, after this many tokens.
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
    fn new(vocab: usize) -> Result<Logits> {
        let (row, top) = (room::list(vocab, "logits")?, room::list(TOP, "logits")?);
        Ok(Logits { known: Known::Nothing, row, top })
    }

    /// Records the logits of the token at the end of `position` tokens.
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
    pub fn new(engine: &Engine, geometry: Geometry) -> Result<Sequence> {
        let logits = Logits::new(engine.model().spec().vocab)?;
        Ok(Sequence { state: engine.open(geometry)?, logits })
    }

    /// Processes a block; `each` gets the requested logits, and those of the block's last token are
    /// kept.
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

    /// Processes one token and reads back only its most likely successors.
    pub fn forward_top(&mut self, token: u32) -> Result<()> {
        self.logits.known = Known::Nothing;
        self.state.forward_top(&[token], &mut self.logits.top)?;
        self.logits.known = Known::Top(self.position());
        Ok(())
    }

    /// Processes one token, together with other sequences if `engine` gathers them.
    pub fn forward_together(&mut self, engine: &Engine, token: u32) -> Result<()> {
        let Some(gathering) = engine.gathering() else {
            return self.forward(&[token], Want::Last, &mut |_, _| {});
        };
        self.logits.known = Known::Nothing;
        gathering.forward(engine, &mut *self.state, token, &mut self.logits.row)?;
        self.logits.known = Known::Logits(self.position());
        Ok(())
    }

    /// The state, to process tokens with, and the place for the logits of the last of them.
    pub fn parts(&mut self) -> (&mut dyn State, &mut Logits) {
        self.logits.known = Known::Nothing;
        (&mut *self.state, &mut self.logits)
    }

    /// What comes next, as far as known.
    pub fn next(&self) -> Next<'_> {
        match self.logits.known {
            Known::Top(at) if at == self.position() => Next::Top(&self.logits.top),
            Known::Logits(at) if at == self.position() => Next::Logits(&self.logits.row),
            _ => Next::Nothing,
        }
    }

    /// The logits of the last token, if they are on the host.
    pub fn logits(&self) -> Option<&[f32]> {
        match self.next() {
            Next::Logits(row) => Some(row),
            Next::Top(_) | Next::Nothing => None,
        }
    }

    /// Whether there are logits of the last token, on the host or on the device.
    #[cfg(feature = "text")]
    pub fn has_logits(&self) -> bool {
        !matches!(self.next(), Next::Nothing)
    }

    /// Whether the logits of the last token are still on the device.
    pub fn has_logits_elsewhere(&self) -> bool {
        matches!(self.next(), Next::Top(_))
    }

    /// Fetches them from the device.
    pub fn fetch_logits(&mut self) -> Result<()> {
        self.state.last_logits(&mut self.logits.row)?;
        self.logits.known = Known::Logits(self.position());
        Ok(())
    }

    pub fn reset(&mut self) {
        self.logits.known = Known::Nothing;
        self.state.reset();
    }

    /// Imports the image of a state, and the logits of its last token if there are any.
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

    /// The logits stay: what is known about the next token was computed before.
    pub fn shrink(&mut self, rings: &[usize]) -> Result<()> {
        self.state.shrink(rings)
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

    /// Bytes of scratch memory, including the row of logits.
    pub fn scratch_bytes(&self) -> u64 {
        self.state.scratch_bytes() + 4 * self.logits.row.capacity() as u64
    }
}

/// A sequence on `engine` or, if that is lost, on its successor.
pub(super) fn open(engine: &Engine, geometry: Geometry) -> Result<(Engine, Sequence)> {
    match Sequence::new(engine, geometry) {
        Ok(sequence) => Ok((engine.clone(), sequence)),
        Err(e) => match engine.successor() {
            None => Err(e),
            Some(next) => {
                log::warn!("{e}; a new session runs on the {}", next.describe());
                let sequence = Sequence::new(&next, geometry)?;
                Ok((next, sequence))
            }
        },
    }
}
