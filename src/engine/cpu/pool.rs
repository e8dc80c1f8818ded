//! A small persistent pool. A token of decode is some three hundred parallel regions of a few
//! microseconds each, so workers spin for a moment before they sleep.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Turns of the waiting loop before a worker sleeps: about 50 microseconds.
const SPINS: u32 = 4000;

/// Threads that run the tasks of one region at a time.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One region at a time: sessions on several threads take turns.
    region: Mutex<()>,
}

/// A region: `task(index, thread)` for every index below `tasks`.
#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize, usize) + Sync),
    tasks: usize,
}

struct Shared {
    job: Mutex<Option<Job>>,
    wake: Condvar,
    /// Number of the current region; workers wait for it to change.
    region: AtomicU64,
    /// The next task that nobody has taken.
    next: AtomicUsize,
    /// Workers that have not finished the region.
    busy: AtomicUsize,
    failed: AtomicBool,
    stop: AtomicBool,
}

// SAFETY: the pointer in `job` is only followed while `Pool::run` keeps the closure alive.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Pool {
    /// A pool of `threads` threads, the calling one counted. Threads that the system does not
    /// grant are done without.
    pub fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared {
            job: Mutex::new(None),
            wake: Condvar::new(),
            region: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut workers = Vec::new();
        for thread in 1..threads.max(1) {
            let shared = Arc::clone(&shared);
            let worker = std::thread::Builder::new()
                .name(format!("attamba-{thread}"))
                .spawn(move || work(&shared, thread));
            match worker {
                Ok(handle) => workers.push(handle),
                Err(e) => {
                    log::warn!("running on {thread} threads: the system refused another: {e}");
                    break;
                }
            }
        }
        Pool { shared, workers, region: Mutex::new(()) }
    }

    /// Threads, the caller counted.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(index, thread)` for all indices below `tasks`, each once, and returns when all
    /// are done. The thread number is below [`Pool::threads`], and no two run at once with the same.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        let _turn = lock(&self.region);
        if tasks <= 1 || self.workers.is_empty() {
            (0..tasks).for_each(|index| task(index, 0));
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes, and this call outlives every use: it returns after
        // all workers have counted themselves out.
        let task = unsafe {
            std::mem::transmute::<
                &(dyn Fn(usize, usize) + Sync),
                &'static (dyn Fn(usize, usize) + Sync),
            >(task)
        };
        let job = Job { task, tasks };
        shared.next.store(0, Ordering::Relaxed);
        shared.busy.store(self.workers.len(), Ordering::Relaxed);
        {
            // The guard is held until the counter is raised: a worker that has looked at the
            // counter under the lock and is about to wait must not miss the wake-up.
            let mut slot = lock(&shared.job);
            *slot = Some(job);
            shared.region.fetch_add(1, Ordering::Release);
        }
        shared.wake.notify_all();
        let own = catch_unwind(AssertUnwindSafe(|| shared.take_tasks(job, 0)));
        let mut spins = 0;
        while shared.busy.load(Ordering::Acquire) > 0 {
            wait_a_little(&mut spins);
        }
        if let Err(panic) = own {
            shared.failed.store(false, Ordering::Relaxed);
            resume_unwind(panic);
        }
        assert!(!shared.failed.swap(false, Ordering::Relaxed), "a task of the pool panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let _job = lock(&self.shared.job);
            self.shared.stop.store(true, Ordering::Relaxed);
            self.shared.region.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // Tasks that panic are caught, so a worker ends in order.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn take_tasks(&self, job: Job, thread: usize) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= job.tasks {
                return;
            }
            // SAFETY: `Pool::run` keeps the closure alive until every worker is done.
            unsafe { (*job.task)(index, thread) };
        }
    }
}

fn work(shared: &Shared, thread: usize) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while shared.region.load(Ordering::Acquire) == seen && spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
        }
        let mut job = lock(&shared.job);
        while shared.region.load(Ordering::Acquire) == seen {
            job = shared.wake.wait(job).unwrap_or_else(PoisonError::into_inner);
        }
        seen = shared.region.load(Ordering::Acquire);
        let current = *job;
        drop(job);
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        if let Some(job) = current {
            if catch_unwind(AssertUnwindSafe(|| shared.take_tasks(job, thread))).is_err() {
                shared.failed.store(true, Ordering::Relaxed);
            }
            shared.busy.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Spins at first; yields when the others seem to have lost their core.
fn wait_a_little(spins: &mut u32) {
    *spins += 1;
    if *spins < SPINS {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

/// A poisoned lock guards nothing that a panic could have left half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_on_a_thread_of_its_own() {
        let pool = Pool::new(3);
        for tasks in [0, 1, 2, 3, 100] {
            for _ in 0..200 {
                let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                let running: Vec<_> = (0..3).map(|_| AtomicBool::new(false)).collect();
                pool.run(tasks, &|index, thread| {
                    assert!(!running[thread].swap(true, Ordering::SeqCst));
                    counts[index].fetch_add(1, Ordering::SeqCst);
                    running[thread].store(false, Ordering::SeqCst);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::SeqCst) == 1));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.run(50, &|index, _| assert!(index != 30));
        }));
        assert!(outcome.is_err());
        let done = AtomicUsize::new(0);
        pool.run(50, &|_, _| {
            done.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(done.into_inner(), 50);
    }

    #[test]
    fn callers_on_several_threads_take_turns() {
        let pool = Pool::new(2);
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        pool.run(7, &|_, _| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 100 * 7);
    }
}
