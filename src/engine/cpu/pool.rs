//! A small persistent pool. Decoding a token takes some dozens of parallel regions of a few
//! microseconds each, so a waiting thread spins for a moment, and then sleeps.
//!
//! All shared state is one word: whether a region is open, how many workers are inside, and how
//! many sleep. A worker enters only while the region is open, and the caller leaves only when
//! nobody is inside; so a worker that is late, or lost its core, delays nobody. A sleeping worker
//! is counted in the same exchange that finds the region closed, and whoever opens a region learns
//! the count from the exchange that opens it: no wake-up is missed, and no system call is made if
//! nobody sleeps. `scripts/pool` proves it.

#[cfg(loom)]
use loom::{hint, sync, thread};
#[cfg(not(loom))]
use std::{hint, sync, thread};

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::{PoisonError, TryLockError};
use sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use sync::{Arc, Condvar, Mutex, MutexGuard};
use thread::JoinHandle;

/// Iterations of the spin loop before a thread sleeps: some tens of microseconds.
const SPINS: u32 = if cfg!(loom) { 0 } else { 2000 };

/// A thread claims the fraction `1 / (SHARES * threads)` of the tasks that are left. A thread of a slow
/// core then has not claimed more than the others can do meanwhile.
const SHARES: usize = 2;

/// The word, from the lowest bits up: workers inside the region, sleeping workers, and three flags.
const INSIDE: usize = 1;
const ASLEEP: usize = 1 << 12;
const ALL_INSIDE: usize = ASLEEP - INSIDE;
const ALL_ASLEEP: usize = OPEN - ASLEEP;
/// There may be unclaimed tasks.
const OPEN: usize = 1 << 24;
/// The caller sleeps until nobody is inside.
const WAITING: usize = 1 << 25;
/// Workers must exit.
const STOP: usize = 1 << 26;

/// Threads that run the tasks of one region at a time.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Where the workers are. A child process has the pool, and none of its threads.
    process: u32,
    /// One region at a time: sessions on several threads take turns.
    turn: Mutex<()>,
}

/// `run(some, thread)` for ranges that make up all indices below `tasks`. It lives on the caller's
/// stack, on its own cache lines.
#[repr(align(128))]
struct Region<'a> {
    run: &'a (dyn Fn(Range<usize>, usize) + Sync),
    tasks: usize,
    threads: usize,
    /// The next unclaimed task.
    next: AtomicUsize,
    failed: AtomicBool,
}

struct Shared {
    word: AtomicUsize,
    /// The region that is open, or was open last.
    region: AtomicPtr<Region<'static>>,
    /// One per worker: set by the worker before it sleeps, cleared by whoever wakes it.
    asleep: Vec<AtomicBool>,
    waiting: Mutex<()>,
    left: Condvar,
}

impl Pool {
    /// A pool of `threads` threads, including the calling one. If the system refuses some, the pool
    /// makes do with fewer.
    pub fn new(threads: usize) -> Pool {
        let threads = threads.clamp(1, ALL_INSIDE);
        let shared = Arc::new(Shared {
            word: AtomicUsize::new(0),
            region: AtomicPtr::new(ptr::null_mut()),
            asleep: (1..threads).map(|_| AtomicBool::new(false)).collect(),
            waiting: Mutex::new(()),
            left: Condvar::new(),
        });
        let mut workers = Vec::new();
        for thread in 1..threads {
            let shared = Arc::clone(&shared);
            let worker = thread::Builder::new()
                .name(format!("attamba-{thread}"))
                .spawn(move || shared.work(thread));
            match worker {
                Ok(handle) => workers.push(handle),
                Err(e) => {
                    log::warn!("running on {thread} threads: the system refused another: {e}");
                    break;
                }
            }
        }
        Pool { shared, workers, process: std::process::id(), turn: Mutex::new(()) }
    }

    /// Number of threads, including the caller.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `run(some, thread)` for ranges that make up all indices below `tasks`, each once, and
    /// returns when all are done. The thread number is below [`Pool::threads`], and no two run at once with the same.
    pub fn run(&self, tasks: usize, run: &(dyn Fn(Range<usize>, usize) + Sync)) {
        let alone = || run(0..tasks, 0);
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            // Taken by a thread that the parent process has: it never ends here.
            Err(TryLockError::WouldBlock) if self.process != std::process::id() => return alone(),
            Err(TryLockError::WouldBlock) => lock(&self.turn),
        };
        if tasks <= 1 || self.workers.is_empty() {
            return alone();
        }
        let next = AtomicUsize::new(0);
        let threads = self.threads();
        let region = Region { run, tasks, threads, next, failed: AtomicBool::new(false) };
        self.shared.region.store(ptr::from_ref(&region).cast_mut().cast(), Ordering::Relaxed);
        let before = self.shared.word.fetch_or(OPEN, Ordering::AcqRel);
        if before & ALL_ASLEEP != 0 {
            self.wake(tasks - 1);
        }
        let own = catch_unwind(AssertUnwindSafe(|| region.take_tasks(0)));
        self.shared.close();
        self.shared.wait_until_left();
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!region.failed.load(Ordering::Relaxed), "a task of the pool panicked");
    }

    /// Wakes sleeping workers, at most `most` of them.
    fn wake(&self, most: usize) {
        let all = self.shared.asleep.iter().zip(&self.workers);
        let sleeping = all.filter(|(asleep, _)| asleep.swap(false, Ordering::AcqRel));
        sleeping.take(most).for_each(|(_, worker)| worker.thread().unpark());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(std::mem::take(&mut self.workers));
            return;
        }
        self.shared.word.fetch_or(STOP, Ordering::AcqRel);
        self.wake(usize::MAX);
        for worker in self.workers.drain(..) {
            // Panics of tasks are caught, so a worker exits normally.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// The life of a worker.
    fn work(&self, thread: usize) {
        while self.enter(thread) {
            let region = self.region.load(Ordering::Relaxed);
            // SAFETY: this worker is inside, so `Pool::run` keeps the region where it is.
            let region = unsafe { &*region };
            if catch_unwind(AssertUnwindSafe(|| region.take_tasks(thread))).is_err() {
                region.failed.store(true, Ordering::Relaxed);
            }
            self.leave();
        }
    }

    /// Waits for a region and enters it; `false` when the pool shuts down.
    fn enter(&self, thread: usize) -> bool {
        let mut spins = 0;
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & STOP != 0 {
                return false;
            }
            if word & OPEN != 0 {
                match self.exchange(word, word + INSIDE) {
                    Ok(_) => return true,
                    Err(now) => word = now,
                }
            } else if spins < SPINS {
                spins += 1;
                hint::spin_loop();
                word = self.word.load(Ordering::Relaxed);
            } else {
                spins = 0;
                word = self.sleep(thread, word);
            }
        }
    }

    /// Sleeps until woken, unless a region has opened or the pool is shutting down. Takes the word
    /// as last seen and returns its current value.
    fn sleep(&self, thread: usize, mut word: usize) -> usize {
        let asleep = &self.asleep[thread - 1];
        asleep.swap(true, Ordering::AcqRel);
        while word & (OPEN | STOP) == 0 {
            match self.exchange(word, word + ASLEEP) {
                Ok(_) => {
                    while asleep.load(Ordering::Acquire) {
                        thread::park();
                    }
                    return self.word.fetch_sub(ASLEEP, Ordering::Relaxed) - ASLEEP;
                }
                Err(now) => word = now,
            }
        }
        asleep.swap(false, Ordering::AcqRel);
        word
    }

    fn exchange(&self, from: usize, to: usize) -> Result<usize, usize> {
        self.word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
    }

    /// No task is left: workers that are not inside stay out.
    fn close(&self) {
        self.word.fetch_and(!OPEN, Ordering::Relaxed);
    }

    /// A worker leaves; the region may be gone immediately afterwards.
    fn leave(&self) {
        self.close();
        let before = self.word.fetch_sub(INSIDE, Ordering::AcqRel);
        if before & (ALL_INSIDE | WAITING) == INSIDE | WAITING {
            // Under the lock the caller either sees that nobody is inside, or is already waiting.
            let _guard = lock(&self.waiting);
            self.left.notify_one();
        }
    }

    /// Waits until no worker is inside.
    fn wait_until_left(&self) {
        let somebody_inside = || self.word.load(Ordering::Acquire) & ALL_INSIDE != 0;
        for _ in 0..SPINS {
            if !somebody_inside() {
                return;
            }
            hint::spin_loop();
        }
        let mut guard = lock(&self.waiting);
        self.word.fetch_or(WAITING, Ordering::AcqRel);
        while somebody_inside() {
            guard = self.left.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.word.fetch_and(!WAITING, Ordering::Relaxed);
    }
}

impl Region<'_> {
    fn take_tasks(&self, thread: usize) {
        while let Some(claimed) = self.claim() {
            (self.run)(claimed, thread);
        }
    }

    /// Neighboring tasks, fewer the fewer are left: threads seldom meet here, and none has much to do
    /// when the others find nothing more.
    fn claim(&self) -> Option<Range<usize>> {
        let mut next = self.next.load(Ordering::Relaxed);
        while next < self.tasks {
            let some = (self.tasks - next).div_ceil(SHARES * self.threads);
            match self.next.compare_exchange_weak(
                next,
                next + some,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(next..next + some),
                Err(now) => next = now,
            }
        }
        None
    }
}

/// A poisoned lock guards nothing that a panic could have left inconsistent.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn run_each(pool: &Pool, tasks: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        pool.run(tasks, &|some, thread| some.for_each(|index| task(index, thread)));
    }

    #[test]
    fn every_task_runs_once_on_a_thread_of_its_own() {
        let pool = Pool::new(3);
        for tasks in [0, 1, 2, 3, 100] {
            for _ in 0..200 {
                let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                let running: Vec<_> = (0..3).map(|_| AtomicBool::new(false)).collect();
                run_each(&pool, tasks, &|index, thread| {
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
            run_each(&pool, 50, &|index, _| assert!(index != 30));
        }));
        assert!(outcome.is_err());
        let done = AtomicUsize::new(0);
        run_each(&pool, 50, &|_, _| {
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
                        run_each(&pool, 7, &|_, _| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 100 * 7);
    }
}
