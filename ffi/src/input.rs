//! Arguments that are read from a caller's memory.

use crate::error::{Failure, Result};
use std::ffi::{CStr, c_char};
use std::path::PathBuf;

/// A slice of `length` values; empty where `from` is null and `length` 0.
///
/// # Safety
/// `from` points to `length` values that nobody changes during the call.
pub unsafe fn slice<'a, T>(from: *const T, length: usize, what: &str) -> Result<&'a [T]> {
    if length == 0 {
        return Ok(&[]);
    }
    if from.is_null() {
        return Err(Failure::argument(format!("{what} is NULL, its length {length}")));
    }
    if length > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::argument(format!("{what} has length {length}")));
    }
    // SAFETY: as the caller guarantees.
    Ok(unsafe { std::slice::from_raw_parts(from, length) })
}

/// Text of `length` bytes.
///
/// # Safety
/// As [`slice`].
pub unsafe fn text<'a>(from: *const c_char, length: usize, what: &str) -> Result<&'a str> {
    // SAFETY: as the caller guarantees.
    let bytes = unsafe { slice(from.cast::<u8>(), length, what) }?;
    std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        Failure::argument(format!("{what} is not UTF-8: the byte at {at} is out of place"))
    })
}

/// A path that ends with a zero byte.
///
/// # Safety
/// `from` is null or points to bytes that end with a zero byte.
pub unsafe fn path(from: *const c_char) -> Result<PathBuf> {
    if from.is_null() {
        return Err(Failure::argument("the path is NULL"));
    }
    // SAFETY: as the caller guarantees.
    let bytes = unsafe { CStr::from_ptr(from) };
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(std::ffi::OsStr::from_bytes(bytes.to_bytes()).into())
    }
    #[cfg(not(unix))]
    {
        let text = bytes.to_str().map_err(|_| Failure::argument("the path is not UTF-8"))?;
        Ok(text.into())
    }
}

/// A name that ends with a zero byte, if there is one.
///
/// # Safety
/// As [`path`].
pub unsafe fn name(from: *const c_char, what: &str) -> Result<Option<String>> {
    if from.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller guarantees.
    let bytes = unsafe { CStr::from_ptr(from) };
    let name = bytes.to_str().map_err(|_| Failure::argument(format!("{what} is not UTF-8")))?;
    Ok(Some(name.to_owned()))
}

/// `count` texts that each end with a zero byte; NULL entries are left out.
///
/// # Safety
/// As [`slice`], and each entry as [`name`].
pub unsafe fn names(from: *const *const c_char, count: usize, what: &str) -> Result<Vec<String>> {
    // SAFETY: as the caller guarantees.
    let texts = unsafe { slice(from, count, what) }?;
    // SAFETY: as above.
    let texts = texts.iter().map(|&text| unsafe { name(text, what) });
    Ok(texts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// A number that C passes as a boolean.
pub fn boolean(value: i32) -> bool {
    value != 0
}
