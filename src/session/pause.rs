//! Pausing from another thread.

use super::Cancel;
use crate::error::{Error, Result};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting call checks for a cancel, which may come from a signal handler and so can't
/// wake it.
const LOOK: Duration = Duration::from_millis(10);

thread_local! {
    /// Pieces of work in progress on this thread, of any session.
    static AT_WORK: Cell<usize> = const { Cell::new(0) };
}

/// Pauses a session between two blocks. Cheap to clone, usable from any thread.
///
/// On some systems an application that leaves the foreground must stop using the GPU at once or be
/// terminated. While paused no block is computed, on any engine.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    paused: bool,
    computing: bool,
}

/// While it lives, the engine is at work on the thread that owns it.
pub(super) struct Computing<'a> {
    gate: &'a Gate,
    of_this_thread: PhantomData<*const ()>,
}

impl Pause {
    /// Once this call returns nothing is computed until [`Pause::resume`]. Waits for the end of the
    /// block that is being computed, milliseconds; a call that has more to compute waits.
    ///
    /// Called from a function that a session calls within a block (that of
    /// [`Session::feed_each`](super::Session::feed_each), or a log receiver) it returns at once,
    /// since it would wait for itself: the pause begins at the end of that block.
    pub fn pause(&self) {
        let mut state = self.0.lock();
        state.paused = true;
        // Two threads that are each within a block could also wait for each other: a thread within
        // a block waits for no other.
        while state.computing && AT_WORK.get() == 0 {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the waiting call continue, if there is one.
    pub fn resume(&self) {
        self.0.lock().paused = false;
        self.0.changed.notify_all();
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.0.lock().paused
    }

    /// Begins a piece of work; waits while paused, and does what is wanted `meanwhile` again and
    /// again. [`Error::Cancelled`] if `cancel` is set meanwhile.
    pub(super) fn wait(
        &self,
        cancel: &Cancel,
        mut meanwhile: impl FnMut(),
    ) -> Result<Computing<'_>> {
        let mut state = self.0.lock();
        while state.paused {
            if cancel.is_set() {
                return Err(Error::Cancelled);
            }
            let woken = self.0.changed.wait_timeout(state, LOOK);
            drop(woken.unwrap_or_else(PoisonError::into_inner));
            meanwhile();
            state = self.0.lock();
        }
        Ok(self.0.begin(state))
    }

    /// Begins a piece of work that must not wait: [`Error::Paused`] while paused.
    pub(super) fn enter(&self) -> Result<Computing<'_>> {
        let state = self.0.lock();
        if state.paused {
            return Err(Error::Paused);
        }
        Ok(self.0.begin(state))
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, mut state: MutexGuard<'_, State>) -> Computing<'_> {
        state.computing = true;
        AT_WORK.set(AT_WORK.get() + 1);
        Computing { gate: self, of_this_thread: PhantomData }
    }
}

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        AT_WORK.set(AT_WORK.get() - 1);
        self.gate.lock().computing = false;
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn pause_waits_for_the_work_at_hand() {
        let gate = Pause::default();
        let computing = gate.wait(&Cancel::default(), || ()).expect("nobody has cancelled");
        let (done, paused) = mpsc::channel();
        let other = gate.clone();
        let thread = thread::spawn(move || {
            other.pause();
            done.send(()).expect("the test waits");
        });
        while !gate.is_paused() {
            thread::yield_now();
        }
        assert!(paused.try_recv().is_err(), "paused in the middle of a block");
        drop(computing);
        paused.recv().expect("pause returns");
        thread.join().expect("the thread ends");
    }

    #[test]
    fn work_waits_for_resume_and_a_cancel_ends_the_wait() {
        let gate = Pause::default();
        let cancel = Cancel::default();
        gate.pause();
        assert!(matches!(gate.enter(), Err(Error::Paused)));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.wait(&cancel, || ()).is_ok());
            gate.resume();
            assert!(waiting.join().expect("the thread ends"));
            gate.pause();
            let waiting = scope.spawn(|| gate.wait(&cancel, || ()).map(|_| ()));
            cancel.cancel();
            let result = waiting.join().expect("the thread ends");
            assert!(matches!(result, Err(Error::Cancelled)));
        });
    }
}
