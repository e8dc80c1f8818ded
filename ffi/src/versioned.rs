//! Structs that grow: callers that were compiled with an older header pass shorter ones, callers
//! with a newer header longer ones.

use crate::error::{Failure, Result};
use std::mem::size_of;

/// A struct that begins with its size as known to the caller.
///
/// # Safety
/// The type is `repr(C)`, begins with a `u32`, is valid for any bits, and has no field that crosses a
/// multiple of 8 bytes, so that a size which is a multiple of 8 holds whole fields only.
pub unsafe trait Versioned: Copy {
    /// What a caller that passes nothing means.
    const DEFAULT: Self;
}

/// The caller's struct: fields that it does not know have their defaults.
///
/// # Safety
/// `from` is null or points to a `u32` and to as many bytes as that says.
pub unsafe fn read<T: Versioned>(from: *const T) -> Result<T> {
    let mut value = T::DEFAULT;
    if from.is_null() {
        return Ok(value);
    }
    // SAFETY: as the caller guarantees. The struct may be shorter than `T`, hence no reference.
    let size = unsafe { size(from) }?;
    let known = size.min(size_of::<T>());
    // SAFETY: `size` bytes are readable, `known` are no more, and any bits are a valid `T`.
    let rest = unsafe {
        from.cast::<u8>().copy_to_nonoverlapping((&raw mut value).cast(), known);
        std::slice::from_raw_parts(from.cast::<u8>().add(known), size - known)
    };
    // A newer caller may leave what this library does not know at zero, which means its default.
    if rest.iter().any(|&byte| byte != 0) {
        return Err(Failure::new(
            crate::status::Status::Unsupported,
            format!(
                "a struct of {size} bytes asks for something newer than this library, which knows \
                 {known}"
            ),
        ));
    }
    Ok(value)
}

/// Writes as much of `value` as the caller's struct has room for.
///
/// # Safety
/// `to` is null or points to a `u32` and to as many writable bytes as that says.
pub unsafe fn write<T: Versioned>(value: T, to: *mut T) -> Result<()> {
    if to.is_null() {
        return Err(Failure::argument("the struct to fill is NULL"));
    }
    // SAFETY: as the caller guarantees.
    let size = unsafe { size(to) }?;
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes of both are there. The first four are the caller's and stay.
    unsafe {
        let from = (&raw const value).cast::<u8>();
        from.add(4).copy_to_nonoverlapping(to.cast::<u8>().add(4), known - 4);
        to.cast::<u8>().add(known).write_bytes(0, size - known);
    }
    Ok(())
}

/// The size that a struct declares, if it is possible.
unsafe fn size<T>(of: *const T) -> Result<usize> {
    /// Far more than any header will ever have.
    const MOST: usize = 4096;
    if !of.is_aligned() {
        return Err(Failure::argument("a struct is not aligned"));
    }
    // SAFETY: a struct begins with its size.
    let size = unsafe { of.cast::<u32>().read() } as usize;
    if size < 8 || !size.is_multiple_of(8) || size > MOST {
        return Err(Failure::argument(format!(
            "struct_size is {size}; set it to sizeof the struct, {} here",
            size_of::<T>()
        )));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Old {
        struct_size: u32,
        a: u32,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct New {
        struct_size: u32,
        a: u32,
        b: u64,
    }

    // SAFETY: both have the form that is asked for.
    unsafe impl Versioned for Old {
        const DEFAULT: Old = Old { struct_size: 8, a: 1 };
    }
    // SAFETY: as above.
    unsafe impl Versioned for New {
        const DEFAULT: New = New { struct_size: 16, a: 1, b: 2 };
    }

    #[test]
    fn older_and_newer_callers_are_understood() {
        let old = Old { struct_size: 8, a: 7 };
        // SAFETY: `old` is as long as it says.
        let read_as_new = unsafe { read((&raw const old).cast::<New>()) };
        // `Old` is aligned to 4 only, `New` to 8; the compiler may place it either way.
        match read_as_new {
            Ok(new) => assert_eq!(new, New { struct_size: 8, a: 7, b: 2 }),
            Err(failure) => assert_eq!(failure.message, "a struct is not aligned"),
        }

        let mut new = New { struct_size: 16, a: 7, b: 0 };
        // SAFETY: `new` is as long as it says, here and below.
        let read_as_old = unsafe { read((&raw const new).cast::<Old>()) };
        assert_eq!(read_as_old.expect("zero is the default").a, 7);
        new.b = 1;
        // SAFETY: as above.
        let refused = unsafe { read((&raw const new).cast::<Old>()) };
        assert_eq!(refused.expect_err("b is set").status, Status::Unsupported);

        // SAFETY: as above.
        unsafe { write(Old { struct_size: 8, a: 9 }, (&raw mut new).cast()) }.expect("it fits");
        assert_eq!(new, New { struct_size: 16, a: 9, b: 0 });
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for struct_size in [0, 4, 12, 8192, u32::MAX] {
            let bad = New { struct_size, a: 0, b: 0 };
            // SAFETY: the size is refused before anything beyond it is read.
            let refused = unsafe { read(&raw const bad) };
            assert_eq!(refused.expect_err("a bad size").status, Status::Argument);
        }
    }
}
