//! A session: one conversation on an engine, with memory that is fixed when it is opened.

mod budget;
mod cancel;
mod control;
mod file;
mod fill;
mod generate;
mod header;
pub(crate) mod lost;
mod options;
mod pause;
#[cfg(feature = "text")]
mod pieces;
mod place;
mod reach;
mod sequence;
mod shrink;
mod snapshot;
#[cfg(feature = "text")]
mod stops;
mod together;
mod wish;

pub use crate::cache::MOST_WINDOW;
use crate::cache::{Eviction, MOST_CHUNK};
pub use budget::Budget;
use cancel::Cancel;
pub use control::Control;
pub use generate::Finish;
#[cfg(feature = "text")]
pub(crate) use generate::{AtEnd, Generation};
pub use options::Options;
#[cfg(feature = "text")]
pub use pieces::Pieces;
#[cfg(feature = "text")]
pub(crate) use pieces::Speech;
pub use place::Place;
pub use reach::{Heads, Reach};
pub use snapshot::Snapshot;

use crate::engine::{Candidate, Engine, Geometry, Want};
use crate::error::{Error, Result};
use crate::model::ModelSpec;
use crate::sample::Sampler;
use lost::Past;
use pause::{Computing, Pause};
use sequence::{Next, Sequence};
use shrink::Shrink;

/// Bytes that a session holds in addition to the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Ring, window, scan and convolution states.
    pub state: u64,
    /// Scratch buffers and tables. With [`Eviction::Retain`] these take some more while states are evicted.
    pub scratch: u64,
}

/// One sequence of tokens. When its ring is full, the oldest chunk state except the sink is evicted
/// and the session continues: there is no end of context.
///
/// A session may be moved between threads but not shared; [`Session::control`] returns a handle that
/// other threads may use meanwhile.
pub struct Session {
    engine: Engine,
    sequence: Sequence,
    geometry: Geometry,
    /// Tokens that heads that see near keep as long as others can shrink.
    near: u64,
    control: Control,
    /// What the session is restored from when its engine is lost.
    past: Option<Past>,
}

impl Session {
    /// Opens a session on `engine`.
    ///
    /// # Errors
    /// [`Error::Budget`] if the smallest session is larger than the budget, [`Error::OutOfMemory`]
    /// if the system has no more memory.
    pub fn open(engine: &Engine, options: Options) -> Result<Session> {
        let spec = engine.model().spec();
        let geometry = options.geometry(spec)?;
        warn_of_chunk(spec, geometry.chunk);
        // With chunks of one token a window hides nothing.
        if geometry.window != spec.chunks.window && geometry.chunk > 1 {
            log::warn!(
                "a window of {} tokens: the model was trained with {}",
                geometry.window,
                spec.chunks.window
            );
        }
        Session::with_geometry(engine, geometry, options.near_kept(spec))
    }

    fn with_geometry(engine: &Engine, geometry: Geometry, near: u64) -> Result<Session> {
        let (engine, sequence) = sequence::open(engine, geometry)?;
        let control = Control::default();
        Ok(Session { engine, sequence, geometry, near, control, past: None })
    }

    /// Processes `tokens` and keeps the logits of the last one. Any split of a text into calls
    /// computes the same result.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`] before anything is processed. [`Error::Cancelled`] between two
    /// blocks: the tokens up to [`Session::position`] have been processed and the session stays
    /// usable; it has no logits until it is fed the rest, or other tokens.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<()> {
        self.call(|session| session.go_on(tokens))
    }

    /// Like [`Session::feed`], and passes the logits (`[vocab]`) of every token to `each`, in
    /// order, with the token's index.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn feed_each(&mut self, tokens: &[u32], mut each: impl FnMut(usize, &[f32])) -> Result<()> {
        self.call(|session| session.process(tokens, Want::All, &mut each))
    }

    /// A call: a cancel since the end of the last one is meant for it.
    fn call<T>(&mut self, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let result = self.check_cancel().and_then(|()| work(self));
        self.end();
        result
    }

    /// Ends a call: a later cancel is meant for the next one.
    pub(crate) fn end(&mut self) {
        self.control.cancel.clear();
    }

    /// Processes more tokens of a call that has begun.
    pub(crate) fn go_on(&mut self, tokens: &[u32]) -> Result<()> {
        self.process(tokens, Want::Last, &mut |_, _| {})
    }

    /// Processes one token and returns its most likely successors, at most
    /// 64, most likely first. On a GPU less is read back than by
    /// [`Session::feed`]; [`Session::logits`] fetches the rest on demand.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`] before the token is processed.
    pub fn feed_top(&mut self, token: u32) -> Result<&[Candidate]> {
        self.call(|session| session.process_for_top(token))?;
        match self.sequence.next() {
            Next::Top(top) => Ok(top),
            Next::Logits(_) | Next::Nothing => Err(self.no_logits()),
        }
    }

    fn process_for_top(&mut self, token: u32) -> Result<()> {
        self.on_any_engine(|session| {
            let control = session.control.clone();
            let _computing = session.begin_block(&control)?;
            session.sequence.forward_top(token)
        })?;
        self.note(&[token]);
        Ok(())
    }

    /// Begins a block of the call in progress, with what was asked for since the last one done; waits
    /// while paused, when memory on the host is given back at once.
    fn begin_block<'a>(&mut self, control: &'a Control) -> Result<Computing<'a>> {
        let computing = control.pause.wait(&control.cancel, || {
            if !self.engine.has_device() {
                self.shrink_as_asked();
            }
        })?;
        self.shrink_as_asked();
        Ok(computing)
    }

    /// Makes sure that logits still on a device are fetched.
    fn fetch_logits(&mut self) -> Result<()> {
        self.on_any_engine(|session| {
            if session.sequence.has_logits_elsewhere() {
                let pause = session.control.pause.clone();
                let _computing = pause.enter()?;
                session.sequence.fetch_logits()?;
            }
            Ok(())
        })
    }

    fn no_logits(&self) -> Error {
        Error::NoLogits { position: self.position() }
    }

    /// Chooses a successor of the last token, for a call that continues with it and so waits while
    /// paused. All logits are fetched if the most likely ones do not determine it.
    ///
    /// # Errors
    /// [`Error::NoLogits`], [`Error::Logits`], [`Error::Cancelled`] while paused, and those of the
    /// engine's device.
    pub(crate) fn choose(&mut self, sampler: &mut Sampler) -> Result<u32> {
        self.on_any_engine(|session| {
            if let Next::Top(top) = session.sequence.next() {
                if sampler.needs_only_top()
                    && let Some(token) = sampler.choose_top(top)
                {
                    return Ok(token);
                }
                let pause = session.control.pause.clone();
                let _computing = pause.wait(&session.control.cancel, || ())?;
                session.sequence.fetch_logits()?;
            }
            match session.sequence.logits() {
                Some(row) => sampler.choose(row),
                None => Err(session.no_logits()),
            }
        })
    }

    /// Processes one more token of a call that began earlier, so that `sampler` can choose its
    /// successor: a cancel since then is preserved.
    pub(crate) fn follow(&mut self, token: u32, sampler: &Sampler) -> Result<()> {
        if self.engine.gathering().is_some() {
            self.process_together(token)
        } else if sampler.needs_only_top() {
            self.process_for_top(token)
        } else {
            self.process(&[token], Want::Last, &mut |_, _| {})
        }
    }

    /// Processes one token together with other sessions that are at it on other threads.
    fn process_together(&mut self, token: u32) -> Result<()> {
        self.on_any_engine(|session| {
            let control = session.control.clone();
            let _computing = session.begin_block(&control)?;
            session.sequence.forward_together(&session.engine, token)
        })?;
        self.note(&[token]);
        Ok(())
    }

    /// Whether the current call was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.control.cancel.is_set()
    }

    /// [`Error::Cancelled`] if it was.
    pub(crate) fn check_cancel(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn process(
        &mut self,
        tokens: &[u32],
        want: Want,
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let vocab = self.spec().vocab;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab });
        }
        let mut start = 0;
        // If an engine is lost in the middle of a block, its successor computes all of it.
        let mut handed_out = 0;
        while start < tokens.len() {
            // The first block always runs, so that a token that was generated is processed.
            if start > 0 && self.control.cancel.is_set() {
                return Err(Error::Cancelled);
            }
            let end = self.on_any_engine(|session| {
                let control = session.control.clone();
                let _computing = session.begin_block(&control)?;
                let end = tokens.len().min(start + session.sequence.room());
                let ends = end == tokens.len();
                let want = if want == Want::Last && !ends { Want::Nothing } else { want };
                session.sequence.forward(&tokens[start..end], want, &mut |i, row| {
                    if start + i >= handed_out {
                        handed_out = start + i + 1;
                        each(start + i, row);
                    }
                })?;
                Ok(end)
            })?;
            self.note(&tokens[start..end]);
            start = end;
        }
        Ok(())
    }

    /// Logits of the last token processed, `[vocab]`.
    ///
    /// [`Error::NoLogits`] before the first token, and if the last one was processed without
    /// logits, as in a cancelled [`Session::feed`]. Device errors of the engine, and
    /// [`Error::Paused`] while paused, if the logits have to be fetched from the device.
    pub fn logits(&mut self) -> Result<&[f32]> {
        self.fetch_logits()?;
        let position = self.position();
        self.sequence.logits().ok_or(Error::NoLogits { position })
    }

    /// Maximum tokens computed at once at the moment, and so between two checks of [`Control::cancel`].
    #[cfg(feature = "internals")]
    pub(crate) fn block(&self) -> usize {
        self.sequence.room()
    }

    /// Tokens processed since the start.
    pub fn position(&self) -> u64 {
        match &self.past {
            Some(past) if past.is_missing() => past.position(),
            _ => self.sequence.position(),
        }
    }

    /// Chunk states in the ring of the fullest layer, and the capacity of the largest ring.
    pub fn ring(&self) -> (usize, usize) {
        let capacity = self.geometry.far.map_or(0, |far| far.ring).max(self.geometry.ring);
        (self.sequence.tables().most_rows(), capacity)
    }

    /// What determines the memory of the session.
    #[cfg(any(feature = "text", feature = "internals"))]
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Sets chunks of `chunk` tokens, at least 1, from the next chunk on, for heads that don't see
    /// far. A length that the model was not trained with (see
    /// [`Model::trained_chunks`](crate::Model::trained_chunks)) works, but worse.
    ///
    /// # Errors
    /// [`Error::Argument`] if `chunk` is 0 or greater than 2^24.
    pub fn set_chunk(&mut self, chunk: usize) -> Result<()> {
        check_chunk(chunk)?;
        warn_of_chunk(self.spec(), chunk);
        let plans = self.geometry.plans(self.spec(), chunk)?;
        self.sequence.set_plans(&plans)
    }

    /// Tokens per chunk, from the next chunk on.
    pub fn chunk(&self) -> usize {
        self.sequence.tables().layer(0).plan().chunk() as usize
    }

    /// Forgets everything. If the engine is lost and has a successor, the session moves to the
    /// successor.
    pub fn reset(&mut self) {
        if let Err(e) = self.leave_lost_engine() {
            log::warn!("{e}");
        }
        self.sequence.reset();
        self.begin_history();
    }

    /// Memory that the session holds.
    pub fn memory(&self) -> Memory {
        let sequence = &self.sequence;
        Memory { state: sequence.state_bytes(), scratch: sequence.scratch_bytes() }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn spec(&self) -> &ModelSpec {
        self.engine.model().spec()
    }
}

fn warn_of_chunk(spec: &ModelSpec, chunk: usize) {
    if !spec.chunks.trained.contains(&chunk) {
        let trained = &spec.chunks.trained;
        log::warn!("chunks of {chunk} tokens: the model was trained with {trained:?}");
    }
}

fn check_chunk(chunk: usize) -> Result<()> {
    if (1..=MOST_CHUNK).contains(&chunk) {
        return Ok(());
    }
    Err(Error::argument(
        "the chunk length",
        format!("is {chunk} tokens; it must be between 1 and {MOST_CHUNK}"),
    ))
}
