//! Where the bytes of a GGUF come from: a read-only map of the file, or memory.

use crate::error::{Error, Result};
use memmap2::{Mmap, MmapMut, MmapOptions};
use std::fs::{File, FileType};
use std::io;
use std::ops::Range;
use std::path::PathBuf;

pub(super) enum Source {
    /// Pages of the file, which the system may drop and read again.
    Map(Mmap),
    /// A copy of the file, aligned to pages.
    Copy(Mmap),
    /// Bytes that the caller already had in memory.
    Owned(Vec<u8>),
}

impl Source {
    /// Maps a part of the file.
    ///
    /// # Safety
    /// Nobody may change that part of the file while the map lives.
    pub(super) unsafe fn map(file: &File, offset: u64, length: Option<u64>) -> Result<Source> {
        let length = part(file, offset, length)?;
        // SAFETY: the map is shared with the file, which by contract nobody changes.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file) };
        Ok(Source::Map(map.map_err(failed)?))
    }

    /// Reads a part of the file into memory.
    pub(super) fn read(
        file: &File,
        offset: u64,
        length: Option<u64>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Source> {
        const PIECE: usize = 4 << 20;
        let length = part(file, offset, length)?;
        // Anonymous pages: aligned for every kernel, and running out of them is an error, not an
        // abort.
        let mut bytes = MmapMut::map_anon(length)
            .map_err(|_| Error::OutOfMemory { bytes: length as u64, what: "the model file" })?;
        let mut done = 0;
        for piece in bytes.chunks_mut(PIECE) {
            read_exact_at(file, piece, offset + done).map_err(failed)?;
            done += piece.len() as u64;
            if !progress(done, length as u64) {
                return Err(Error::Cancelled);
            }
        }
        Ok(Source::Copy(bytes.make_read_only().map_err(failed)?))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Source::Map(map) | Source::Copy(map) => map,
            Source::Owned(bytes) => bytes,
        }
    }

    /// Drops the resident pages of the file that lie wholly inside `range`, if the file is mapped.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Source::Map(map) = self {
            let pages = whole_pages(map.as_ptr() as usize, map.len(), range);
            if pages.is_empty() {
                return;
            }
            // SAFETY: within the map, which is read-only and of a file: a page that is dropped is
            // read from the file again, which by contract has not changed.
            let advised = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    pages.start,
                    pages.len(),
                )
            };
            if let Err(e) = advised {
                log::debug!("releasing pages of the model file: {e}");
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// Resolves `length` (by default all) bytes from `offset` on, which the file must have.
fn part(file: &File, offset: u64, length: Option<u64>) -> Result<usize> {
    let metadata = file.metadata().map_err(failed)?;
    if let Some(kind) = other_kind(metadata.file_type()) {
        return Err(Error::gguf("the file", format!("is {kind}")));
    }
    let size = metadata.len();
    let length = length.unwrap_or(size.saturating_sub(offset));
    let inside = offset.checked_add(length).is_some_and(|end| end <= size);
    if !inside {
        return Err(Error::gguf(
            format!("{length} bytes from offset {offset}"),
            format!("were requested, the file has {size}"),
        ));
    }
    if length == 0 {
        return Err(Error::gguf("the file", "is empty"));
    }
    // No Rust object may be larger than isize::MAX.
    match isize::try_from(length) {
        Ok(length) => Ok(length.unsigned_abs()),
        Err(_) => Err(Error::gguf(
            "the file",
            format!("of {length} bytes does not fit this machine's address space"),
        )),
    }
}

/// What it is, if not a file that has bytes in places.
pub(super) fn other_kind(kind: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
    }
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => None,
        (_, true) => Some("a directory"),
        _ => Some("a device"),
    }
}

fn failed(source: io::Error) -> Error {
    Error::Io { path: PathBuf::from("(open file)"), error: source }
}

/// Does not touch the file's position, which others may share.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

/// The part of `range` that covers whole pages, given `length` bytes mapped at the address `base`.
#[cfg(unix)]
fn whole_pages(base: usize, length: usize, range: Range<usize>) -> Range<usize> {
    // The largest page size in use on the supported systems (Apple, Android) is 16 KiB.
    const PAGE: usize = 16 << 10;
    let place = |at: usize| base + at.min(length);
    let start = place(range.start).next_multiple_of(PAGE) - base;
    let end = (place(range.end) / PAGE * PAGE).saturating_sub(base);
    start..end.max(start)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_whole_pages_inside_the_map_are_released(
            base in 0..1usize << 40,
            length in 1..1usize << 20,
            start in prop_oneof![0..1usize << 21, Just(usize::MAX)],
            end in prop_oneof![0..1usize << 21, Just(usize::MAX)],
        ) {
            let pages = whole_pages(base, length, start..end);
            if !pages.is_empty() {
                prop_assert!(pages.start >= start && pages.end <= end && pages.end <= length);
                prop_assert_eq!((base + pages.start) % (16 << 10), 0);
                prop_assert_eq!(pages.len() % (16 << 10), 0);
            }
        }
    }
}
