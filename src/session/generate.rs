//! Generating tokens one by one: the single loop shared by sessions and chats, callbacks and
//! iterators.

use super::Session;
use crate::error::{Error, Result};
use crate::sample::Sampler;

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// A token that ends the text or the turn was chosen; the session has processed it.
    End,
    /// The token limit was reached.
    Limit,
    /// The caller's callback asked to stop.
    Stopped,
    /// Cancelled from another thread.
    Cancelled,
    /// One of [`Sampling::stop`](crate::sample::Sampling::stop) was generated.
    StopText,
}

/// What to do with a token that ends the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// It is processed and handed out.
    Process,
    /// Neither.
    #[cfg(feature = "text")]
    Leave,
}

/// A generation in progress. Everything that it has handed out has been processed by the session.
pub(crate) struct Generation {
    left: usize,
    at_end: AtEnd,
    finish: Option<Finish>,
}

impl Generation {
    /// At most `limit` tokens.
    pub fn new(limit: usize, at_end: AtEnd) -> Generation {
        Generation { left: limit, at_end, finish: None }
    }

    /// Chooses a token and processes it; `None` once the generation is over.
    pub fn step(
        &mut self,
        session: &mut Session,
        sampler: &mut Sampler,
        is_end: impl Fn(u32) -> bool,
    ) -> Result<Option<u32>> {
        if self.finish.is_none() && self.left == 0 {
            self.finish = Some(Finish::Limit);
        }
        if self.finish.is_some() {
            return Ok(None);
        }
        let chosen = session.check_cancel().and_then(|()| session.choose(sampler));
        let taken = chosen.and_then(|token| {
            let ends = is_end(token);
            if !ends || self.at_end == AtEnd::Process {
                session.follow(token, sampler)?;
                // Every token that the session processes counts as recent, whoever wrote it.
                sampler.accept(token);
                sampler.report();
            }
            Ok((token, ends))
        });
        let (token, ends) = match taken {
            Ok(taken) => taken,
            Err(Error::Cancelled) => {
                self.finish = Some(Finish::Cancelled);
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        self.left -= 1;
        self.finish = ends.then_some(Finish::End);
        Ok((!ends || self.at_end == AtEnd::Process).then_some(token))
    }

    /// Ends the generation, if it has not ended.
    pub fn stop(&mut self) {
        self.finish.get_or_insert(Finish::Stopped);
    }

    /// Ends it because of its text.
    #[cfg(feature = "text")]
    pub fn stop_at_text(&mut self) {
        self.finish = Some(Finish::StopText);
    }

    /// Why it ended; `None` while it is running.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }
}

impl Session {
    /// Chooses up to `limit` tokens, each from the logits of the previous one, and processes them.
    /// `is_end` identifies tokens that end the text. `each` gets every token once it has been
    /// processed, including the end token, and returns whether to continue.
    ///
    /// # Errors
    /// [`Error::NoLogits`] if there are no logits to start from: see [`Session::logits`];
    /// [`Error::Logits`] if no token can be chosen from them.
    pub fn generate(
        &mut self,
        sampler: &mut Sampler,
        limit: usize,
        is_end: impl Fn(u32) -> bool,
        mut each: impl FnMut(u32) -> bool,
    ) -> Result<Finish> {
        let mut generation = Generation::new(limit, AtEnd::Process);
        let result = loop {
            match generation.step(self, sampler, &is_end) {
                Ok(Some(token)) if each(token) => {}
                Ok(Some(_)) => generation.stop(),
                Ok(None) => break Ok(generation.finish().unwrap_or(Finish::Stopped)),
                Err(e) => break Err(e),
            }
        };
        // Only once, here, so that a cancel between two tokens counts.
        self.end();
        result
    }
}
