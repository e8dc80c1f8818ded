//! The allocator of the command. When the system refuses memory to code that can't do without, Rust
//! ends a program by a signal; this ends it with a sentence and an exit code, like whatever else goes
//! wrong.

use crate::common::NEEDS_LESS;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// The system's allocator.
pub struct Allocator;

/// From this many bytes on a refusal is returned: states, buffers and copies of files are requested
/// in a way that makes it an error with its own words. Most requests are for a few bytes by code
/// that can't fail.
const LARGE: usize = 2 << 20;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: passed on.
        given(unsafe { System.realloc(memory, layout, size) }, size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn given(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() && bytes < LARGE {
        end(format_args!("{bytes} bytes"));
    }
    memory
}

/// Ends the program because there is no memory for `what`. Allocates nothing, and runs nothing that
/// might.
#[cold]
pub fn end(what: std::fmt::Arguments) -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    // One thread is enough.
    while ENDING.swap(true, Ordering::Relaxed) {
        std::thread::park();
    }
    let mut sentence = [0; 256];
    let mut rest = &mut sentence[..];
    let _ = writeln!(rest, "attamba: out of memory: {what}{NEEDS_LESS}");
    let unused = rest.len();
    let _ = rustix::io::write(std::io::stderr(), &sentence[..sentence.len() - unused]);
    signal_hook::low_level::exit(1)
}
