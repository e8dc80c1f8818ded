//! Sessions whose engine has lost its device. Their memory is lost with it; a session moves to the
//! successor engine when its memory is restored: by a reset, by a rewind, or automatically if it
//! has a history.

use super::sequence::Sequence;
use super::{Session, Snapshot};
use crate::error::{Error, Result};

/// What a session is restored from when its engine is lost: see [`Session::set_history`]. A
/// function that returns the tokens is one.
pub trait History: Send {
    /// All tokens that the session had processed when the history was set.
    ///
    /// # Errors
    /// Whatever prevents them from being produced; the session then can't be restored.
    fn tokens(&self) -> Result<Vec<u32>>;

    /// The session as it was then, if available: it saves processing the tokens again.
    fn snapshot(&self) -> Option<&Snapshot> {
        None
    }
}

impl<F: Fn() -> Result<Vec<u32>> + Send> History for F {
    fn tokens(&self) -> Result<Vec<u32>> {
        self()
    }
}

/// A history, and what followed it.
pub(super) struct Past {
    history: Box<dyn History>,
    /// The position of the session when the history was set.
    from: u64,
    /// Tokens processed since then.
    since: Vec<u32>,
    /// The session is missing state that has to be restored.
    missing: bool,
}

impl Past {
    /// The session's position, including whatever part of it is missing.
    pub fn position(&self) -> u64 {
        self.from + self.since.len() as u64
    }

    pub fn is_missing(&self) -> bool {
        self.missing
    }
}

impl Session {
    /// From here on the session survives the loss of its engine if another one takes over
    /// ([`Engine::auto`](crate::Engine::auto)): the call that detects the loss has the next engine
    /// process what `history` provides, and continues there. Such a call takes longer. If it is
    /// cancelled on the way, the next call begins with the rest.
    ///
    /// To do so the session keeps the tokens that it processes, four bytes each, until a history is
    /// set again; set one now and then, with a snapshot. A reset starts from an empty history, a
    /// rewind removes it.
    #[cfg(any(feature = "text", feature = "internals"))]
    pub(crate) fn set_history(&mut self, history: impl History + 'static) {
        let (from, missing) = (self.position(), self.past.as_ref().is_some_and(Past::is_missing));
        self.past = Some(Past { history: Box::new(history), from, since: Vec::new(), missing });
    }

    /// Stops keeping a history.
    pub(crate) fn clear_history(&mut self) {
        self.past = None;
    }

    /// Starts from an empty history, if there is to be one.
    pub(super) fn begin_history(&mut self) {
        if self.past.is_some() {
            let history = Box::new(|| Ok(Vec::new()));
            self.past = Some(Past { history, from: 0, since: Vec::new(), missing: false });
        }
    }

    /// Records tokens that were processed.
    pub(super) fn note(&mut self, tokens: &[u32]) {
        if let Some(past) = &mut self.past {
            past.since.extend_from_slice(tokens);
        }
    }

    /// Runs `work` on the engine, and if the engine is lost, once more on its successor, if there
    /// is a history to continue from.
    pub(super) fn on_any_engine<T>(
        &mut self,
        mut work: impl FnMut(&mut Session) -> Result<T>,
    ) -> Result<T> {
        self.catch_up()?;
        match work(self) {
            Err(e @ (Error::Cancelled | Error::Paused)) => Err(e),
            Err(e) => {
                let Some(past) = &mut self.past else { return Err(e) };
                if self.engine.successor().is_none() {
                    return Err(e);
                }
                past.missing = true;
                self.catch_up()?;
                work(self)
            }
            done => done,
        }
    }

    /// Processes what is missing since the engine was lost.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        // Taken out, so that what is fed is not recorded a second time.
        let Some(mut past) = self.past.take_if(|past| past.missing) else { return Ok(()) };
        let result = self.go_over(&past);
        past.missing = result.is_err();
        self.past = Some(past);
        result
    }

    fn go_over(&mut self, past: &Past) -> Result<()> {
        let rewound = past.history.snapshot().map(|snapshot| {
            let pause = self.control.pause.clone();
            let _computing = pause.wait(&self.control.cancel, || ())?;
            self.go_to(snapshot)
        });
        let before = match rewound {
            Some(Ok(())) => Vec::new(),
            // From a session that has been shrunk since.
            Some(Err(Error::Argument(_))) | None => {
                self.reset();
                past.history.tokens()?
            }
            Some(Err(e)) => return Err(e),
        };
        log::info!("{} tokens are processed again", before.len() + past.since.len());
        self.go_on(&before)?;
        if !before.is_empty() && self.control.cancel.is_set() {
            return Err(Error::Cancelled);
        }
        self.go_on(&past.since)
    }

    /// Moves to the successor engine, at position 0, if this one is lost.
    pub(super) fn leave_lost_engine(&mut self) -> Result<()> {
        let Some(next) = self.engine.successor() else { return Ok(()) };
        let plans = self.geometry.plans(self.spec(), self.chunk())?;
        let mut sequence = Sequence::new(&next, self.geometry)?;
        sequence.set_plans(&plans)?;
        log::warn!(
            "{} and its memory are lost; the session continues on the {}",
            self.engine.describe(),
            next.describe()
        );
        self.sequence = sequence;
        self.engine = next;
        Ok(())
    }
}
