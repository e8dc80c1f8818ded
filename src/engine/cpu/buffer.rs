//! Fixed buffers, allocated once, to which the threads of a parallel region write in disjoint
//! parts.

use crate::error::Result;
use crate::room;
use bytemuck::Pod;
use memmap2::MmapMut;
use std::ptr::NonNull;

/// `len` values, initially zero.
pub(super) struct Buffer<T: Pod> {
    start: NonNull<T>,
    len: usize,
    /// The pages that the values are in; those of a small buffer are in a box.
    pages: Option<MmapMut>,
}

/// From this many bytes on a buffer has pages of its own, which the system gets back as soon as the
/// session is closed. An allocator may keep them for long. At least four pages, so that little is
/// lost to their ends: they have 16 KiB on Apple's systems, and may have on Android.
const OWN_PAGES: usize =
    if cfg!(any(target_vendor = "apple", target_os = "android")) { 64 << 10 } else { 16 << 10 };

// SAFETY: a buffer owns plain data; what threads do with its parts is the contract of `part`.
unsafe impl<T: Pod + Send> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Pod + Send> Sync for Buffer<T> {}

impl<T: Pod> Buffer<T> {
    /// Room for `len` values; `what` they are for is named in the out-of-memory error.
    pub fn new(len: usize, what: &'static str) -> Result<Buffer<T>> {
        let bytes = len.checked_mul(size_of::<T>());
        if let Some(bytes @ OWN_PAGES..) = bytes {
            let refused = |_| room::refused::<T>(len, what);
            let mut pages = MmapMut::map_anon(bytes).map_err(refused)?;
            // Pages are aligned for every type of values.
            let start = NonNull::from(bytemuck::cast_slice_mut::<u8, T>(&mut pages)).cast();
            return Ok(Buffer { start, len, pages: Some(pages) });
        }
        let values = room::zeroed::<T>(len, what)?.into_boxed_slice();
        let start = NonNull::from(Box::leak(values)).cast();
        Ok(Buffer { start, len, pages: None })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// Keeps the first `len` values and frees the memory of the others.
    pub fn truncate(&mut self, len: usize) {
        if self.pages.is_some() {
            self.drop_pages(len);
            return;
        }
        let values = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
        // SAFETY: the pointer came from a box of this length in `new` or here; the new one takes
        // its place below.
        let mut values = unsafe { Box::from_raw(values) }.into_vec();
        values.truncate(len);
        let values = values.into_boxed_slice();
        self.len = values.len();
        self.start = NonNull::from(Box::leak(values)).cast();
    }

    /// The same for a buffer with pages of its own, which it keeps in part: whole pages after the
    /// first `len` values go.
    fn drop_pages(&mut self, len: usize) {
        let (Some(pages), true) = (&self.pages, len < self.len) else { return };
        self.len = len;
        #[cfg(unix)]
        {
            // As large as any system's.
            let from = (len * size_of::<T>()).next_multiple_of(64 << 10);
            let Some(bytes) = pages.len().checked_sub(from).filter(|&bytes| bytes > 0) else {
                return;
            };
            // SAFETY: nobody reads these pages again: the values in them are no longer the buffer's.
            let gone = unsafe {
                pages.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, from, bytes)
            };
            if let Err(e) = gone {
                log::debug!("releasing pages of a session: {e}");
            }
        }
        #[cfg(not(unix))]
        let _ = pages;
    }

    /// All the values, for a single writer.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the buffer owns its values, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// A pointer to `len` values from `start` on. For values that are not contiguous, and for those
    /// that several threads look at: unlike a slice, a pointer makes no aliasing claims.
    #[track_caller]
    #[inline]
    pub fn at(&self, start: usize, len: usize) -> *mut T {
        self.check(start, len);
        self.start.as_ptr().wrapping_add(start)
    }

    /// `len` values from `start` on, to read.
    ///
    /// # Safety
    /// Nobody writes them meanwhile.
    pub unsafe fn read(&self, start: usize, len: usize) -> &[T] {
        // SAFETY: in bounds, and unwritten by contract.
        unsafe { std::slice::from_raw_parts(self.at(start, len), len) }
    }

    /// `len` values from `start` on, to write.
    ///
    /// # Safety
    /// Nobody else reads or writes them meanwhile.
    #[allow(clippy::mut_from_ref, reason = "disjoint parts for the threads of a region")]
    pub unsafe fn write(&self, start: usize, len: usize) -> &mut [T] {
        // SAFETY: in bounds, and untouched by others by contract.
        unsafe { std::slice::from_raw_parts_mut(self.at(start, len), len) }
    }

    #[track_caller]
    #[inline]
    fn check(&self, start: usize, len: usize) {
        let inside = start.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} values from {start} on in a buffer of {}", self.len);
    }
}

impl<T: Pod> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.pages.is_some() {
            return;
        }
        let values = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
        // SAFETY: the pointer came from a box of this length in `new`.
        drop(unsafe { Box::from_raw(values) });
    }
}
