//! Generating tokens, one after the other.

use super::Session;
use crate::error::{Error, Result};
use crate::sample::Sampler;

/// Why a generation came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A token that ends the text or the turn was chosen; the session has taken it in.
    End,
    /// As many tokens as were asked for.
    Limit,
    /// The caller's function said so.
    Stopped,
    /// Cancelled from another thread.
    Cancelled,
}

impl Session {
    /// Chooses up to `limit` tokens, each from the logits of the one before, and takes them in.
    /// `is_end` names tokens that end the text. `each` gets every token, the end included, and
    /// says whether to go on.
    ///
    /// # Errors
    /// [`Error::Argument`] if nothing has been fed yet, so that there are no logits to begin with;
    /// [`Error::Logits`] if no token can be chosen by them.
    pub fn generate(
        &mut self,
        sampler: &mut Sampler,
        limit: usize,
        is_end: impl Fn(u32) -> bool,
        mut each: impl FnMut(u32) -> bool,
    ) -> Result<Finish> {
        // Clearing once, here, keeps a cancel that arrives between two tokens.
        self.begin();
        match self.wait_for_logits() {
            Err(Error::Cancelled) => return Ok(Finish::Cancelled),
            other => other?,
        }
        if self.logits.is_empty() {
            return Err(Error::Argument("feed at least one token before generating".into()));
        }
        let finish = self.choose_and_take_in(sampler, limit, is_end, &mut each)?;
        match self.fetch_logits() {
            // They are fetched when they are asked for.
            Err(Error::Paused) => {}
            other => other?,
        }
        Ok(finish)
    }

    fn choose_and_take_in(
        &mut self,
        sampler: &mut Sampler,
        limit: usize,
        is_end: impl Fn(u32) -> bool,
        each: &mut impl FnMut(u32) -> bool,
    ) -> Result<Finish> {
        for _ in 0..limit {
            if self.cancel.is_set() {
                return Ok(Finish::Cancelled);
            }
            let token = match self.choose(sampler) {
                Err(Error::Cancelled) => return Ok(Finish::Cancelled),
                other => other?,
            };
            let go_on = each(token);
            match self.follow(token, sampler) {
                // Cancelled while paused: this token is not taken in.
                Err(Error::Cancelled) => return Ok(Finish::Cancelled),
                other => other?,
            }
            if is_end(token) {
                return Ok(Finish::End);
            }
            if !go_on {
                return Ok(Finish::Stopped);
            }
        }
        Ok(Finish::Limit)
    }
}
