//! A file that a session is saved to again and again, and that belongs to it meanwhile.

use super::Session;
use super::file::SAVED;
use crate::error::{Error, Result};
use crate::replace::{followed, probe, replaceable};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A file that a session is saved to again and again: nobody else claims it meanwhile, so that two
/// chats can't overwrite each other's answers. Released when it is dropped.
#[derive(Debug)]
pub struct Place {
    /// As given.
    path: PathBuf,
    /// Where that leads.
    target: PathBuf,
    /// Locked as long as it is open. `None` while the file is replaced.
    file: Option<File>,
    new: bool,
}

impl Place {
    /// Claims the file at `path`: that of a saved session, or a new one, which exists from here on and
    /// is removed again unless something is saved.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written, if it is something else than a saved session, or if
    /// another program has claimed it.
    pub fn claim(path: impl Into<PathBuf>) -> Result<Place> {
        let path = path.into();
        let io = |error| Error::Io { path: path.clone(), error };
        let target = followed(&path).map_err(io)?;
        // Until the file that is locked is still the one of that name.
        loop {
            let (file, new) = open(&target).map_err(io)?;
            match file.try_lock() {
                // Not every file system has locks.
                Ok(()) | Err(TryLockError::Error(_)) => {}
                Err(TryLockError::WouldBlock) => {
                    let text = "another program saves to it; end that one, or name another file";
                    return Err(io(io::Error::new(io::ErrorKind::ResourceBusy, text)));
                }
            }
            if same(&file, &target) {
                let place = Place { path: path.clone(), target, file: Some(file), new };
                probe(&place.target).map_err(io)?;
                return Ok(place);
            }
        }
    }

    /// The path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing has been saved there.
    pub fn is_new(&self) -> bool {
        self.new
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.new && std::fs::metadata(&self.target).is_ok_and(|found| found.len() == 0) {
            let _ = std::fs::remove_file(&self.target);
        }
    }
}

impl Session {
    /// [`Session::save`] to a claimed file.
    ///
    /// # Errors
    /// As [`Session::save`].
    pub fn save_at(&mut self, place: &mut Place, note: &[u8]) -> Result<()> {
        if cfg!(windows) {
            // A file that is open can't be replaced there.
            place.file = None;
        }
        place.file = Some(self.save_file(&place.target, note)?);
        place.new = false;
        Ok(())
    }
}

/// The file at `path`, and whether it is new.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let old = replaceable(path, &SAVED)?;
    if old.is_none() {
        options.create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, SAVED.mode);
    }
    let file = options.open(path)?;
    let new = file.metadata()?.len() == 0;
    Ok((file, new))
}

/// Whether `file` is still the one at `path`.
fn same(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let of = |found: io::Result<std::fs::Metadata>| found.map(|m| (m.dev(), m.ino())).ok();
        of(file.metadata()) == of(std::fs::metadata(path))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}
