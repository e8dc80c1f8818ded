//! Code that calls itself as deep as a file says, on a thread with room for the deepest file that is
//! accepted.

use crate::error::{Error, Result};
use crate::room;
use std::thread::Builder;

/// The stack of the thread, of which only what is used becomes memory. The deepest template that
/// [`guard`](super::template) accepts takes a quarter of it without optimization.
pub(super) const STACK: usize = 64 << 20;

/// Runs `run` to its end on a thread of its own. `None` if it panics; what it shares must not suffer
/// from that.
///
/// # Errors
/// [`Error::OutOfMemory`] if there can't be another thread.
pub(super) fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> Result<Option<T>> {
    let refused = || Error::OutOfMemory { bytes: STACK as u64, what: "another thread" };
    if room::threads(1, STACK) == 0 {
        return Err(refused());
    }
    std::thread::scope(|scope| {
        let thread = Builder::new().name(super::APART.into()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, run).map_err(|e| {
            log::debug!("a thread can't be started: {e}");
            refused()
        })?;
        Ok(thread.join().ok())
    })
}
