//! Time and memory of loading a model's tokenizer, and the speed of encoding with it:
//!
//!     cargo run --release --example vocabulary -- MODEL [TEXT]
//!
//! The time is the least of ten loads. The memory is what the tokenizer holds, and what loading it
//! takes at its peak, both counted by the allocator; the map of the file is not part of either.

use attamba::gguf::Gguf;
use attamba::text::Tokenizer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(used, Relaxed);
        // SAFETY: as the caller guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller guarantees.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let model = arguments.next().ok_or("usage: vocabulary MODEL [TEXT]")?;
    let text = match arguments.next() {
        Some(path) => std::fs::read_to_string(path)?,
        None => include_str!("../spec/architecture.md").repeat(20),
    };
    // SAFETY: nobody writes to the file meanwhile.
    let gguf = unsafe { Gguf::map(&model) }?;

    let mut best = Duration::MAX;
    for _ in 0..9 {
        let start = Instant::now();
        Tokenizer::from_gguf(&gguf)?;
        best = best.min(start.elapsed());
    }
    let before = USED.load(Relaxed);
    PEAK.store(before, Relaxed);
    let start = Instant::now();
    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    best = best.min(start.elapsed());
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    let (held, peak) = (USED.load(Relaxed) - before, PEAK.load(Relaxed) - before);

    let start = Instant::now();
    let tokens = tokenizer.encode(&text, false)?.len();
    let speed = megabytes(text.len()) / start.elapsed().as_secs_f64();
    println!("{} entries", tokenizer.vocab_size());
    println!("loaded in {:.1} ms", best.as_secs_f64() * 1e3);
    println!("{:.1} MB, {:.1} MB while loading", megabytes(held), megabytes(peak));
    println!("{} bytes to {tokens} tokens, {speed:.1} MB per second", text.len());
    Ok(())
}
