//! What other threads may ask of a session.

use super::{Cancel, Pause, Session, Shrink};

/// Controls a session from other threads, even while it computes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Control {
    pub(super) cancel: Cancel,
    pub(super) pause: Pause,
    pub(super) shrink: Shrink,
}

impl Control {
    /// Asks the call in progress to stop before its next block of tokens; without one, the next
    /// call that processes or generates tokens ends before it begins. May be called from a signal
    /// handler.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Withdraws a cancel that no call has met.
    pub fn clear_cancel(&self) {
        self.cancel.clear();
    }

    /// Once this returns nothing is computed until [`Control::resume`]: it waits for the end of the
    /// block that is being computed, milliseconds, and a call that has more to compute waits.
    ///
    /// On some systems an application that leaves the foreground must stop using the GPU at once or
    /// be terminated.
    ///
    /// Called from a function that a session calls within a block (that of
    /// [`Session::feed_each`], or a log receiver) it returns at once, since it would wait for
    /// itself: the pause begins at the end of that block.
    pub fn pause(&self) {
        self.pause.pause();
    }

    /// Lets the waiting call continue, if there is one.
    pub fn resume(&self) {
        self.pause.resume();
    }

    /// Whether the session is paused.
    pub fn is_paused(&self) -> bool {
        self.pause.is_paused()
    }

    /// Before its next block of tokens the session does what [`Session::shrink`] does. A request
    /// that can't be met is logged and dropped.
    pub fn shrink(&self, bytes: u64) {
        self.shrink.request(bytes);
    }
}

impl Session {
    /// A handle with which other threads control the session.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}
