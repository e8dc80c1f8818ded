//! A session: one conversation on an engine, with a memory that was fixed when it was opened.

mod budget;
mod cancel;
mod file;
mod generate;
mod lost;
mod pause;
mod shrink;
mod snapshot;
mod together;

pub use crate::cache::{Eviction, MOST_CHUNK, MOST_WINDOW};
pub use budget::Budget;
pub use cancel::Cancel;
pub use generate::Finish;
pub use pause::Pause;
pub use shrink::Shrink;
pub use snapshot::Snapshot;

use crate::engine::{Candidate, Engine, Geometry, KvType, State, TOP, Want};
use crate::error::{Error, Result};
use crate::model::ModelSpec;
use crate::sample::Sampler;
use std::sync::Arc;

/// What a session is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much it may remember.
    pub budget: Budget,
    /// How keys and values are stored.
    pub kv: KvType,
    /// What goes when the ring is full.
    pub eviction: Eviction,
    /// Tokens in a chunk, if not as many as the file says. Lengths that the model was not trained
    /// with work, but worse.
    pub chunk: Option<usize>,
    /// Tokens before the current one that stay visible, if not as many as the file says.
    pub window: Option<usize>,
}

impl Default for Options {
    /// The context that the model was trained with, keys and values in half precision.
    fn default() -> Options {
        Options {
            budget: Budget::Context,
            kv: KvType::F16,
            eviction: Eviction::Drop,
            chunk: None,
            window: None,
        }
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
    shrink: Shrink,
    /// Logits of the last token taken in; empty before the first, and while there is a `top`.
    logits: Vec<f32>,
    /// The most likely successors of the last token, where its logits have not been asked for.
    top: Vec<Candidate>,
}

impl Session {
    /// Opens a session on `engine`.
    ///
    /// # Errors
    /// [`Error::Budget`] where the smallest session is larger than the budget,
    /// [`Error::OutOfMemory`] where the system has no more.
    pub fn open(engine: Arc<dyn Engine>, options: Options) -> Result<Session> {
        let spec = engine.model().spec();
        let geometry = options.geometry(spec)?;
        warn_of_chunk(spec, geometry.chunk);
        if geometry.window != spec.chunks.window {
            log::warn!(
                "a window of {} tokens: the model was trained with {}",
                geometry.window,
                spec.chunks.window
            );
        }
        Session::with_geometry(engine, geometry)
    }

    fn with_geometry(engine: Arc<dyn Engine>, geometry: Geometry) -> Result<Session> {
        let (engine, state) = lost::open(engine, geometry)?;
        let logits = Vec::with_capacity(engine.model().spec().vocab);
        let top = Vec::with_capacity(TOP);
        let (cancel, pause, shrink) = Default::default();
        Ok(Session { engine, state, geometry, cancel, pause, shrink, logits, top })
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

    /// Takes in one token and gives its most likely successors, at most [`TOP`], the likeliest
    /// first. On a GPU less is read back than by [`Session::feed`]; what [`Session::logits`] has is
    /// gone until [`Session::fetch_logits`].
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`] before the token is taken in.
    pub fn feed_top(&mut self, token: u32) -> Result<&[Candidate]> {
        self.begin();
        self.take_in_for_top(token)?;
        Ok(&self.top)
    }

    fn take_in_for_top(&mut self, token: u32) -> Result<()> {
        let pause = self.pause.clone();
        let _computing = pause.wait(&self.cancel)?;
        self.shrink_as_asked();
        self.forget_logits();
        self.state.forward_top(&[token], &mut self.top)
    }

    /// Makes [`Session::logits`] those of the last token after [`Session::feed_top`].
    ///
    /// # Errors
    /// Those of the engine's device; [`Error::Paused`] while paused.
    pub fn fetch_logits(&mut self) -> Result<()> {
        if !self.top.is_empty() {
            let pause = self.pause.clone();
            let _computing = pause.enter()?;
            self.read_logits()?;
        }
        Ok(())
    }

    /// The same for a call that has more to compute, and so waits while paused.
    fn wait_for_logits(&mut self) -> Result<()> {
        if !self.top.is_empty() {
            let pause = self.pause.clone();
            let _computing = pause.wait(&self.cancel)?;
            self.read_logits()?;
        }
        Ok(())
    }

    fn read_logits(&mut self) -> Result<()> {
        self.top.clear();
        self.state.last_logits(&mut self.logits)
    }

    fn forget_logits(&mut self) {
        self.logits.clear();
        self.top.clear();
    }

    /// Chooses a successor of the last token. All logits are fetched where the most likely ones do
    /// not tell which it is.
    ///
    /// # Errors
    /// [`Error::Logits`], [`Error::Cancelled`] while paused, and those of the engine's device.
    pub(crate) fn choose(&mut self, sampler: &mut Sampler) -> Result<u32> {
        if !self.top.is_empty() {
            if let Some(token) = sampler.sample_top(&self.top) {
                return Ok(token);
            }
            self.wait_for_logits()?;
        }
        sampler.sample(&self.logits)
    }

    /// Takes in one token more of what a call began before, so that `sampler` can choose its
    /// successor: a cancel since then is kept. In the end the logits are to be fetched.
    pub(crate) fn follow(&mut self, token: u32, sampler: &Sampler) -> Result<()> {
        if sampler.needs_only_top() {
            self.take_in_for_top(token)
        } else {
            self.take_in(&[token], Want::Last, &mut |_, _| {})
        }
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
        let vocab = self.spec().vocab;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab });
        }
        let mut start = 0;
        while start < tokens.len() {
            // The first block always runs, so that a token that was generated is taken in.
            if start > 0 && self.cancel.is_set() {
                return Err(Error::Cancelled);
            }
            let pause = self.pause.clone();
            let _computing = pause.wait(&self.cancel)?;
            self.shrink_as_asked();
            let end = tokens.len().min(start + self.state.room());
            let ends = end == tokens.len();
            let want = if want == Want::Last && !ends { Want::Nothing } else { want };
            self.top.clear();
            let logits = &mut self.logits;
            self.state.forward(&tokens[start..end], want, &mut |i, row| {
                each(start + i, row);
                if start + i + 1 == tokens.len() {
                    logits.clear();
                    logits.extend_from_slice(row);
                }
            })?;
            start = end;
        }
        Ok(())
    }

    /// Logits of the last token of the last [`Session::feed`], `[vocab]`; empty before the first.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Most tokens that are computed at once now, and so between two looks at [`Cancel`].
    pub fn block(&self) -> usize {
        self.state.room()
    }

    /// Tokens taken in since the start.
    pub fn position(&self) -> u64 {
        self.state.tables().position()
    }

    /// Chunk states held in the fullest layer's ring.
    pub fn ring_rows(&self) -> usize {
        self.state.tables().most_rows()
    }

    /// Chunk states a layer that there is room for.
    pub fn ring_budget(&self) -> usize {
        self.geometry.ring
    }

    /// What fixes the memory of the session.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Chunks of `chunk` tokens from the next chunk on, at least 1. A length that the model was not
    /// trained with (see [`ChunkSpec::trained`](crate::model::ChunkSpec::trained)) works, but worse.
    ///
    /// # Errors
    /// [`Error::Argument`] if `chunk` is 0 or beyond [`MOST_CHUNK`].
    pub fn set_chunk(&mut self, chunk: usize) -> Result<()> {
        check_chunk(chunk)?;
        warn_of_chunk(self.spec(), chunk);
        let plans = self.spec().plans(chunk)?;
        self.state.set_plans(&plans)
    }

    /// Tokens in the chunks from the next chunk on.
    pub fn chunk(&self) -> usize {
        self.state.tables().layer(0).plan().chunk() as usize
    }

    /// Forgets everything. Where the engine is lost and another is to take over, the session is of
    /// that one from here on.
    pub fn reset(&mut self) {
        if let Err(e) = self.leave_lost_engine() {
            log::warn!("{e}");
        }
        self.state.reset();
        self.forget_logits();
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
    Err(Error::Argument(format!(
        "chunks of {chunk} tokens were asked for; 1 to {MOST_CHUNK} can be had"
    )))
}
