//! Byte-level BPE: `tokenizer.ggml.model` = `gpt2`, and most files of tokenizer.json.
//!
//! The text is split into words; each word is a sequence of bytes; the pair of neighbors that comes
//! first in the list of merges is joined, until no pair of the list is left.

use super::bytelevel;
use super::index::Index;
use super::merge::Merger;
use super::nfc::nfc;
use super::pre::Words;
use super::pretokenize::Pretokenizer;
use super::vocabulary::{Kind, Vocabulary, twice};
use crate::error::{Error, Result};
use crate::room;
use std::borrow::Cow;
use std::collections::HashMap;

/// Marks a byte without a token.
const NONE: u32 = u32::MAX;

/// The encoder. Twenty bytes per merge, and little else, stay in memory.
pub(super) struct Bpe {
    cut: Pretokenizer,
    nfc: bool,
    /// The token of each byte.
    bytes: [u32; 256],
    /// Two neighbors to (rank, token of both together).
    pairs: HashMap<(u32, u32), (u32, u32)>,
    /// All words that are one token, if such words are not merged step by step.
    whole: Option<Index>,
}

impl Bpe {
    /// Reads the merges, best first, against a vocabulary of bytes.
    pub(super) fn new<'a>(
        vocabulary: &Vocabulary,
        words: Words,
        merges: impl ExactSizeIterator<Item = Option<(&'a str, &'a str)>>,
    ) -> Result<Bpe> {
        let index = index(vocabulary)?;
        let text = |id| vocabulary.text(id);
        let mut bytes = [NONE; 256];
        for byte in 0..=255u8 {
            bytes[byte as usize] = index.find(&[byte], text).unwrap_or(NONE);
        }

        let mut pairs: HashMap<(u32, u32), (u32, u32)> = HashMap::new();
        let refused = |_| room::refused::<[u32; 4]>(merges.len(), "the vocabulary");
        pairs.try_reserve(merges.len()).map_err(refused)?;
        let mut joined = Vec::new();
        let mut both = 0;
        for (rank, merge) in merges.enumerate() {
            let (left, right) = merge.ok_or_else(|| {
                Error::tokenizer(format!("merge {rank}"), "is not a pair of tokens")
            })?;
            let unknown = |token: &str| {
                Error::tokenizer(
                    format!("merge {rank} ({left:?} and {right:?})"),
                    format!("needs the token {token:?}, which the vocabulary does not have"),
                )
            };
            joined.clear();
            let mut find = |token: &str| {
                let start = joined.len();
                joined.extend(bytelevel::bytes(token).ok_or_else(|| unknown(token))?);
                index.find(&joined[start..], text).ok_or_else(|| unknown(token))
            };
            let (a, b) = (find(left)?, find(right)?);
            // Most vocabularies have the merged tokens in the order of the merges.
            both += 1;
            if vocabulary.kind(both) != Some(Kind::Normal) || text(both) != joined {
                let found = index.find(&joined, text);
                both = found.ok_or_else(|| unknown(&format!("{left}{right}")))?;
            }
            // Of equal merges the last one counts, as in the `tokenizers` package.
            pairs.insert((a, b), (rank as u32, both));
        }
        let Words { cut, nfc, ignore_merges } = words;
        Ok(Bpe { cut, nfc, bytes, pairs, whole: ignore_merges.then_some(index) })
    }

    /// Whether every byte has a token, so that any text can be encoded and decoded back.
    pub(super) fn spells_all(&self) -> bool {
        !self.bytes.contains(&NONE)
    }

    /// Appends the tokens of `text`. A byte without a token is left out.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        merger: &mut Merger<'_>,
        tokens: &mut Vec<u32>,
    ) {
        let text = if self.nfc { nfc(text) } else { Cow::Borrowed(text) };
        self.cut.cut(&text, &mut |word| {
            if merger.stopped() {
                return;
            }
            if let Some(index) = &self.whole
                && let Some(id) = index.find(word.as_bytes(), |id| vocabulary.text(id))
            {
                tokens.push(id);
                return;
            }
            merger.clear();
            for (at, &byte) in word.as_bytes().iter().enumerate() {
                let id = self.bytes[byte as usize];
                if id != NONE {
                    merger.push(at, 1, id);
                }
            }
            merger.run(|a, b| self.pairs.get(&(a.id, b.id)).copied());
            tokens.extend(merger.symbols().map(|s| s.id));
        });
    }
}

/// All tokens by their bytes. Ordinary tokens come first: one may be spelled like a special token,
/// and is then what merging produces; two equal ordinary tokens are an error.
fn index(vocabulary: &Vocabulary) -> Result<Index> {
    use Kind::*;
    let mut index = Index::new(vocabulary.len())?;
    let text = |id| vocabulary.text(id);
    for id in vocabulary.of_kind(&[Normal]).filter(|&id| !text(id).is_empty()) {
        if let Some(other) = index.insert(text(id), id, text) {
            return Err(twice(vocabulary, other, id));
        }
    }
    let others = [Unknown, Control, UserDefined, Unused, Byte];
    for id in vocabulary.of_kind(&others).filter(|&id| !text(id).is_empty()) {
        index.insert(text(id), id, text);
    }
    Ok(index)
}
