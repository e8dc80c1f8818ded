//! Replacing a file as a whole: whoever looks, at whatever instant, sees the old one or the new one.

use crate::error::{Error, Result};
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

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

/// What is written: which files it may replace, and who may read it if it is new.
pub(crate) struct Kind {
    /// How a file begins that may be replaced, unless any file may. An empty one has nothing to lose.
    pub over: Option<(&'static [u8], &'static str)>,
    /// Permissions of a new file on Unix, before the umask.
    pub mode: u32,
}

/// The names of temporary files begin and end with these; what is between can't be guessed.
const TEMPORARY: (&str, &str) = (".attamba-", ".tmp");

/// Writes the file at `path` by way of a temporary neighbor that reaches the disk before it takes
/// the place of the old file, if there is one. Links are followed, permissions are kept, and what is
/// no regular file is refused. Returns the new file, locked.
///
/// Neighbors that earlier processes left behind are removed: a temporary file is locked as long as
/// somebody writes it.
pub(crate) fn replace(
    path: &Path,
    kind: &Kind,
    write: impl FnOnce(&mut dyn Write) -> std::result::Result<(), Failure>,
) -> Result<File> {
    let result = (|| {
        let target = followed(path)?;
        let old = replaceable(&target, kind)?;
        let folder = folder(&target);
        remove_left(folder);
        let mode = if old.is_some() { 0o600 } else { kind.mode };
        let mut out = BufWriter::with_capacity(1 << 20, temporary(folder, mode)?);
        write(&mut out)?;
        let temporary = out.into_inner().map_err(io::Error::from)?;
        if let Some(permissions) = old {
            temporary.as_file().set_permissions(permissions)?;
        }
        temporary.as_file().sync_all()?;
        Ok(temporary.persist(&target).map_err(io::Error::from)?)
    })();
    result.map_err(|failure| match failure {
        Failure::Io(error) => Error::Io { path: path.to_path_buf(), error: unnamed(error) },
        Failure::Other(e) => e,
    })
}

/// Where `path` leads, over links, whether or not there is a file.
pub(crate) fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    // As many as Linux follows.
    for _ in 0..40 {
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let next = std::fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(next);
            }
            _ => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

/// The permissions of the file at `path`; an error if it may not be replaced.
pub(crate) fn replaceable(path: &Path, kind: &Kind) -> io::Result<Option<Permissions>> {
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if let Some((magic, what)) = kind.over
        && found.len() > 0
    {
        let mut start = Vec::new();
        File::open(path)?.take(magic.len() as u64).read_to_end(&mut start)?;
        if start != magic {
            let text = format!("it exists and is not {what}; name another file");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
    }
    Ok(Some(found.permissions()))
}

/// Whether the file at `target` can be replaced where it is.
pub(crate) fn probe(target: &Path) -> io::Result<()> {
    temporary(folder(target), 0o600).map(drop).map_err(unnamed)
}

/// Without the name of a temporary file, which `tempfile` adds and nobody has heard of.
fn unnamed(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path \"") {
        Some((text, _)) => io::Error::new(error.kind(), text),
        None => error,
    }
}

fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A new, locked temporary file in `folder`.
fn temporary(folder: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    let _ = mode;
    loop {
        let file =
            builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1).rand_bytes(12).tempfile_in(folder)?;
        // Where files can't be locked nobody takes one for left behind either.
        let _ = file.as_file().lock();
        // Unless somebody took it for one before it was locked.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes the temporary files in `folder` that nobody writes any more.
fn remove_left(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours =
            name.to_str().is_some_and(|n| n.starts_with(TEMPORARY.0) && n.ends_with(TEMPORARY.1));
        if ours
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            log::info!("removing {}, which was left behind", entry.path().display());
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Kind = Kind { over: None, mode: 0o666 };
    const MARKED: Kind = Kind { over: Some((b"MARK", "a marked file")), mode: 0o600 };

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
                        replace(path, &ANY, |out| Ok(pieces(out)?)).unwrap();
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
        let failed = replace(&path, &ANY, |out| {
            out.write_all(b"new")?;
            Err(Failure::Other(Error::Cancelled))
        });
        assert!(matches!(failed, Err(Error::Cancelled)), "{failed:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("none/file");
        let failed = replace(&nowhere, &ANY, |_| Ok(())).unwrap_err();
        assert!(matches!(&failed, Error::Io { path, .. } if *path == nowhere));
        assert!(!failed.to_string().contains(TEMPORARY.0), "{failed}");
    }

    #[test]
    fn only_files_of_its_kind_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let write = || replace(&path, &MARKED, |out| Ok(out.write_all(b"MARKnew")?));
        for (old, replaced) in [("precious", false), ("MAR", false), ("", true), ("MARKold", true)]
        {
            std::fs::write(&path, old).unwrap();
            assert_eq!(write().is_ok(), replaced, "{old}");
            let now = std::fs::read_to_string(&path).unwrap();
            assert_eq!(now, if replaced { "MARKnew" } else { old });
        }
        let other = replace(folder.path(), &ANY, |_| Ok(()));
        assert!(other.unwrap_err().to_string().contains("not a regular file"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_others_left_behind_is_removed_and_what_they_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [".attamba-left.tmp", ".attamba-notes", "left.tmp"] {
            std::fs::write(at(name), "x").unwrap();
        }
        let written = temporary(folder.path(), 0o600).unwrap();
        replace(&at("file"), &ANY, |_| Ok(())).unwrap();
        assert!(written.path().exists());
        for (name, stays) in
            [(".attamba-left.tmp", false), (".attamba-notes", true), ("left.tmp", true)]
        {
            assert_eq!(at(name).exists(), stays, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_permissions_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mode = |name: &str| at(name).metadata().unwrap().permissions().mode() & 0o777;
        let write = |name: &str| replace(&at(name), &MARKED, |out| Ok(out.write_all(b"MARK")?));
        symlink("deeper", at("link")).unwrap();
        symlink("file", at("deeper")).unwrap();
        write("link").unwrap();
        assert!(at("link").is_symlink() && at("deeper").is_symlink());
        assert_eq!(mode("file"), 0o600);
        std::fs::set_permissions(at("file"), Permissions::from_mode(0o640)).unwrap();
        write("link").unwrap();
        assert_eq!((mode("file"), std::fs::read(at("file")).unwrap()), (0o640, b"MARK".to_vec()));
        symlink("circle", at("circle")).unwrap();
        write("circle").unwrap_err();
    }
}
