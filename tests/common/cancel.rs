//! Calls that are cancelled on the way.

#![allow(dead_code, reason = "each test program uses a part of it")]

use attamba::Error;
use attamba::session::Session;
use std::sync::atomic::{AtomicBool, Ordering};

/// Feeds `tokens`, which are many, and cancels that after a block or a few; gives their number.
pub fn feed_and_cancel(session: &mut Session, tokens: &[u32]) -> usize {
    let before = session.position();
    let cancel = session.cancel_handle();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // One that comes before the call begins does not count.
            while !done.load(Ordering::Relaxed) {
                cancel.cancel();
                std::thread::yield_now();
            }
        });
        let outcome = session.feed(tokens);
        done.store(true, Ordering::Relaxed);
        assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    });
    let taken_in = (session.position() - before) as usize;
    assert!((1..tokens.len()).contains(&taken_in), "{taken_in}");
    taken_in
}
