//! Sessions in files: saved atomically, and resumed only by the model that they belong to.
//!
//! All numbers are little-endian. A file is
//!
//! | part | bytes |
//! |---|---|
//! | [header](super::header) | 152 |
//! | block tables of all layers, [`Tables::encode`] | |
//! | note: whatever the caller stores with the session | |
//! | logits of the last token, f32; empty if the session had none | |
//! | image of the state, [`Tables::image`] | |
//! | checksum of these four | 8 |
//!
//! Checksums are 64-bit XXH3.

use super::Session;
use super::header::{HEADER, Header, LONGEST_NOTE, MAGIC, damaged};
use crate::cache::Tables;
use crate::engine::{Engine, Geometry};
use crate::error::{Error, Result};
use crate::replace::{Failure, Kind, replace};
use crate::room;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// A chat is its owner's own affair.
pub(super) const SAVED: Kind = Kind { over: Some((&MAGIC, "a saved session")), mode: 0o600 };

impl Session {
    /// Saves the session at `path`, with a `note` of at most 64 MiB that [`Session::resume`]
    /// returns, such as the messages of a chat. An existing file stays intact until the new one is
    /// complete, and is replaced only if it is a saved session, and only by one that can be resumed.
    /// A new one is readable by its owner only; links are followed.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be written or is something else, [`Error::Argument`] if the note is too long,
    /// [`Error::Paused`] while paused.
    pub fn save(&mut self, path: impl AsRef<Path>, note: &[u8]) -> Result<()> {
        self.save_file(path.as_ref(), note).map(drop)
    }

    /// As [`Session::save`]. Returns the file, locked.
    pub(super) fn save_file(&mut self, path: &Path, note: &[u8]) -> Result<File> {
        if note.len() as u64 > LONGEST_NOTE {
            return Err(Error::argument(
                "the note",
                format!("has {} bytes; the maximum is {LONGEST_NOTE}", note.len()),
            ));
        }
        self.fetch_logits()?;
        self.on_any_engine(|session| {
            let pause = session.control.pause.clone();
            let _computing = pause.enter()?;
            session.write(path, note)
        })
    }

    fn write(&mut self, path: &Path, note: &[u8]) -> Result<File> {
        let tables = self.sequence.tables();
        let numbers = tables.encode();
        let logits = self.sequence.logits().unwrap_or_default();
        let header = Header {
            fingerprint: self.engine.model().gguf().fingerprint(),
            geometry: self.geometry.into(),
            near: self.near,
            position: self.position(),
            tables: 8 * numbers.len() as u64,
            note: note.len() as u64,
            logits: 4 * logits.len() as u64,
            image: tables.image_bytes(),
        };
        // What is about to be written is checked like what is read.
        let geometry = header.check(&self.engine)?;
        check_tables(&header, geometry, &self.engine, &numbers)?;
        let logits: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
        replace(path, &SAVED, |out| {
            out.write_all(&header.encode())?;
            let mut summed = Summed { out, sum: Xxh3::new(), bytes: 0, failed: None };
            for number in &numbers {
                summed.write(&number.to_le_bytes())?;
            }
            summed.write(note)?;
            summed.write(&logits)?;
            let exported = self.sequence.export(&mut |piece| {
                summed.write(piece).map_err(|e| {
                    summed.failed = Some(e);
                    Error::Cancelled
                })
            });
            if let Some(e) = summed.failed.take() {
                return Err(e.into());
            }
            exported.map_err(Failure::Other)?;
            let (written, expected) = (HEADER as u64 + summed.bytes + 8, header.file_bytes());
            if written != expected {
                return Err(Failure::Other(Error::saved(
                    "the state",
                    format!("is {written} bytes instead of {expected}"),
                )));
            }
            let sum = summed.sum.digest();
            Ok(summed.out.write_all(&sum.to_le_bytes())?)
        })
    }

    /// Resumes the session that was saved at `path`, on any engine of the same model file, with the
    /// budget that it had. Returns the session and the note.
    ///
    /// [`Error::Io`] if the file can't be read, [`Error::Saved`] if it is not a saved session or is
    /// damaged, [`Error::OtherModel`] if it is of another model, [`Error::OutOfMemory`] if its state does not fit.
    pub fn resume(engine: &Engine, path: impl AsRef<Path>) -> Result<(Session, Vec<u8>)> {
        let path = path.as_ref();
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => damaged("it is truncated"),
            _ => Error::Io { path: path.to_path_buf(), error },
        };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut bytes = [0; HEADER];
        file.read_exact(&mut bytes).map_err(io)?;
        let header = Header::decode(&bytes)?;
        let geometry = header.check(engine)?;
        let expected = header.file_bytes();
        if length != expected {
            return Err(damaged(&format!("it has {length} bytes instead of {expected}")));
        }

        let mut sum = Xxh3::new();
        let mut read = |piece: &mut [u8]| {
            file.read_exact(piece).map_err(io)?;
            sum.update(piece);
            Ok(())
        };
        // The file has as many bytes; a machine may still not have them to spare.
        let what = "what a saved session holds";
        let mut numbers: Vec<u64> = room::zeroed(header.tables as usize / 8, what)?;
        read(bytemuck::cast_slice_mut(&mut numbers))?;
        numbers.iter_mut().for_each(|number| *number = u64::from_le(*number));
        check_tables(&header, geometry, engine, &numbers)?;
        let mut note = room::zeroed(header.note as usize, what)?;
        read(&mut note)?;
        let mut logits: Vec<u32> = room::zeroed(header.logits as usize / 4, what)?;
        read(bytemuck::cast_slice_mut(&mut logits))?;
        logits.iter_mut().for_each(|bits| *bits = u32::from_le(*bits));
        let logits: &[f32] = bytemuck::cast_slice(&logits);
        let mut session = Session::with_geometry(engine, geometry, header.near)?;
        let saved = session.sequence.tables().decode(header.position, &numbers);
        let saved = saved.ok_or_else(wrong_tables)?;
        let logits = (!logits.is_empty()).then_some(logits);
        session.sequence.import(saved, logits, &mut read)?;
        let mut stored = [0; 8];
        file.read_exact(&mut stored).map_err(io)?;
        if u64::from_le_bytes(stored) != sum.digest() {
            return Err(damaged("its contents do not match their checksum"));
        }
        Ok((session, note))
    }
}

/// Whether the block tables of a file can belong to its session.
fn check_tables(
    header: &Header,
    geometry: Geometry,
    engine: &Engine,
    numbers: &[u64],
) -> Result<()> {
    let layout = Arc::new(geometry.layout(engine.model().spec())?);
    let saved = Tables::new(layout, 1)?.decode(header.position, numbers);
    if saved.ok_or_else(wrong_tables)?.image_bytes() != header.image {
        return Err(wrong_tables());
    }
    Ok(())
}

fn wrong_tables() -> Error {
    damaged("its block tables are invalid for such a session")
}

/// Writes, and counts and checksums what it writes.
struct Summed<'a> {
    out: &'a mut dyn Write,
    sum: Xxh3,
    bytes: u64,
    /// Why the export of the state was aborted.
    failed: Option<std::io::Error>,
}

impl Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}
