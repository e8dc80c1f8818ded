//! SentencePiece BPE: `tokenizer.ggml.model` = `llama`.
//!
//! Spaces count as letters (`▁` in the file), a space is put before the text, and the two neighbors
//! whose joint piece has the highest score are merged first. What no piece spells becomes its
//! bytes, `<0xE4>`.
//!
//! Source: `bpe_model.cc` of sentencepiece, the identity normalizer; validated against the package
//! itself. Everything here works with a plain space where the file writes `▁`: the two are the same
//! to SentencePiece, whose decoder also gives a space for both.

use super::index::Index;
use super::merge::{Merger, Symbol};
use super::vocabulary::{Kind, Vocabulary, twice};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;

/// SentencePiece's space.
pub(super) const SPACE: char = '\u{2581}';

const NONE: u32 = u32::MAX;

/// The encoder. Some ten bytes per token in addition to the vocabulary.
pub(super) struct Spm {
    pieces: Index,
    /// By id: 0 for the highest score. Equal scores have equal ranks.
    ranks: Vec<u32>,
    bytes: [u32; 256],
    unknown: Option<u32>,
    space_prefix: bool,
    /// No piece has a space after another character, so that words can be merged one by one.
    by_word: bool,
    /// Some pieces are unused: they take part in merging and are split again at the end.
    unused: bool,
}

impl Spm {
    /// Takes the scores by id; bytes and kinds are in the vocabulary, with spaces for `▁`.
    pub(super) fn new(
        vocabulary: &Vocabulary,
        scores: &[f32],
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Result<Spm> {
        let text = |id| vocabulary.text(id);
        let mut pieces = Index::new(vocabulary.len())?;
        let mut by_word = true;
        for id in vocabulary.of_kind(&[Kind::Normal, Kind::Unused]) {
            let bytes = text(id);
            if bytes.is_empty() {
                continue;
            }
            if let Some(other) = pieces.insert(bytes, id, text) {
                return Err(twice(vocabulary, other, id));
            }
            by_word &= !bytes.windows(2).any(|w| w[0] != b' ' && w[1] == b' ');
        }

        let mut bytes = [NONE; 256];
        for id in vocabulary.of_kind(&[Kind::Byte]) {
            let &[byte] = text(id) else { continue };
            let slot = &mut bytes[byte as usize];
            if *slot != NONE {
                return Err(Error::tokenizer(
                    format!("tokens {slot} and {id}"),
                    format!("are both the byte 0x{byte:02X}"),
                ));
            }
            *slot = id;
        }

        let unused = vocabulary.of_kind(&[Kind::Unused]).next().is_some();
        let ranks = ranks(scores)?;
        Ok(Spm { pieces, ranks, bytes, unknown, space_prefix, by_word, unused })
    }

    /// Appends the tokens of `text`, or returns the character that has none.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        merger: &mut Merger<'_>,
        tokens: &mut Vec<u32>,
    ) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut text = Cow::Borrowed(text);
        if text.contains(SPACE) {
            text = Cow::Owned(text.replace(SPACE, " "));
        }
        if self.space_prefix {
            text.to_mut().insert(0, ' ');
        }
        let begin = tokens.len();
        if !self.by_word {
            return self.encode_word(vocabulary, &text, merger, tokens, begin);
        }
        let mut rest = &*text;
        while !rest.is_empty() && !merger.stopped() {
            // Spaces belong to the word that follows them.
            let spaces = rest.find(|c| c != ' ').unwrap_or(rest.len());
            let end = rest[spaces..].find(' ').map_or(rest.len(), |at| spaces + at);
            let (word, tail) = rest.split_at(end);
            self.encode_word(vocabulary, word, merger, tokens, begin)?;
            rest = tail;
        }
        Ok(())
    }

    fn encode_word(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        merger: &mut Merger<'_>,
        tokens: &mut Vec<u32>,
        begin: usize,
    ) -> Result<()> {
        let piece = |s: &[u8]| self.pieces.find(s, |id| vocabulary.text(id));
        let bytes = word.as_bytes();
        let span = |s: &Symbol| s.start as usize..(s.start + s.len) as usize;

        merger.clear();
        for (start, c) in word.char_indices() {
            merger.push(start, c.len_utf8(), NONE);
        }
        // Where the last merge to an unused piece joined its parts.
        let mut seams = HashMap::new();
        merger.run(|a, b| {
            let id = piece(&bytes[a.start as usize..span(b).end])?;
            if self.unused && vocabulary.kind(id) == Some(Kind::Unused) {
                seams.insert(id, a.len as usize);
            }
            Some((self.ranks[id as usize], id))
        });

        if merger.stopped() {
            return Ok(());
        }

        // Last in, first out: the left part of an unused piece is looked at before the right.
        let mut parts = Vec::new();
        for symbol in merger.symbols() {
            parts.push(&bytes[span(symbol)]);
            while let Some(part) = parts.pop() {
                let id = if part.len() == symbol.len as usize && symbol.id != NONE {
                    Some(symbol.id)
                } else {
                    piece(part)
                };
                let Some(id) = id else {
                    self.fall_back(part, tokens, begin)?;
                    continue;
                };
                let unused = vocabulary.kind(id) == Some(Kind::Unused);
                match seams.get(&id) {
                    Some(&seam) if unused => {
                        let (left, right) = part.split_at(seam);
                        parts.extend([right, left]);
                    }
                    None if unused => self.fall_back(part, tokens, begin)?,
                    _ => tokens.push(id),
                }
            }
        }
        Ok(())
    }

    /// A character without a piece: its bytes, or else the unknown token, once per run of them in
    /// the tokens from `begin` on.
    fn fall_back(&self, character: &[u8], tokens: &mut Vec<u32>, begin: usize) -> Result<()> {
        let mut utf8 = [0; 4];
        let bytes = match character {
            b" " => SPACE.encode_utf8(&mut utf8).as_bytes(),
            other => other,
        };
        if bytes.iter().all(|&b| self.bytes[b as usize] != NONE) {
            tokens.extend(bytes.iter().map(|&b| self.bytes[b as usize]));
            return Ok(());
        }
        let unknown = self.unknown.ok_or_else(|| {
            Error::tokenizer(format!("the character {:?}", String::from_utf8_lossy(character)), "has neither a token nor bytes in this vocabulary, which has no unknown token either")
        })?;
        if tokens[begin..].last() != Some(&unknown) {
            tokens.push(unknown);
        }
        Ok(())
    }
}

/// The rank of each score among all, highest first.
fn ranks(scores: &[f32]) -> Result<Vec<u32>> {
    if let Some(id) = scores.iter().position(|s| s.is_nan()) {
        return Err(Error::tokenizer(format!("the score of token {id}"), "is not a number"));
    }
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
    let mut ranks = vec![0; scores.len()];
    let (mut rank, mut last) = (0, None);
    for id in order {
        let score = scores[id as usize];
        if last.is_some_and(|l| l != score) {
            rank += 1;
        }
        last = Some(score);
        ranks[id as usize] = rank;
    }
    Ok(ranks)
}
