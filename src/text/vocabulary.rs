//! The tokens of a model as the bytes they represent, in one block of memory.

use crate::error::{Error, Result};
use crate::room;

/// Size of the largest vocabulary that is accepted: sixteen times the largest in public use
/// (262,144), so that an absurd id in a file can't claim all memory.
pub(super) const MAX_TOKENS: usize = 1 << 22;

/// What a token is, with the numbers of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Normal = 1,
    /// Represents what the vocabulary can't spell.
    Unknown = 2,
    /// Structure, not text: the beginning, the end, the turn of a role.
    Control = 3,
    /// Text that is always one token.
    UserDefined = 4,
    /// An entry that no text is encoded to.
    Unused = 5,
    /// One byte, for what no other token spells.
    Byte = 6,
}

impl Kind {
    pub(super) fn from_ggml(number: i32) -> Option<Kind> {
        use Kind::*;
        match number {
            // 0 is "undefined", which is customarily read as normal.
            0 | 1 => Some(Normal),
            2 => Some(Unknown),
            3 => Some(Control),
            4 => Some(UserDefined),
            5 => Some(Unused),
            6 => Some(Byte),
            _ => None,
        }
    }

    /// Whether the token produces no text of its own.
    pub(super) fn is_special(self) -> bool {
        matches!(self, Kind::Unknown | Kind::Control)
    }
}

/// Bytes and kind of every token, by id.
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`; it begins where the one before it ends.
    ends: Vec<u32>,
    kinds: Vec<Kind>,
}

impl Vocabulary {
    /// Reserves room for `tokens` tokens with a total of `bytes` bytes.
    pub(super) fn with_capacity(tokens: usize, bytes: usize) -> Result<Vocabulary> {
        let what = "the vocabulary";
        Ok(Vocabulary {
            bytes: room::list(bytes, what)?,
            ends: room::list(tokens, what)?,
            kinds: room::list(tokens, what)?,
        })
    }

    /// Adds the token with the next id.
    pub(super) fn push(&mut self, bytes: impl IntoIterator<Item = u8>, kind: Kind) -> Result<()> {
        if self.len() >= MAX_TOKENS {
            return Err(Error::tokenizer(
                "the vocabulary",
                format!("has more entries than the limit of {MAX_TOKENS}"),
            ));
        }
        self.bytes.extend(bytes);
        let end = u32::try_from(self.bytes.len()).map_err(|_| {
            Error::tokenizer("the texts of the vocabulary", "are longer than 4 GiB in all")
        })?;
        self.ends.push(end);
        self.kinds.push(kind);
        Ok(())
    }

    /// Frees the memory that was reserved but not needed.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.kinds.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a token; none for an id beyond the vocabulary.
    pub(super) fn get(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)? as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        Some(&self.bytes[start..end])
    }

    /// The bytes of a token, empty for an id beyond the vocabulary.
    pub(super) fn text(&self, id: u32) -> &[u8] {
        self.get(id).unwrap_or_default()
    }

    pub(super) fn kind(&self, id: u32) -> Option<Kind> {
        self.kinds.get(id as usize).copied()
    }

    /// All ids of one of `kinds`.
    pub(super) fn of_kind<'a>(&'a self, kinds: &'a [Kind]) -> impl Iterator<Item = u32> + 'a {
        (0u32..).zip(&self.kinds).filter(|(_, k)| kinds.contains(k)).map(|(id, _)| id)
    }
}

/// The error for two ids with the same bytes.
pub(super) fn twice(vocabulary: &Vocabulary, first: u32, second: u32) -> Error {
    let text = String::from_utf8_lossy(vocabulary.text(first));
    Error::tokenizer(format!("tokens {first} and {second}"), format!("are both {text:?}"))
}
