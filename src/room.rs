//! Room for what a file, an option or a caller sizes: the system may refuse it, which is an error, not
//! the end of the process.

use crate::error::{Error, Result};
use bytemuck::Zeroable;

/// `len` zeros; `what` they are for is named in the error.
pub(crate) fn zeroed<T: Zeroable>(len: usize, what: &'static str) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| refused::<T>(len, what))
}

/// An empty list with room for exactly `len` values.
pub(crate) fn list<T>(len: usize, what: &'static str) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(len).map_err(|_| refused::<T>(len, what))?;
    Ok(list)
}

/// Makes `list` `len` zeros, in the memory that it has if that is enough.
#[cfg(feature = "gpu")]
pub(crate) fn refill<T: Zeroable + Clone>(
    list: &mut Vec<T>,
    len: usize,
    what: &'static str,
) -> Result<()> {
    list.clear();
    list.try_reserve_exact(len).map_err(|_| refused::<T>(len, what))?;
    list.resize(len, T::zeroed());
    Ok(())
}

/// A copy of `values`.
pub(crate) fn copy<T: Copy>(values: &[T], what: &'static str) -> Result<Vec<T>> {
    let mut copy = list(values.len(), what)?;
    copy.extend_from_slice(values);
    Ok(copy)
}

/// Threads out of `wanted` with stacks of `stack` bytes that there is room for. A thread that gets a
/// stack and not another byte would be ended by the C library, and the process with it.
pub(crate) fn threads(wanted: usize, stack: usize) -> usize {
    let each = stack.saturating_add(1 << 20);
    let fit = |n: &usize| memmap2::MmapMut::map_anon(each.saturating_mul(*n)).is_ok();
    (1..=wanted).rev().find(fit).unwrap_or(0)
}

/// The error for `len` values.
#[cold]
#[inline(never)]
pub(crate) fn refused<T>(len: usize, what: &'static str) -> Error {
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    Error::OutOfMemory { bytes, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_a_thread_but_not_for_all_of_memory() {
        assert_eq!(threads(2, 1 << 20), 2);
        assert_eq!(threads(3, usize::MAX / 2), 0);
        assert_eq!(threads(0, 1), 0);
    }

    #[test]
    fn what_no_machine_has_is_refused_with_its_bytes() {
        let far = usize::MAX / 16;
        // A list that nobody looks at need not be allocated at all.
        let used = |list: Vec<u64>| drop(std::hint::black_box(list));
        for refused in [
            zeroed(far, "zeros").map(used),
            list(far, "zeros").map(used),
            zeroed(usize::MAX, "zeros").map(used),
        ] {
            let Err(Error::OutOfMemory { bytes, what: "zeros" }) = refused else {
                panic!("{refused:?}")
            };
            assert!(bytes >= 8 * far as u64);
        }
        assert_eq!(zeroed::<u32>(3, "zeros").unwrap(), [0; 3]);
        assert_eq!(copy(&[1, 2], "numbers").unwrap(), [1, 2]);
    }
}
