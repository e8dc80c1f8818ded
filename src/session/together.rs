//! Several sessions decoding together.

use super::sequence::Logits;
use super::{Pause, Session};
use crate::engine::State;
use crate::error::{Error, Result};

impl Session {
    /// Each of `sessions`, which must share one engine, processes one of `tokens`. The results are
    /// those of each session alone, up to rounding; the weights are read once for all of them
    /// instead of once for each.
    ///
    /// # Errors
    /// [`Error::Argument`] if the numbers of sessions and tokens differ, or the sessions are of
    /// several engines; [`Error::TokenOutOfRange`]; [`Error::Paused`] if one of them is paused:
    /// nothing is processed. Device errors of the engine.
    pub fn feed_together(sessions: &mut [&mut Session], tokens: &[u32]) -> Result<()> {
        if sessions.len() != tokens.len() {
            let (sessions, tokens) = (sessions.len(), tokens.len());
            return Err(Error::argument(
                "the number of tokens",
                format!("is {tokens} for {sessions} sessions"),
            ));
        }
        sessions.iter_mut().try_for_each(|session| session.catch_up())?;
        let Some(first) = sessions.first() else { return Ok(()) };
        let engine = first.engine.clone();
        if sessions.iter().any(|session| !session.engine.is(&engine)) {
            return Err(Error::argument("sessions of two engines", "can't run together"));
        }
        let vocab = engine.model().spec().vocab;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab });
        }
        let pauses: Vec<Pause> =
            sessions.iter().map(|session| session.control.pause.clone()).collect();
        let _computing = pauses.iter().map(Pause::enter).collect::<Result<Vec<_>>>()?;
        sessions.iter_mut().for_each(|session| session.shrink_as_asked());
        let after: Vec<u64> = sessions.iter().map(|session| session.position() + 1).collect();
        let (mut states, mut logits): (Vec<&mut dyn State>, Vec<&mut Logits>) =
            sessions.iter_mut().map(|session| session.sequence.parts()).unzip();
        let result = engine.forward_together(&mut states, tokens, &mut |index, row| {
            logits[index].put(after[index], row);
        });
        for ((session, token), after) in sessions.iter_mut().zip(tokens).zip(after) {
            if session.sequence.position() == after {
                session.note(&[*token]);
            }
        }
        result
    }
}
