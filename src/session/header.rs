//! The header of a saved session: what it belongs to, and how long its parts are. All numbers are
//! little-endian.
//!
//! | part | bytes |
//! |---|---|
//! | magic `attamba` and a zero byte | 8 |
//! | version, 5 | 8 |
//! | fingerprint of the model | 16 |
//! | chunk, window, ring; 0 to 3 for keys and values in f32, f16, int8, int4; 0, 1 for drop, thin | 5 × 8 |
//! | KV heads that see far, their ring, and their type of keys and values; zeros if there are none | 3 × 8 |
//! | tokens that the other heads keep as long as those can shrink | 8 |
//! | position | 8 |
//! | length of the block tables, of the note, of the logits, of the image, in bytes | 4 × 8 |
//! | checksum of everything above | 8 |

use super::{Eviction, MOST_CHUNK, MOST_WINDOW};
use crate::engine::{Engine, Far, Geometry, KvType};
use crate::error::{Error, Result};
use xxhash_rust::xxh3::xxh3_64;

pub(super) const MAGIC: [u8; 8] = *b"attamba\0";
const VERSION: u64 = 5;
const NUMBERS: usize = GEOMETRY + 6;
const GEOMETRY: usize = 8;
/// Magic, version, fingerprint and the numbers; the checksum follows.
const SUMMED: usize = 8 + 8 + 16 + 8 * NUMBERS;
/// Bytes of a header.
pub(super) const HEADER: usize = SUMMED + 8;
/// A note is a chat, not a library: a longer one is treated as damage before memory is allocated.
pub(super) const LONGEST_NOTE: u64 = 64 << 20;
/// At a million tokens per second no session gets there this century; sums stay far below 64 bits.
pub(super) const FARTHEST: u64 = 1 << 56;

/// What a file declares about itself.
pub(super) struct Header {
    pub fingerprint: u128,
    pub geometry: Numbers,
    /// See [`Session`](super::Session).
    pub near: u64,
    pub position: u64,
    /// Bytes in each part.
    pub tables: u64,
    pub note: u64,
    /// 0 if the session had none.
    pub logits: u64,
    pub image: u64,
}

/// A geometry as numbers: chunk, window, ring, keys and values, eviction, and for the heads that see
/// far their number, ring, keys and values.
pub(super) struct Numbers([u64; GEOMETRY]);

/// Types of keys and values, by their numbers.
const KV_TYPES: [KvType; 4] = [KvType::F32, KvType::F16, KvType::I8, KvType::I4];

impl From<Geometry> for Numbers {
    fn from(geometry: Geometry) -> Numbers {
        let Geometry { ring, window, chunk, kv: near_kv, eviction, far } = geometry;
        let kv = |of: KvType| KV_TYPES.iter().position(|kv| *kv == of).unwrap_or(0);
        let eviction = Eviction::ALL.iter().position(|e| *e == eviction).unwrap_or(0);
        let far = far.map_or([0; 3], |far| [far.heads, far.ring, kv(far.kv)]);
        let [heads, far_ring, far_kv] = far;
        let numbers = [chunk, window, ring, kv(near_kv), eviction, heads, far_ring, far_kv];
        Numbers(numbers.map(|n| n as u64))
    }
}

impl Numbers {
    fn geometry(&self) -> Result<Geometry> {
        let size = |n: u64, most: usize, what: &str| match usize::try_from(n) {
            Ok(n) if n <= most => Ok(n),
            _ => Err(damaged(&format!("{n} {what}"))),
        };
        fn one_of<T: Copy>(all: &[T], n: u64, what: &str) -> Result<T> {
            let found = usize::try_from(n).ok().and_then(|index| all.get(index));
            found.copied().ok_or_else(|| damaged(&format!("{n} as the {what}")))
        }
        let kv = |n: u64| one_of(&KV_TYPES, n, "type of keys and values");
        let Numbers([chunk, window, ring, near_kv, eviction, heads, far_ring, far_kv]) = *self;
        let far = Far {
            heads: size(heads, usize::MAX, "KV heads that see far")?,
            ring: size(far_ring, usize::MAX, "chunk states")?,
            kv: kv(far_kv)?,
        };
        Ok(Geometry {
            ring: size(ring, usize::MAX, "chunk states")?,
            window: size(window, MOST_WINDOW, "tokens in the window")?,
            chunk: size(chunk, MOST_CHUNK, "tokens in a chunk")?.max(1),
            kv: kv(near_kv)?,
            eviction: one_of(&Eviction::ALL, eviction, "eviction policy")?,
            far: (far.heads > 0).then_some(far),
        })
    }
}

impl Header {
    fn numbers(&self) -> [u64; NUMBERS] {
        let Header { near, position, tables, note, logits, image, .. } = *self;
        let mut numbers = [0; NUMBERS];
        numbers[..GEOMETRY].copy_from_slice(&self.geometry.0);
        numbers[GEOMETRY..].copy_from_slice(&[near, position, tables, note, logits, image]);
        numbers
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.fingerprint.to_le_bytes());
        bytes.extend(self.numbers().iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; HEADER]) -> Result<Header> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        if bytes[..8] != MAGIC {
            return Err(Error::saved("the file", "has the wrong magic bytes"));
        }
        let version = word(8);
        if version != VERSION {
            return Err(Error::saved(
                "version",
                format!("{version}; this runtime reads {VERSION}"),
            ));
        }
        if word(SUMMED) != xxh3_64(&bytes[..SUMMED]) {
            return Err(damaged("its header does not match its checksum"));
        }
        let number = |i: usize| word(32 + 8 * i);
        Ok(Header {
            fingerprint: u128::from(word(16)) | u128::from(word(24)) << 64,
            geometry: Numbers(std::array::from_fn(number)),
            near: number(GEOMETRY),
            position: number(GEOMETRY + 1),
            tables: number(GEOMETRY + 2),
            note: number(GEOMETRY + 3),
            logits: number(GEOMETRY + 4),
            image: number(GEOMETRY + 5),
        })
    }

    /// Bytes in the whole file.
    pub fn file_bytes(&self) -> u64 {
        [self.tables, self.note, self.logits, self.image, 8]
            .iter()
            .fold(HEADER as u64, |sum, part| sum.saturating_add(*part))
    }

    /// The geometry, if the file can belong to this model.
    pub fn check(&self, engine: &Engine) -> Result<Geometry> {
        let model = engine.model();
        let spec = model.spec();
        if self.fingerprint != model.gguf().fingerprint() {
            return Err(Error::OtherModel { model: model.name().to_owned() });
        }
        let geometry = self.geometry.geometry()?;
        if self.position > FARTHEST {
            return Err(damaged(&format!("position {}", self.position)));
        }
        let tables = geometry.layout(spec)?.most_numbers(self.position).saturating_mul(8);
        let logits = if self.position == 0 { 0 } else { 4 * spec.vocab as u64 };
        let state = geometry.state_bytes(spec);
        if self.tables > tables
            || !self.tables.is_multiple_of(8)
            || (self.logits != 0 && self.logits != logits)
            || self.note > LONGEST_NOTE
            || self.image > state
        {
            return Err(damaged(&format!(
                "{} bytes of block tables, {} of logits, {} of note and {} of state where at most {tables}, \
                 none or {logits}, at most {LONGEST_NOTE} and at most {state} belong",
                self.tables, self.logits, self.note, self.image
            )));
        }
        Ok(geometry)
    }
}

pub(super) fn damaged(what: &str) -> Error {
    Error::saved("the file", format!("is damaged: {what}"))
}
