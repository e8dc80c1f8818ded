//! Results that are written to a caller's memory.

use crate::error::{Failure, Result};
use std::ffi::c_char;

/// Writes `text` and a zero byte, as much as fits, cut between characters.
///
/// # Safety
/// `buffer` has room for `capacity` bytes; `length` is null or points to a number.
pub unsafe fn text(
    text: &str,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<()> {
    if let Some(most) = capacity.checked_sub(1) {
        let mut fits = most.min(text.len());
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        // SAFETY: `fits` and the zero byte are at most `capacity`.
        unsafe {
            let bytes = &text.as_bytes()[..fits];
            slice(bytes, buffer.cast(), capacity, std::ptr::null_mut())?;
            buffer.add(fits).write(0);
        }
    }
    // SAFETY: as the caller guarantees.
    unsafe { result(text.len(), length) };
    Ok(())
}

/// Text followed by a zero byte, for callbacks. The memory is used again.
#[derive(Default)]
pub struct Terminated(Vec<u8>);

impl Terminated {
    /// Valid until the next call.
    pub fn of(&mut self, text: &str) -> *const c_char {
        self.0.clear();
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self.0.as_ptr().cast()
    }
}

/// Writes as many of `values` as fit; `length` gets the total number.
///
/// # Safety
/// `buffer` has room for `capacity` values; `length` is null or points to a number.
pub unsafe fn slice<T: Copy>(
    values: &[T],
    buffer: *mut T,
    capacity: usize,
    length: *mut usize,
) -> Result<()> {
    if capacity > 0 && buffer.is_null() {
        return Err(Failure::argument(format!("the buffer is NULL, its capacity {capacity}")));
    }
    let fits = values.len().min(capacity);
    // SAFETY: `buffer` has room for `capacity`, which is no less than `fits`; `length` is as the
    // caller guarantees.
    unsafe {
        if fits > 0 {
            values.as_ptr().copy_to_nonoverlapping(buffer, fits);
        }
        result(values.len(), length);
    }
    Ok(())
}

/// Writes a result where the caller wants it.
///
/// # Safety
/// `to` is null or points to a place for a `T`.
pub unsafe fn result<T>(value: T, to: *mut T) {
    if !to.is_null() {
        // SAFETY: as the caller guarantees.
        unsafe { to.write(value) };
    }
}
