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
        let fits = text.floor_char_boundary(most.min(text.len()));
        // SAFETY: `fits` and the zero byte are at most `capacity`.
        unsafe {
            let bytes = &text.as_bytes()[..fits];
            slice(bytes, buffer.cast(), capacity, std::ptr::null_mut())?;
            buffer.add(fits).write(0);
        }
    }
    set_length(length, text.len());
    Ok(())
}

/// Writes as many of `values` as fit; `length` gets the number of all.
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
    // SAFETY: `buffer` has room for `capacity`, which is no less than `fits`.
    unsafe { values.as_ptr().copy_to_nonoverlapping(buffer, fits) };
    set_length(length, values.len());
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

fn set_length(length: *mut usize, value: usize) {
    // SAFETY: both callers above ask for it.
    unsafe { result(value, length) };
}
