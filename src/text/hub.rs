//! The kinds of tokenizer.json without a compact encoder, handled by the `tokenizers` crate.

use super::added::Added;
use super::apart::apart;
use super::bytelevel;
use super::marks::MARK;
use super::spm::SPACE;
use super::tokenizer::{Encoder, Parts};
use super::vocabulary::{Kind, MAX_TOKENS, Vocabulary};
use crate::error::{Error, Result};
use serde_json::Value;
use tokenizers::tokenizer::{AddedVocabulary, Model, OffsetReferential, OffsetType, PreTokenizer};

/// A tokenizer of the crate, used in parts because the whole does too much: its `encode` builds
/// offsets and strings for every token, and whether it finds special tokens is a global setting.
pub(super) struct Hub {
    inner: tokenizers::Tokenizer,
    /// A second copy of the added tokens, with the special ones left as text.
    without_special: AddedVocabulary,
}

/// How the tokens of a file spell bytes.
#[derive(Clone, Copy)]
enum Spelling {
    ByteLevel,
    Sentencepiece,
}

impl Hub {
    /// Reads `text`, which is also given as parsed.
    pub(super) fn read(text: &str, json: &Value) -> Result<Parts> {
        let spelling = spelling(&json["decoder"])?;
        let inner = guarded(|| tokenizers::Tokenizer::from_bytes(text))?;
        let tokens = guarded(|| Ok(inner.get_vocab(true)))?;
        let added = inner.get_added_vocabulary();

        let mut by_id: Vec<(u32, &str)> = tokens.iter().map(|(t, &id)| (id, &t[..])).collect();
        by_id.sort_unstable();
        let mut vocabulary = Vocabulary::with_capacity(by_id.len(), 0)?;
        for (id, token) in by_id {
            if id as usize >= MAX_TOKENS {
                return Err(Error::tokenizer(
                    format!("token {token:?}"),
                    format!("has id {id}; the limit is {MAX_TOKENS} tokens"),
                ));
            }
            if (id as usize) < vocabulary.len() {
                return Err(Error::tokenizer(
                    format!("token {token:?}"),
                    format!("has the id of another, {id}"),
                ));
            }
            while vocabulary.len() < id as usize {
                vocabulary.push([], Kind::Unused)?;
            }
            match (added.get_added_tokens_decoder().get(&id), spelling) {
                (Some(t), _) => {
                    let kind = if t.special { Kind::Control } else { Kind::UserDefined };
                    vocabulary.push(token.bytes(), kind)?;
                }
                (None, Spelling::ByteLevel) => match bytelevel::bytes(token) {
                    Some(bytes) => vocabulary.push(bytes, Kind::Normal)?,
                    None => vocabulary.push(token.bytes(), Kind::Normal)?,
                },
                (None, Spelling::Sentencepiece) => match super::ggml::byte(token) {
                    Some(byte) => vocabulary.push([byte], Kind::Byte)?,
                    None => vocabulary.push(token.replace(SPACE, " ").bytes(), Kind::Normal)?,
                },
            }
        }

        let mut without_special = added.clone();
        without_special.set_encode_special_tokens(true);
        Ok(Parts {
            added: Added::new(&vocabulary),
            vocabulary,
            encoder: Encoder::Hub(Box::new(Hub { inner, without_special })),
            add_bos: false,
        })
    }

    /// Appends the tokens of `text`, finding special ones in it or not.
    pub(super) fn encode(&self, text: &str, special: bool, tokens: &mut Vec<u32>) -> Result<()> {
        guarded(|| {
            let added =
                if special { self.inner.get_added_vocabulary() } else { &self.without_special };
            let mut pieces = added.extract_and_normalize(self.inner.get_normalizer(), text);
            if text.contains(MARK) {
                pieces.normalize(|piece| {
                    piece.filter(|c| c != MARK);
                    Ok(())
                })?;
            }
            if let Some(pretokenizer) = self.inner.get_pre_tokenizer() {
                pretokenizer.pre_tokenize(&mut pieces)?;
            }
            let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::None);
            for (piece, _, found) in splits {
                match found {
                    Some(found) => tokens.extend(found.iter().map(|t| t.id)),
                    None => {
                        let found = self.inner.get_model().tokenize(piece)?;
                        tokens.extend(found.iter().map(|t| t.id));
                    }
                }
            }
            Ok(())
        })
    }
}

/// How a decoder turns tokens into text.
fn spelling(decoder: &Value) -> Result<Spelling> {
    let all: Vec<&Value> = match decoder["decoders"].as_array() {
        Some(list) => list.iter().collect(),
        None => vec![decoder],
    };
    let has = |kind: &str| all.iter().any(|d| d["type"] == kind);
    if has("ByteLevel") {
        Ok(Spelling::ByteLevel)
    } else if has("ByteFallback") || has("Metaspace") {
        Ok(Spelling::Sentencepiece)
    } else {
        Err(Error::tokenizer(
            "the decoder of tokenizer.huggingface.json",
            format!("is {}; ByteLevel, ByteFallback and Metaspace are supported", decoder["type"]),
        ))
    }
}

/// Runs code of the crate, which indexes unchecked when a file contradicts itself and calls itself
/// for every level of it: neither must end the process. It changes nothing that outlives a panic.
fn guarded<T: Send>(run: impl FnOnce() -> tokenizers::Result<T> + Send) -> Result<T> {
    match apart(run)? {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(Error::tokenizer("", error.to_string())),
        None => Err(Error::tokenizer("tokenizer.huggingface.json", "contradicts itself")),
    }
}
