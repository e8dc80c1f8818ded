//! Where the bytes of a GGUF come from: a read-only memory map, or memory.

use crate::error::{Error, Result};
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;

pub(super) enum Source {
    Map(Mmap),
    Owned(Vec<u8>),
}

impl Source {
    pub(super) fn map(file: &File, offset: u64, length: Option<u64>) -> Result<Source> {
        let io = |source| Error::Io { path: PathBuf::from("(open file)"), source };
        let size = file.metadata().map_err(io)?.len();
        let length = length.unwrap_or(size.saturating_sub(offset));
        let inside = offset.checked_add(length).is_some_and(|end| end <= size);
        if !inside {
            return Err(Error::Gguf(format!(
                "{length} bytes from offset {offset} were asked for, the file has {size}"
            )));
        }
        if length == 0 {
            return Err(Error::Gguf("the file is empty".into()));
        }
        let length = usize::try_from(length).map_err(|_| {
            Error::Gguf(format!("{length} bytes do not fit this machine's address space"))
        })?;
        // SAFETY: the map is private and read-only. Its contents may change under us only if
        // another process rewrites the file, which `Gguf` documents as forbidden.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file) }.map_err(io)?;
        Ok(Source::Map(map))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Source::Map(map) => map,
            Source::Owned(bytes) => bytes,
        }
    }

    /// Drops the resident pages that lie wholly inside `range`.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Source::Map(map) = self {
            // The largest page in use on the supported systems (Apple, Android) is 16 KiB.
            const PAGE: usize = 16 << 10;
            let base = map.as_ptr() as usize;
            let start = (base + range.start).next_multiple_of(PAGE);
            let end = (base + range.end) / PAGE * PAGE;
            if start < end {
                // SAFETY: a private read-only file map never loses data by DONTNEED: the pages
                // are read from the file again.
                let advised = unsafe {
                    map.unchecked_advise_range(
                        memmap2::UncheckedAdvice::DontNeed,
                        start - base,
                        end - start,
                    )
                };
                if let Err(e) = advised {
                    log::debug!("releasing pages of the model file: {e}");
                }
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}
