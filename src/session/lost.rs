//! Sessions whose engine has lost its device. What they remembered went with it; a session moves to
//! the engine that takes over where it is given a memory again: by a reset, by a rewind, or of itself
//! where it has a history.

use super::sequence::Sequence;
use super::{Session, Snapshot};
use crate::error::{Error, Result};

/// What a session is brought back from where its engine is lost: see [`Session::set_history`]. A
/// function that gives the tokens is one.
pub trait History: Send {
    /// All tokens that the session had taken in when the history was set.
    ///
    /// # Errors
    /// Whatever keeps them from being had; the session can then not be brought back.
    fn tokens(&self) -> Result<Vec<u32>>;

    /// The session as it was then, if that is kept: it spares the reading of the tokens.
    fn snapshot(&self) -> Option<&Snapshot> {
        None
    }
}

impl<F: Fn() -> Result<Vec<u32>> + Send> History for F {
    fn tokens(&self) -> Result<Vec<u32>> {
        self()
    }
}

/// A history, and what came after it.
pub(super) struct Past {
    history: Box<dyn History>,
    /// Where the session stood when it was set.
    from: u64,
    /// Tokens taken in since then.
    since: Vec<u32>,
    /// The session lacks what it has to be brought back from.
    missing: bool,
}

impl Past {
    /// Where the session stands, whatever of it is missing.
    pub fn position(&self) -> u64 {
        self.from + self.since.len() as u64
    }

    pub fn is_missing(&self) -> bool {
        self.missing
    }
}

impl Session {
    /// From here on the session survives the loss of its engine where another takes over
    /// ([`OrCpu`](crate::engine::OrCpu)): the call that finds out has the next engine take in what
    /// `history` gives, and continues there. Such a call takes longer. It can be cancelled on the way:
    /// the next one then begins with the rest.
    ///
    /// For that the session keeps the tokens that it takes in, four bytes each, until a history is
    /// set anew; set one now and then, with a snapshot. A reset begins with an empty history, a
    /// rewind ends it.
    pub fn set_history(&mut self, history: impl History + 'static) {
        let (from, missing) = (self.position(), self.past.as_ref().is_some_and(Past::is_missing));
        self.past = Some(Past { history: Box::new(history), from, since: Vec::new(), missing });
    }

    /// Keeps no history any more.
    pub fn clear_history(&mut self) {
        self.past = None;
    }

    /// Begins with an empty history, if there is to be one.
    pub(super) fn begin_history(&mut self) {
        if self.past.is_some() {
            let history = Box::new(|| Ok(Vec::new()));
            self.past = Some(Past { history, from: 0, since: Vec::new(), missing: false });
        }
    }

    /// Notes tokens that were taken in.
    pub(super) fn note(&mut self, tokens: &[u32]) {
        if let Some(past) = &mut self.past {
            past.since.extend_from_slice(tokens);
        }
    }

    /// Does `work` on the engine, and where that is lost once more on the one that takes over, if there
    /// is a history to go on from.
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

    /// Takes in what is missing since the engine was lost.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        // Taken out, so that what is fed is not noted a second time.
        let Some(mut past) = self.past.take_if(|past| past.missing) else { return Ok(()) };
        let result = self.go_over(&past);
        past.missing = result.is_err();
        self.past = Some(past);
        result
    }

    fn go_over(&mut self, past: &Past) -> Result<()> {
        let rewound = past.history.snapshot().map(|snapshot| {
            let pause = self.pause.clone();
            let _computing = pause.wait(&self.cancel)?;
            self.go_to(snapshot)
        });
        let before = match rewound {
            Some(Ok(())) => Vec::new(),
            // Of a session that was made smaller since.
            Some(Err(Error::Argument(_))) | None => {
                self.reset();
                past.history.tokens()?
            }
            Some(Err(e)) => return Err(e),
        };
        log::info!("{} tokens are taken in anew", before.len() + past.since.len());
        self.go_on(&before)?;
        if !before.is_empty() && self.cancel.is_set() {
            return Err(Error::Cancelled);
        }
        self.go_on(&past.since)
    }

    /// Moves to the engine that takes over, if this one is lost: there at position 0.
    pub(super) fn leave_lost_engine(&mut self) -> Result<()> {
        let Some(next) = self.engine.successor() else { return Ok(()) };
        let plans = self.spec().plans(self.chunk())?;
        let mut sequence = Sequence::new(&*next, self.geometry)?;
        sequence.set_plans(&plans)?;
        log::warn!(
            "{} is lost, and what it remembered; the session goes on on the {}",
            self.engine.describe(),
            next.describe()
        );
        self.sequence = sequence;
        self.engine = next;
        Ok(())
    }
}
