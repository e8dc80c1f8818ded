//! Replacing a file as a whole: whoever looks, at whatever instant, sees the old one or the new one.

use crate::error::{Error, Result};
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

/// Writes the file at `path` by way of a temporary neighbor that reaches the disk before it takes
/// the place of the old file, if there is one.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::result::Result<(), Failure>,
) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let result = (|| {
        let mut builder = tempfile::Builder::new();
        // As of any new file: what the umask leaves of it.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary =
            builder.prefix(".attamba-").tempfile_in(folder.unwrap_or(Path::new(".")))?;
        let mut out = BufWriter::with_capacity(1 << 20, temporary);
        write(&mut out)?;
        let temporary = out.into_inner().map_err(io::Error::from)?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(io::Error::from)?;
        Ok(())
    })();
    result.map_err(|failure| match failure {
        Failure::Io(error) => Error::Io { path: path.to_path_buf(), error },
        Failure::Other(e) => e,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_at_once_each_replace_it_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for byte in 0..4u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..4 {
                        let pieces = |out: &mut dyn Write| {
                            (0..3).try_for_each(|_| out.write_all(&[byte; 1 << 20]))
                        };
                        replace(path, |out| Ok(pieces(out)?)).unwrap();
                        let found = std::fs::read(path).unwrap();
                        assert_eq!(found.len(), 3 << 20);
                        assert!(found.iter().all(|byte| *byte == found[0]));
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_fails_leaves_the_old_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "old").unwrap();
        let failed = replace(&path, |out| {
            out.write_all(b"new")?;
            Err(Failure::Other(Error::Cancelled))
        });
        assert!(matches!(failed, Err(Error::Cancelled)), "{failed:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("none/file");
        assert!(
            matches!(replace(&nowhere, |_| Ok(())), Err(Error::Io { path, .. }) if path == nowhere)
        );
    }
}
