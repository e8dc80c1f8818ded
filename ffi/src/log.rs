//! Log messages of the library, and its version.

use crate::buffer::Terminated;
use crate::guard;
use crate::options::known;
use crate::status::Status;
use log::{LevelFilter, Log, Metadata, Record};
use std::ffi::{c_char, c_void};
use std::sync::{Once, PoisonError, RwLock};

/// Incremented whenever a program that was compiled with the previous header would no longer work.
pub const ABI_VERSION: u32 = 1;

/// The ABI_VERSION that the library was built with. A program should continue only if it equals
/// that of its header.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn attamba_abi_version() -> u32 {
    ABI_VERSION
}

/// The version of the library, such as `0.1.0`, zero-terminated; never freed.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn attamba_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Log levels.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off = 0,
    /// Failures that no call can report.
    Error = 1,
    /// Unexpected, but works.
    Warn = 2,
    /// What was chosen.
    Info = 3,
    /// Details that help to find a bug.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// Receives one message of a level: `bytes` bytes of UTF-8, followed by a zero byte, valid until the
/// function returns. It may be called on any thread, on several at once, and must not call the
/// library.
pub type LogFn =
    Option<unsafe extern "C" fn(user: *mut c_void, level: i32, text: *const c_char, bytes: usize)>;

/// Sends log messages up to a level to `log`, or nowhere if it is NULL or the level is
/// ATTAMBA_LOG_LEVEL_OFF, which is the initial setting. It applies to the whole process; a call in
/// progress may still use the function that was set before.
///
/// Any thread. ATTAMBA_STATUS_ARGUMENT if there is no such level.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_log_set(level: i32, log: LogFn, user: *mut c_void) -> Status {
    static ONCE: Once = Once::new();
    guard::call(|| {
        use LogLevel::{Debug, Error, Info, Off, Trace, Warn};
        let all = [Off, Error, Warn, Info, Debug, Trace];
        let filter = match known("the level", level, all, |level| level as i32)? {
            Off => LevelFilter::Off,
            Error => LevelFilter::Error,
            Warn => LevelFilter::Warn,
            Info => LevelFilter::Info,
            Debug => LevelFilter::Debug,
            Trace => LevelFilter::Trace,
        };
        *CALLER.write().unwrap_or_else(PoisonError::into_inner) = Caller { log, user };
        ONCE.call_once(|| {
            // Fails only if a Rust program has set a logger; then that one gets the messages.
            let _ = log::set_logger(&Forward);
        });
        log::set_max_level(if log.is_some() { filter } else { LevelFilter::Off });
        Ok(())
    })
}

#[derive(Clone, Copy)]
struct Caller {
    log: LogFn,
    user: *mut c_void,
}

// SAFETY: the header asks for a function that may be called on any thread with this pointer.
unsafe impl Send for Caller {}
// SAFETY: as above.
unsafe impl Sync for Caller {}

static CALLER: RwLock<Caller> = RwLock::new(Caller { log: None, user: std::ptr::null_mut() });

struct Forward;

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let caller = *CALLER.read().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = caller.log else { return };
        let text = record.args().to_string();
        let mut terminated = Terminated::default();
        // SAFETY: the function can be called with its `user`, as the header asks.
        unsafe {
            log(caller.user, record.level() as i32, terminated.of(&text), text.len());
        }
    }

    fn flush(&self) {}
}
