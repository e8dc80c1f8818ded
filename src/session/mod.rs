//! A session: one conversation on an engine, with a memory that was fixed when it was opened.

mod budget;
mod cancel;
mod file;
mod generate;
mod pause;
mod snapshot;

pub use budget::Budget;
pub use cancel::Cancel;
pub use generate::Finish;
pub use pause::Pause;
pub use snapshot::Snapshot;

use crate::engine::{Engine, Geometry, KvType, State, Want};
use crate::error::{Error, Result};
use crate::model::Hyper;
use std::sync::Arc;

/// What a session is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much it may remember.
    pub budget: Budget,
    /// How keys and values are stored.
    pub kv: KvType,
}

impl Default for Options {
    /// The context that the model was trained with, keys and values in half precision.
    fn default() -> Options {
        Options { budget: Budget::Context, kv: KvType::F16 }
    }
}

/// Bytes that a session holds beside the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Ring, window, scan and convolution states.
    pub state: u64,
    /// Buffers to compute in.
    pub scratch: u64,
}

/// One sequence of tokens. When its ring is full the oldest chunk state but the sink goes, and the
/// session goes on: there is no end of context.
///
/// A session may be moved between threads but not shared; [`Session::cancel_handle`] and
/// [`Session::pause_handle`] give what may be used from others meanwhile.
pub struct Session {
    engine: Arc<dyn Engine>,
    state: Box<dyn State>,
    geometry: Geometry,
    cancel: Cancel,
    pause: Pause,
    /// Logits of the last token taken in; empty before the first.
    logits: Vec<f32>,
}

impl Session {
    /// Opens a session on `engine`.
    ///
    /// # Errors
    /// [`Error::Budget`] where the smallest session is larger than the budget,
    /// [`Error::OutOfMemory`] where the system has no more.
    pub fn open(engine: Arc<dyn Engine>, options: Options) -> Result<Session> {
        let geometry = options.geometry(&engine.model().hyper)?;
        Session::with_geometry(engine, geometry)
    }

    fn with_geometry(engine: Arc<dyn Engine>, geometry: Geometry) -> Result<Session> {
        let state = engine.open(geometry)?;
        let logits = Vec::with_capacity(engine.model().hyper.vocab);
        let (cancel, pause) = Default::default();
        Ok(Session { engine, state, geometry, cancel, pause, logits })
    }

    /// Takes in `tokens` and keeps the logits of the last. Any split of a text into calls computes
    /// the same.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`] before anything is taken in. [`Error::Cancelled`] between two
    /// blocks: the tokens up to [`Session::position`] are taken in, and the session stays usable.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<()> {
        self.begin();
        self.go_on(tokens)
    }

    /// As [`Session::feed`], and hands the logits (`[vocab]`) of every token to `each`, in order,
    /// with the token's index.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn feed_each(&mut self, tokens: &[u32], mut each: impl FnMut(usize, &[f32])) -> Result<()> {
        self.begin();
        self.take_in(tokens, Want::All, &mut each)
    }

    /// Begins a call: a cancel before it does not count, one from now on does.
    pub(crate) fn begin(&mut self) {
        self.cancel.clear();
    }

    /// Takes in more tokens of a call that has begun.
    pub(crate) fn go_on(&mut self, tokens: &[u32]) -> Result<()> {
        self.take_in(tokens, Want::Last, &mut |_, _| {})
    }

    /// Whether the call at hand was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_set()
    }

    fn take_in(
        &mut self,
        tokens: &[u32],
        want: Want,
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let vocab = self.hyper().vocab;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab });
        }
        let block = self.state.block();
        for (index, piece) in tokens.chunks(block).enumerate() {
            // The first block always runs, so that a token that was generated is taken in.
            if index > 0 && self.cancel.is_set() {
                return Err(Error::Cancelled);
            }
            let start = index * block;
            let ends = start + piece.len() == tokens.len();
            let want = if want == Want::Last && !ends { Want::Nothing } else { want };
            let logits = &mut self.logits;
            let _computing = self.pause.wait(&self.cancel)?;
            self.state.forward(piece, want, &mut |i, row| {
                each(start + i, row);
                if start + i + 1 == tokens.len() {
                    logits.clear();
                    logits.extend_from_slice(row);
                }
            })?;
        }
        Ok(())
    }

    /// Logits of the last token of the last [`Session::feed`], `[vocab]`; empty before the first.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Tokens that are computed at once, and so between two looks at [`Cancel`].
    pub fn block(&self) -> usize {
        self.state.block()
    }

    /// Tokens taken in since the start.
    pub fn position(&self) -> u64 {
        self.state.position()
    }

    /// Chunk states held in the fullest layer's ring.
    pub fn ring_rows(&self) -> usize {
        self.state.ring_rows()
    }

    /// Chunk states a layer that there is room for.
    pub fn ring_budget(&self) -> usize {
        self.geometry.ring
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.state.reset();
        self.logits.clear();
    }

    /// A handle that cancels [`Session::feed`] from any thread.
    pub fn cancel_handle(&self) -> Cancel {
        self.cancel.clone()
    }

    /// A handle that holds the session's work up from any thread.
    pub fn pause_handle(&self) -> Pause {
        self.pause.clone()
    }

    /// What the session holds.
    pub fn memory(&self) -> Memory {
        let logits = 4 * self.logits.capacity() as u64;
        Memory { state: self.state.state_bytes(), scratch: self.state.scratch_bytes() + logits }
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    fn hyper(&self) -> &Hyper {
        &self.engine.model().hyper
    }
}
