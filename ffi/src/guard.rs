//! What every exported function goes through.

use crate::error::{self, Failure, Result};
use crate::handle::{Handle, Table};
use crate::status::Status;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs `body`; a failure's message is kept for this thread.
pub fn call(body: impl FnOnce() -> Result<()>) -> Status {
    match catching(body) {
        Ok(()) => Status::Ok,
        Err(failure) => {
            error::keep(&failure.message);
            failure.status
        }
    }
}

/// Runs `body` with the object of `handle`; a failure's message is kept there too.
pub fn on<T: Handle>(
    table: &Table<T>,
    handle: *const T::Opaque,
    body: impl FnOnce(&Arc<T>) -> Result<()>,
) -> Status {
    call(|| {
        let object = table.find(handle.addr())?;
        let result = catching(|| body(&object));
        if let Err(failure) = &result {
            object.error().keep(&failure.message);
        }
        result
    })
}

/// Like [`call`], but keeps no message: for the call that queries one.
pub fn quiet(body: impl FnOnce() -> Result<()>) -> Status {
    catching(body).map_or_else(|failure| failure.status, |()| Status::Ok)
}

/// A panic is a bug in this library. It must not unwind into a caller's frames, which are not
/// Rust's. What it leaves half done is behind a lock that the panic has poisoned, and is not
/// touched again.
fn catching(body: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = (panic.downcast_ref::<&str>().copied())
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let message = format!("a bug in the library: {text}");
        // Dropping what was thrown may throw again.
        std::mem::forget(panic);
        Err(Failure::new(Status::Internal, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_with_its_message() {
        let status = call(|| panic!("number {}", 7));
        assert_eq!(status, Status::Internal);
        let Err(failure) = catching(|| panic!("plain")) else { panic!("it was not caught") };
        assert_eq!(failure.message, "a bug in the library: plain");
    }
}
