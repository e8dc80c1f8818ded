//! `attamba-pool [REGIONS] [THREADS]`: many regions on more threads than there are cores.

#[cfg(not(loom))]
fn main() {
    let mut numbers = std::env::args().skip(1).map(|n| n.parse().expect("a number"));
    let regions = numbers.next().unwrap_or(10_000_000);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = numbers.next().unwrap_or(4 * cores);
    let start = std::time::Instant::now();
    let done = attamba_pool::endure(threads, regions);
    assert_eq!(done, (0..regions).map(|region| 1 + region % 5).sum::<usize>());
    let seconds = start.elapsed().as_secs_f64();
    println!("{regions} regions on {threads} threads, {cores} cores: {seconds:.1} s");
}

#[cfg(loom)]
fn main() {}
