//! Sessions in files: saved as a whole or not at all, and taken up again only by the model that
//! they are of.
//!
//! All numbers are little-endian. A file is
//!
//! | part | bytes |
//! |---|---|
//! | magic `attamba` and a zero byte | 8 |
//! | version, 3 | 8 |
//! | fingerprint of the model | 16 |
//! | chunk, window, ring; 0, 1, 2 for keys and values in f32, f16, int8; 0, 1 for drop, thin | 5 × 8 |
//! | position | 8 |
//! | length of the tables, of the note, of the logits, of the image, in bytes | 4 × 8 |
//! | checksum of all so far | 8 |
//! | block tables of all layers, [`Tables::encode`] | |
//! | note: whatever the caller keeps with the session | |
//! | logits of the last token, f32 | |
//! | image of the state, [`Tables::image`] | |
//! | checksum of the four | 8 |
//!
//! Checksums are XXH3 of 64 bits.

use super::{Eviction, MOST_CHUNK, MOST_WINDOW, Session};
use crate::cache::Tables;
use crate::engine::{Engine, Geometry, KvType};
use crate::error::{Error, Result};
use crate::replace::{Failure, replace};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const MAGIC: [u8; 8] = *b"attamba\0";
const VERSION: u64 = 3;
/// Magic, version, fingerprint and ten numbers; the checksum follows.
const HEADER: usize = 8 + 8 + 16 + 8 * NUMBERS;
const NUMBERS: usize = 10;
/// A note is a chat, not a library: more is taken for damage before memory is asked for.
const LONGEST_NOTE: u64 = 64 << 20;
/// At a million tokens a second no session of this century gets there; sums stay far from 64 bits.
const FARTHEST: u64 = 1 << 56;

/// What a file says of itself.
struct Header {
    fingerprint: u128,
    chunk: u64,
    window: u64,
    ring: u64,
    kv: u64,
    eviction: u64,
    position: u64,
    tables: u64,
    note: u64,
    logits: u64,
    image: u64,
}

impl Header {
    fn numbers(&self) -> [u64; NUMBERS] {
        let Header { chunk, window, ring, kv, eviction, position, .. } = *self;
        let Header { tables, note, logits, image, .. } = *self;
        [chunk, window, ring, kv, eviction, position, tables, note, logits, image]
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 8);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.fingerprint.to_le_bytes());
        bytes.extend(self.numbers().iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER + 8]) -> Result<Header> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        if bytes[..8] != MAGIC {
            return Err(Error::Saved("this is no saved session: it begins otherwise".into()));
        }
        if word(8) != VERSION {
            let version = word(8);
            return Err(Error::Saved(format!("version {version}; this runtime reads {VERSION}")));
        }
        if word(HEADER) != xxh3_64(&bytes[..HEADER]) {
            return Err(damaged("its header does not have the checksum that it names"));
        }
        let number = |i: usize| word(32 + 8 * i);
        Ok(Header {
            fingerprint: u128::from(word(16)) | u128::from(word(24)) << 64,
            chunk: number(0),
            window: number(1),
            ring: number(2),
            kv: number(3),
            eviction: number(4),
            position: number(5),
            tables: number(6),
            note: number(7),
            logits: number(8),
            image: number(9),
        })
    }

    /// The geometry, if the file can be of this model.
    fn check(&self, engine: &dyn Engine) -> Result<Geometry> {
        let model = engine.model();
        let spec = model.spec();
        if self.fingerprint != model.gguf().fingerprint() {
            return Err(Error::Saved(format!(
                "it is of another model than {}; only the file that it was made with can go on \
                 from it",
                model.name()
            )));
        }
        let size = |n: u64, most: usize, what: &str| match usize::try_from(n) {
            Ok(n) if n <= most => Ok(n),
            _ => Err(damaged(&format!("{n} {what}"))),
        };
        let geometry = Geometry {
            ring: size(self.ring, usize::MAX, "chunk states")?,
            window: size(self.window, MOST_WINDOW, "tokens in the window")?,
            chunk: size(self.chunk, MOST_CHUNK, "tokens in a chunk")?.max(1),
            kv: *[KvType::F32, KvType::F16, KvType::I8]
                .get(size(self.kv, 2, "as the type of keys and values")?)
                .unwrap_or(&KvType::F32),
            eviction: *Eviction::ALL
                .get(size(self.eviction, Eviction::ALL.len() - 1, "as the eviction policy")?)
                .unwrap_or(&Eviction::Drop),
        };
        if self.position > FARTHEST {
            return Err(damaged(&format!("position {}", self.position)));
        }
        let tables = geometry.layout(spec)?.most_numbers(self.position).saturating_mul(8);
        let logits = if self.position == 0 { 0 } else { 4 * spec.vocab as u64 };
        if self.tables > tables
            || !self.tables.is_multiple_of(8)
            || self.logits != logits
            || self.note > LONGEST_NOTE
            || self.image > geometry.state_bytes(spec)
        {
            return Err(damaged(&format!(
                "{} bytes of block tables, {} of logits, {} of note and {} of state where at most {tables}, \
                 {logits}, at most {LONGEST_NOTE} and at most {} belong",
                self.tables,
                self.logits,
                self.note,
                self.image,
                geometry.state_bytes(spec)
            )));
        }
        Ok(geometry)
    }
}

impl Session {
    /// Saves the session at `path`, with a `note` of at most 64 MiB that [`Session::resume`] gives
    /// back: the messages of a chat, say. The file that was there stays whole until the new one is.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be written, [`Error::Argument`] if the note is too long,
    /// [`Error::Paused`] while paused.
    pub fn save(&mut self, path: &Path, note: &[u8]) -> Result<()> {
        if note.len() as u64 > LONGEST_NOTE {
            return Err(Error::Argument(format!(
                "a note of {} bytes is to be saved; {LONGEST_NOTE} are the most",
                note.len()
            )));
        }
        self.fetch_logits()?;
        let tables = self.state.tables();
        let numbers: Vec<u8> = tables.encode().iter().flat_map(|n| n.to_le_bytes()).collect();
        let Geometry { ring, window, chunk, kv, eviction } = self.geometry;
        let header = Header {
            fingerprint: self.engine.model().gguf().fingerprint(),
            chunk: chunk as u64,
            window: window as u64,
            ring: ring as u64,
            kv: match kv {
                KvType::F32 => 0,
                KvType::F16 => 1,
                KvType::I8 => 2,
            },
            eviction: Eviction::ALL.iter().position(|e| *e == eviction).unwrap_or(0) as u64,
            position: self.position(),
            tables: numbers.len() as u64,
            note: note.len() as u64,
            logits: 4 * self.logits.len() as u64,
            image: tables.image_bytes(),
        };
        let _computing = self.pause.enter()?;
        replace(path, |out| {
            out.write_all(&header.encode())?;
            let mut summed = Summed { out, sum: Xxh3::new(), failed: None };
            summed.write(&numbers)?;
            summed.write(note)?;
            for logit in &self.logits {
                summed.write(&logit.to_le_bytes())?;
            }
            let exported = self.state.export(&mut |piece| {
                summed.write(piece).map_err(|e| {
                    summed.failed = Some(e);
                    Error::Cancelled
                })
            });
            if let Some(e) = summed.failed.take() {
                return Err(e.into());
            }
            exported.map_err(Failure::Other)?;
            let sum = summed.sum.digest();
            Ok(summed.out.write_all(&sum.to_le_bytes())?)
        })
    }

    /// Takes up the session that was saved at `path`, on any engine of the same model file, with
    /// the budget that it had. Gives the session and the note.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be read, [`Error::Saved`] if it is not a saved session, is
    /// damaged, or is of another model, [`Error::OutOfMemory`] where its state does not fit.
    pub fn resume(engine: Arc<dyn Engine>, path: &Path) -> Result<(Session, Vec<u8>)> {
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => damaged("it is cut short"),
            _ => Error::Io { path: path.to_path_buf(), source },
        };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut bytes = [0; HEADER + 8];
        file.read_exact(&mut bytes).map_err(io)?;
        let header = Header::decode(&bytes)?;
        let geometry = header.check(&*engine)?;
        let expected = (bytes.len() as u64 + header.tables + header.note)
            .saturating_add(header.logits + header.image + 8);
        if length != expected {
            return Err(damaged(&format!("it has {length} bytes where {expected} belong")));
        }

        let mut sum = Xxh3::new();
        let mut read = |piece: &mut [u8]| {
            file.read_exact(piece).map_err(io)?;
            sum.update(piece);
            Ok(())
        };
        let mut tables = vec![0; header.tables as usize];
        read(&mut tables)?;
        let tables: Vec<u64> = bytemuck::pod_collect_to_vec(&tables);
        let tables: Vec<u64> = tables.into_iter().map(u64::from_le).collect();
        let wrong = || damaged("its block tables can't be those of such a session");
        let layout = Arc::new(geometry.layout(engine.model().spec())?);
        let saved = Tables::new(layout, 1)?.decode(header.position, &tables).ok_or_else(wrong)?;
        if saved.image_bytes() != header.image {
            return Err(wrong());
        }
        let mut note = vec![0; header.note as usize];
        read(&mut note)?;
        let mut session = Session::with_geometry(engine, geometry)?;
        let mut logit = [0; 4];
        for _ in 0..header.logits / 4 {
            read(&mut logit)?;
            session.logits.push(f32::from_le_bytes(logit));
        }
        let saved = session.state.tables().decode(header.position, &tables).ok_or_else(wrong)?;
        session.state.import(saved, &mut read)?;
        let mut stored = [0; 8];
        file.read_exact(&mut stored).map_err(io)?;
        if u64::from_le_bytes(stored) != sum.digest() {
            return Err(damaged("its contents do not have the checksum that it names"));
        }
        Ok((session, note))
    }
}

/// Writes, and sums what it writes.
struct Summed<'a> {
    out: &'a mut dyn Write,
    sum: Xxh3,
    /// Why the export of the state was ended.
    failed: Option<std::io::Error>,
}

impl Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }
}

fn damaged(what: &str) -> Error {
    Error::Saved(format!("the file is damaged: {what}"))
}
