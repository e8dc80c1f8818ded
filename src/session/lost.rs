//! Sessions whose engine has lost its device. What they remembered went with it, so that they move
//! to the engine that takes over only where they are given another memory, or none.

use super::Session;
use crate::engine::{Engine, Geometry, State};
use crate::error::Result;
use std::sync::Arc;

/// A state on `engine`, or, where that is lost, on the one that takes over from it.
pub(super) fn open(
    engine: Arc<dyn Engine>,
    geometry: Geometry,
) -> Result<(Arc<dyn Engine>, Box<dyn State>)> {
    match engine.open(geometry) {
        Ok(state) => Ok((engine, state)),
        Err(e) => match engine.successor() {
            None => Err(e),
            Some(next) => {
                log::warn!("{e}; a new session is computed on the {}", next.describe());
                let state = next.open(geometry)?;
                Ok((next, state))
            }
        },
    }
}

impl Session {
    /// Whether the engine is lost, and with it what the session remembered, and another is to take
    /// over: then [`Session::reset`] and [`Session::rewind`] move the session there.
    pub(crate) fn is_to_move(&self) -> bool {
        self.engine.successor().is_some()
    }

    /// Moves to the engine that takes over, if this one is lost: there at position 0.
    pub(super) fn leave_lost_engine(&mut self) -> Result<()> {
        let Some(next) = self.engine.successor() else { return Ok(()) };
        let plans = self.spec().plans(self.chunk())?;
        let mut state = next.open(self.geometry)?;
        state.set_plans(&plans)?;
        log::warn!(
            "{} is lost, and what it remembered; the session goes on on the {}",
            self.engine.describe(),
            next.describe()
        );
        self.forget_logits();
        self.state = state;
        self.engine = next;
        Ok(())
    }
}
