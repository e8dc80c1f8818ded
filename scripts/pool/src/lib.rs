//! The pool of the CPU engine, compiled alone.
//!
//! `RUSTFLAGS='--cfg loom' cargo test --lib` tries the interleavings of its protocol; without the
//! flag its own tests run. `cargo run --release` runs very many regions.

#[path = "../../../src/engine/cpu/pool.rs"]
#[allow(dead_code, reason = "the engine uses more of it")]
mod pool;

#[cfg(all(test, loom))]
mod proof;

/// Runs `regions` regions on a pool of `threads` threads, with a pause now and then, in which the
/// workers fall asleep. Gives how many tasks were run.
#[cfg(not(loom))]
pub fn endure(threads: usize, regions: usize) -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let pool = pool::Pool::new(threads);
    let done = AtomicUsize::new(0);
    for region in 0..regions {
        pool.run(1 + region % 5, &|some, _| {
            done.fetch_add(some.len(), Ordering::Relaxed);
        });
        if region % 1000 == 0 {
            std::thread::sleep(std::time::Duration::from_micros((region / 1000 % 200) as u64));
        }
    }
    done.into_inner()
}
