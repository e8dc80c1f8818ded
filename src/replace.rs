//! Replacing a file as a whole: whoever looks, at whatever instant, sees the old one or the new one.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// What writing can fail with: the file's trouble, which gets the file's name, or the caller's own.
pub(crate) enum Failure {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        Failure::Io(e)
    }
}

/// Writes the file at `path` by way of a temporary neighbour that reaches the disk before it takes
/// the place of the old file, if there is one.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::result::Result<(), Failure>,
) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let result = (|| {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
        write(&mut out)?;
        out.into_inner().map_err(io::Error::from)?.sync_all()?;
        Ok(std::fs::rename(&temporary, path)?)
    })();
    result.map_err(|failure| {
        // The half-written neighbour is of no use; that it can't be removed changes nothing.
        let _ = std::fs::remove_file(&temporary);
        match failure {
            Failure::Io(source) => Error::Io { path: path.to_path_buf(), source },
            Failure::Other(e) => e,
        }
    })
}
