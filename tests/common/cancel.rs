//! Calls that are cancelled midway.

#![allow(dead_code, reason = "each test program uses a part of it")]

use attamba::Error;
use attamba::session::Session;
use std::time::Duration;

/// Feeds many `tokens`, and cancels after one or a few blocks; returns how many were processed.
pub fn feed_and_cancel(session: &mut Session, tokens: &[u32]) -> usize {
    let before = session.position();
    let cancel = session.control();
    let mut wait = Duration::from_micros(100);
    loop {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(wait);
                cancel.cancel();
            });
            let outcome = session.feed(tokens);
            assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
        });
        match (session.position() - before) as usize {
            // The cancel came before the first block.
            0 => wait *= 2,
            processed => {
                assert!(processed < tokens.len(), "{processed}");
                return processed;
            }
        }
    }
}
