//! Failures, and where their messages are kept.

use crate::buffer;
use crate::guard;
use crate::handle;
use crate::status::Status;
use std::cell::RefCell;
use std::ffi::{c_char, c_void};

/// Why a call failed.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(status: Status, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    pub fn argument(message: impl Into<String>) -> Failure {
        Failure::new(Status::Argument, message)
    }
}

impl From<runtime::Error> for Failure {
    fn from(error: runtime::Error) -> Failure {
        Failure::new(Status::from(&error), error.to_string())
    }
}

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Stores the message of a failure for this thread.
pub fn keep(message: &str) {
    // A thread that is ending stores nothing: nobody can ask it.
    let _ = LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        last.clear();
        last.push_str(message);
    });
}

/// The message of the last call that failed: on `handle`, a model, session or snapshot, or with
/// NULL on this thread, whatever the handle. Empty if none has failed. A call that succeeds does
/// not change the message.
///
/// Writes at most `capacity` bytes to `buffer`, including the terminating zero byte, and truncates
/// between characters. `*length`, unless `length` is NULL, gets the length of the whole message in
/// bytes without the zero byte: with `capacity` 0 (and `buffer` NULL) the call only queries it.
///
/// Any thread, at any time, even while a call is in progress.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_error_message(
    handle: *const c_void,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    guard::quiet(|| {
        let message = if handle.is_null() {
            LAST.try_with(|last| last.borrow().clone()).unwrap_or_default()
        } else {
            handle::any(handle.addr())
                .map(|handle| handle.error().read())
                .ok_or_else(handle::closed)?
        };
        // SAFETY: the caller gives a buffer of that capacity, as the header says.
        unsafe { buffer::text(&message, buffer, capacity, length) }
    })
}
