//! Code that calls itself as deep as a file says, on a thread with room for the deepest file that is
//! accepted.

use std::thread::Builder;

/// The stack of the thread, of which only what is used becomes memory. The deepest template that
/// [`guard`](super::template) accepts takes a quarter of it without optimization.
pub(super) const STACK: usize = 64 << 20;

/// Runs `run` to its end on a thread of its own. Its panic, or why there is no thread, is an error;
/// what it shares must not suffer from a panic.
pub(super) fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = Builder::new().name(super::APART.into()).stack_size(STACK);
        let thread = thread
            .spawn_scoped(scope, run)
            .map_err(|e| format!("a thread can't be started for it: {e}"))?;
        thread.join().map_err(|_| "it contradicts itself".to_owned())
    })
}
