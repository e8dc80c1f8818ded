//! Memory pressure: a session that goes on with less.

use super::{Budget, Options, Session};
use crate::engine::Geometry;
use crate::error::Result;

impl Session {
    /// Makes the state as small as `bytes` allow, at once and without reading anything anew: chunk
    /// states are dropped or thinned, as the session's overflow policy says. A budget that is
    /// larger than what the session has changes nothing. Snapshots made before are of a larger
    /// session and can't be gone back to.
    ///
    /// # Errors
    /// [`Error::Budget`](crate::Error::Budget) if the bytes can't hold a single chunk state, and
    /// those of the engine; the session is as it was.
    pub fn shrink(&mut self, bytes: u64) -> Result<()> {
        let Geometry { ring, window, chunk, kv, overflow } = self.geometry;
        let (chunk, window) = (Some(chunk), Some(window));
        let options = Options { budget: Budget::Bytes(bytes), kv, overflow, chunk, window };
        let smaller = options.geometry(self.hyper())?;
        if smaller.ring < ring {
            self.state.shrink(smaller.ring)?;
            self.geometry = smaller;
        }
        Ok(())
    }
}
