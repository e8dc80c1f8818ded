//! Calls that are cancelled midway.

#![allow(dead_code, reason = "each test program uses a part of it")]

use attamba::Error;
use attamba::session::Session;
use std::sync::atomic::{AtomicBool, Ordering};

/// Feeds many `tokens`, and cancels after one or a few blocks; returns how many were processed.
pub fn feed_and_cancel(session: &mut Session, tokens: &[u32]) -> usize {
    let before = session.position();
    let cancel = session.control();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A cancellation before the call begins does not count.
            while !done.load(Ordering::Relaxed) {
                cancel.cancel();
                std::thread::yield_now();
            }
        });
        let outcome = session.feed(tokens);
        done.store(true, Ordering::Relaxed);
        assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    });
    let processed = (session.position() - before) as usize;
    assert!((1..tokens.len()).contains(&processed), "{processed}");
    processed
}
