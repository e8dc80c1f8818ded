//! Text to tokens and back.

use super::added::{Added, Fragment};
use super::bpe::Bpe;
use super::ends;
use super::hub::Hub;
use super::marks::{MARK, marked, unmarked};
use super::merge::{Merger, Stop};
use super::source::TextSource;
use super::spm::Spm;
use super::vocabulary::{Kind, Vocabulary};
use super::{ggml, json};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use std::borrow::Cow;

/// The tokenizer of a model. It may be shared between threads.
pub struct Tokenizer {
    pub(super) parts: Parts,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    ends: Vec<u32>,
}

/// The result of reading a file, of whatever kind.
pub(super) struct Parts {
    pub(super) vocabulary: Vocabulary,
    pub(super) added: Added,
    pub(super) encoder: Encoder,
    /// Whether a text begins with the BOS token if the file does not say so.
    pub(super) add_bos: bool,
}

/// The encoders for text between added tokens.
pub(super) enum Encoder {
    Bpe(Bpe),
    Spm(Spm),
    /// Finds the added tokens itself.
    Hub(Box<Hub>),
}

impl Tokenizer {
    /// The tokenizer of a model file: from its tokenizer.json if it has one, else from its arrays.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the file contradicts itself or names an unknown kind of tokenizer,
    /// [`Error::Model`] if a key has a value of the wrong type.
    pub fn from_gguf(gguf: &Gguf) -> Result<Tokenizer> {
        Tokenizer::new(&TextSource::from_gguf(gguf)?)
    }

    /// The tokenizer of a tokenizer.json.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it contradicts itself or is of an unknown kind.
    pub fn from_json(json: &str) -> Result<Tokenizer> {
        Tokenizer::new(&TextSource { huggingface_json: Some(json), ..TextSource::default() })
    }

    /// Builds a tokenizer. A source that contradicts itself, or names an unknown kind of tokenizer,
    /// is an [`Error::Tokenizer`] that says where.
    pub(crate) fn new(source: &TextSource) -> Result<Tokenizer> {
        let mut parts = match (source.huggingface_json, source.model) {
            (Some(text), _) => json::read(text, source.bos)?,
            (None, Some(model)) => ggml::read(source, model)?,
            (None, None) => {
                return Err(Error::tokenizer(
                    "the file",
                    "has neither tokenizer.huggingface.json nor tokenizer.ggml.model",
                ));
            }
        };
        let size = parts.vocabulary.len();
        if size == 0 {
            return Err(Error::tokenizer("the vocabulary", "is empty"));
        }
        let named = [
            ("bos", source.bos),
            ("eos", source.eos),
            ("eot", source.eot),
            ("eom", source.eom),
            ("unknown", source.unknown),
        ];
        for (name, id) in named {
            if let Some(id) = id.filter(|&id| id as usize >= size) {
                return Err(Error::tokenizer(
                    format!("the {name} token"),
                    format!("has id {id}, the vocabulary has {size} entries"),
                ));
            }
        }

        parts.vocabulary.shrink();
        let ends = ends::of(source, &parts.vocabulary, &parts.added);
        Ok(Tokenizer {
            bos: source.bos,
            eos: source.eos,
            eot: source.eot,
            add_bos: source.add_bos.unwrap_or(parts.add_bos) && source.bos.is_some(),
            add_eos: source.add_eos.unwrap_or(false) && source.eos.is_some(),
            ends,
            parts,
        })
    }

    /// The tokens of `text`.
    ///
    /// With `special`, the text of a special token such as `<|im_start|>` becomes that token;
    /// without, it is text like any other (as it should be if a user may write anything).
    /// User-defined tokens are found either way. No BOS or EOS token is added: see
    /// [`Tokenizer::add_bos`].
    ///
    /// The time is O(n log n) in the length of the text. An error means that the vocabulary can't
    /// spell the text; a byte-level vocabulary that lacks a byte drops it instead, as is customary.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        self.encode_until(text, special, &|| false)
    }

    /// [`Tokenizer::encode`], or [`Error::Cancelled`] once `stop` returns true.
    pub(crate) fn encode_until(
        &self,
        text: &str,
        special: bool,
        stop: Stop<'_>,
    ) -> Result<Vec<u32>> {
        if u32::try_from(text.len()).is_err() {
            return Err(Error::tokenizer(
                format!("a text of {} bytes", text.len()),
                "is too long: the limit is 4 GiB per call",
            ));
        }
        let mut tokens = Vec::new();
        if let Encoder::Hub(hub) = &self.parts.encoder {
            hub.encode(text, special, &mut tokens)?;
        } else {
            self.append(text, special, &mut Merger::new(stop), &mut tokens)?;
        }
        Ok(tokens)
    }

    /// The tokens of `text`, in which special tokens are found except where marks break them up;
    /// the marks are removed.
    pub(super) fn encode_marked(&self, text: &str, stop: Stop<'_>) -> Result<Vec<u32>> {
        if !text.contains(MARK) {
            return self.encode_until(text, true, stop);
        }
        let Parts { vocabulary, added, encoder, .. } = &self.parts;
        let mut tokens = Vec::new();
        if let Encoder::Hub(hub) = encoder {
            hub.encode(text, true, &mut tokens)?;
            return Ok(tokens);
        }
        let mut merger = Merger::new(stop);
        // The special tokens first. Whatever is between them is then text, whatever it spells.
        let mut done = 0;
        let mut each = |from: usize, to: usize, token: Option<u32>| {
            self.append(&unmarked(&text[from..to]), false, &mut merger, &mut tokens)?;
            tokens.extend(token);
            Ok(())
        };
        let mut at = 0;
        added.fragments(vocabulary, text, true, |fragment| {
            match fragment {
                Fragment::Text(t) => at += t.len(),
                Fragment::Token(id, t) => {
                    let end = at + t.len();
                    if vocabulary.kind(id).is_some_and(Kind::is_special) {
                        each(done, at, Some(id))?;
                        done = end;
                    }
                    at = end;
                }
            }
            Ok(())
        })?;
        each(done, text.len(), None)?;
        Ok(tokens)
    }

    /// `text` with marks where it spells special tokens.
    pub(super) fn mark<'a>(&self, text: &'a str) -> Cow<'a, str> {
        marked(text, &self.parts.added, &self.parts.vocabulary)
    }

    fn append(
        &self,
        text: &str,
        special: bool,
        merger: &mut Merger<'_>,
        tokens: &mut Vec<u32>,
    ) -> Result<()> {
        let Parts { vocabulary, added, encoder, .. } = &self.parts;
        added.fragments(vocabulary, text, special, |fragment| {
            match (fragment, encoder) {
                (Fragment::Token(id, _), _) => tokens.push(id),
                (Fragment::Text(t), Encoder::Bpe(e)) => {
                    e.encode(vocabulary, t, merger, tokens);
                }
                (Fragment::Text(t), Encoder::Spm(e)) => {
                    e.encode(vocabulary, t, merger, tokens)?;
                }
                (Fragment::Text(_), Encoder::Hub(_)) => {}
            }
            if merger.stopped() { Err(Error::Cancelled) } else { Ok(()) }
        })
    }

    /// The text of `tokens`, including special tokens; an incomplete or invalid code point becomes
    /// U+FFFD, and an id beyond the vocabulary gives no text. Nothing is stripped: with a `llama`
    /// vocabulary a text comes back with the space that was put before it.
    ///
    /// For text that is still being generated see [`Detokenizer`](super::Detokenizer).
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> =
            tokens.iter().flat_map(|&id| self.parts.vocabulary.text(id)).copied().collect();
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        }
    }

    /// The bytes that a token represents, which need not be whole code points; for a special token
    /// the bytes of its name. None beyond the vocabulary.
    pub fn token_bytes(&self, token: u32) -> Option<&[u8]> {
        self.parts.vocabulary.get(token)
    }

    /// Number of entries, including unused ones. A model may have more rows than that.
    pub fn vocab_size(&self) -> usize {
        self.parts.vocabulary.len()
    }

    /// Whether a token is structure rather than text: the beginning, an end, a role.
    pub fn is_special(&self, token: u32) -> bool {
        self.parts.vocabulary.kind(token).is_some_and(Kind::is_special)
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that ends a turn, if the file specifies one in addition to EOS.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// Whether the model expects every text to begin with [`Tokenizer::bos`]; never true without
    /// one.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether the model expects a finished text to end with [`Tokenizer::eos`].
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    /// Whether generation ends with this token: the file's EOS, EOT and EOM. For an end of text,
    /// turn or message that the file does not specify, the special tokens with the usual names are
    /// used, such as `<|endoftext|>`, `<|im_end|>` and `<|eom_id|>`.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The token whose text is exactly `text`; special tokens take precedence.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        self.parts.id_of(text.as_bytes())
    }
}

impl Parts {
    fn id_of(&self, text: &[u8]) -> Option<u32> {
        let ordinary = || {
            let kinds = [Kind::Normal, Kind::Byte, Kind::Unused];
            self.vocabulary.of_kind(&kinds).find(|&id| self.vocabulary.text(id) == text)
        };
        self.added.find(&self.vocabulary, text).or_else(ordinary)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .field("eot", &self.eot)
            .finish_non_exhaustive()
    }
}
