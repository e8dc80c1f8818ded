//! Interleavings of a few threads, by loom. A test fails where a wake-up is missed (all threads
//! wait), where a worker reads what is no longer there, and where a task does not see what the
//! caller wrote before it, or the caller what a task wrote.

use super::pool::Pool;
use loom::cell::UnsafeCell;
use loom::model::Builder;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A value that loom watches: it fails where two threads are at it at once.
struct Watched(UnsafeCell<usize>);

// SAFETY: loom checks every access.
unsafe impl Sync for Watched {}

impl Watched {
    fn get(&self) -> usize {
        // SAFETY: loom has checked that nobody writes.
        self.0.with(|value| unsafe { *value })
    }

    fn set(&self, to: usize) {
        // SAFETY: loom has checked that nobody else reads or writes.
        self.0.with_mut(|value| unsafe { *value = to })
    }
}

/// `regions` regions of two tasks on `workers` workers and the caller, then the end of the pool,
/// in all interleavings with at most `switches` switches away from a thread that could go on
/// (more with `LOOM_MAX_PREEMPTIONS`).
fn prove(workers: usize, regions: usize, switches: usize) {
    let mut model = Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(switches));
    let executions = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&executions);
    model.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let pool = Pool::new(1 + workers);
        for region in 1..=regions {
            let given = Watched(UnsafeCell::new(region));
            let made = [0, 1].map(|_| Watched(UnsafeCell::new(0)));
            pool.run(2, &|some, _| {
                some.for_each(|index| made[index].set(made[index].get() + given.get()));
            });
            assert_eq!(made.each_ref().map(Watched::get), [region; 2]);
        }
    });
    let executions = executions.load(Ordering::Relaxed);
    let switches = model.preemption_bound;
    println!(
        "{workers} workers, {regions} regions, switches {switches:?}: {executions} executions"
    );
}

#[test]
fn one_worker_two_regions() {
    prove(1, 2, 4);
}

#[test]
fn two_workers_one_region() {
    prove(2, 1, 3);
}

#[test]
fn two_workers_three_regions() {
    prove(2, 3, 2);
}
