//! Cancelling from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancels the call that a session is executing, or else the next one. Cheap to clone, usable from
/// any thread and from a signal handler.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the session to stop before its next block of tokens. This holds until a call has ended,
    /// so that a cancel which comes just before the call that it is meant for is not lost.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether cancellation was requested.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Withdraws it.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
