//! Sessions that decode on several threads at the same time, gathered into one forward pass, which
//! reads the weights once for all of them.
//!
//! Whoever comes while nobody computes takes along all who wait. For those who were in the last
//! pass, and so have a token to sample, it waits a little: otherwise two halves would take turns.

use super::{Engine, State, Want};
use crate::error::Result;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What one thread waits for.
struct Request<'a> {
    state: &'a mut dyn State,
    token: u32,
    /// Gets the logits, `[vocab]`.
    row: &'a mut Vec<f32>,
    /// It was part of a pass. If its state has not moved, that pass failed.
    done: bool,
}

/// A request on the stack of a thread that does not go on before it is done.
#[derive(Clone, Copy)]
struct Waiting(*mut Request<'static>);

// SAFETY: states, tokens and rows may be used by other threads, one at a time: see `Gathering`.
unsafe impl Send for Waiting {}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    computing: bool,
    /// Sessions that are likely to come: those of the last pass, and those that came meanwhile.
    expected: usize,
    /// How long the last pass took.
    took: Duration,
    /// The most sessions of one pass.
    #[cfg(feature = "internals")]
    most: usize,
}

/// Where the sessions of an engine meet.
///
/// A request is used by its own thread while it holds the lock, and by the one that computes while
/// `computing` is set and the request is not in `waiting`: never by both, and never after `done`.
pub struct Gathering {
    /// Where its threads are. A child process has none of them, and perhaps the lock of one.
    process: u32,
    queue: Mutex<Queue>,
    /// For the thread that waits for others to come.
    arrived: Condvar,
    /// For those who wait for a pass.
    passed: Condvar,
}

impl Default for Gathering {
    fn default() -> Gathering {
        let (arrived, passed) = Default::default();
        Gathering { process: std::process::id(), queue: Mutex::default(), arrived, passed }
    }
}

impl Gathering {
    /// Processes `token` after `state`, together with others who are at it, and puts the logits in
    /// `row`.
    pub fn forward(
        &self,
        engine: &Engine,
        state: &mut dyn State,
        token: u32,
        row: &mut Vec<f32>,
    ) -> Result<()> {
        if self.process != std::process::id() {
            return alone(state, token, row);
        }
        let after = state.tables().position() + 1;
        let mut request = Request { state, token, row, done: false };
        let own = Waiting((&raw mut request).cast());
        let mut queue = self.lock();
        queue.waiting.push(own);
        self.arrived.notify_one();
        loop {
            // SAFETY: with the lock, and from then on only here once it is done.
            if unsafe { (*own.0).done } {
                break;
            }
            queue = if queue.computing {
                self.passed.wait(queue).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.compute(engine, queue)
            };
        }
        drop(queue);
        // SAFETY: as above.
        let Request { state, row, .. } = unsafe { &mut *own.0 };
        if state.tables().position() == after {
            return Ok(());
        }
        // The pass failed, because of this session or of another.
        alone(*state, token, row)
    }

    /// A pass of all who wait, and of those who are about to come.
    fn compute<'a>(
        &'a self,
        engine: &Engine,
        mut queue: MutexGuard<'a, Queue>,
    ) -> MutexGuard<'a, Queue> {
        queue.computing = true;
        let until = Instant::now() + queue.took / 4;
        while queue.waiting.len() < queue.expected {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.arrived.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let requests = std::mem::take(&mut queue.waiting);
        drop(queue);
        let pass = Pass { gathering: self, requests, start: Instant::now() };
        // SAFETY: their threads wait, and nobody else has them.
        let requests = pass.requests.iter().map(|waiting| unsafe { &mut *waiting.0 });
        let (mut states, mut rows): (Vec<&mut dyn State>, Vec<_>) =
            requests.map(|r| (&mut *r.state as &mut dyn State, (r.token, &mut *r.row))).unzip();
        let tokens: Vec<u32> = rows.iter().map(|(token, _)| *token).collect();
        let result = engine.forward_together(&mut states, &tokens, &mut |index, logits| {
            copy(logits, rows[index].1);
        });
        if let Err(e) = result {
            log::debug!("{} sessions go on alone: {e}", tokens.len());
        }
        drop(pass);
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most sessions that were processed in one pass so far.
    #[cfg(feature = "internals")]
    pub fn most(&self) -> usize {
        self.lock().most
    }
}

/// Requests that are being computed. When it is dropped, also by a panic, they are done.
struct Pass<'a> {
    gathering: &'a Gathering,
    requests: Vec<Waiting>,
    start: Instant,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut queue = self.gathering.lock();
        for request in &self.requests {
            // SAFETY: with the lock, before its thread goes on.
            unsafe { (*request.0).done = true };
        }
        queue.computing = false;
        queue.took = self.start.elapsed();
        queue.expected = self.requests.len() + queue.waiting.len();
        #[cfg(feature = "internals")]
        {
            queue.most = queue.most.max(self.requests.len());
        }
        self.gathering.passed.notify_all();
    }
}

fn alone(state: &mut dyn State, token: u32, row: &mut Vec<f32>) -> Result<()> {
    state.forward(&[token], Want::Last, &mut |_, logits| copy(logits, row))
}

fn copy(logits: &[f32], row: &mut Vec<f32>) {
    row.clear();
    row.extend_from_slice(logits);
}
