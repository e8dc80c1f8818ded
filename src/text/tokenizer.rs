//! Text to tokens and back.

use super::added::{Added, Fragment};
use super::bpe::Bpe;
use super::hub::Hub;
use super::merge::Merger;
use super::source::TextSource;
use super::spm::Spm;
use super::vocabulary::{Kind, Vocabulary};
use super::{ggml, json};
use crate::error::{Error, Result};

/// Names of tokens that end a turn or a text wherever a vocabulary has them as special tokens,
/// whatever the file's metadata says: many files name only one of two.
const ENDS: [&str; 6] =
    ["<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "</s>", "<end_of_turn>"];

/// The tokenizer of a model. It may be shared between threads.
pub struct Tokenizer {
    parts: Parts,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    ends: Vec<u32>,
}

/// What reading a file gives, whatever the kind of file.
pub(super) struct Parts {
    pub(super) vocabulary: Vocabulary,
    pub(super) added: Added,
    pub(super) encoder: Encoder,
    /// Whether a text begins with the BOS token where the file does not say it.
    pub(super) add_bos: bool,
}

/// The ways of turning text between added tokens into tokens.
pub(super) enum Encoder {
    Bpe(Bpe),
    Spm(Spm),
    /// Finds the added tokens itself.
    Hub(Box<Hub>),
}

impl Tokenizer {
    /// Builds the tokenizer of a file: from its tokenizer.json if it has one, else from the
    /// arrays. A file that contradicts itself, or asks for a kind of tokenizer that is not
    /// known, is an [`Error::Tokenizer`] that says where.
    pub fn new(source: &TextSource) -> Result<Tokenizer> {
        let mut parts = match (source.huggingface_json, source.model) {
            (Some(text), _) => json::read(text, source.bos)?,
            (None, Some(model)) => ggml::read(source, model)?,
            (None, None) => {
                return Err(Error::Tokenizer(
                    "the file has neither tokenizer.huggingface.json nor tokenizer.ggml.model"
                        .into(),
                ));
            }
        };
        let size = parts.vocabulary.len();
        if size == 0 {
            return Err(Error::Tokenizer("the vocabulary is empty".into()));
        }
        let named = [
            ("bos", source.bos),
            ("eos", source.eos),
            ("eot", source.eot),
            ("unknown", source.unknown),
        ];
        for (name, id) in named {
            if let Some(id) = id.filter(|&id| id as usize >= size) {
                return Err(Error::Tokenizer(format!(
                    "the {name} token has id {id}, the vocabulary has {size} entries"
                )));
            }
        }

        parts.vocabulary.shrink();
        let ends = parts.ends(&[source.eos, source.eot]);
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
    /// without, it is text like any other (as it should be where a user may write anything). What
    /// the file calls user-defined tokens is found either way. No BOS or EOS token is added: see
    /// [`Tokenizer::add_bos`].
    ///
    /// The time grows as n log n with the text, at worst. An error means that the vocabulary
    /// can't spell the text; a byte-level vocabulary without some byte leaves it out instead, as
    /// the field does.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        if u32::try_from(text.len()).is_err() {
            return Err(Error::Tokenizer(format!(
                "a text of {} bytes is too long: 4 GiB is the most for one call",
                text.len()
            )));
        }
        let Parts { vocabulary, added, encoder, .. } = &self.parts;
        let mut tokens = Vec::new();
        if let Encoder::Hub(hub) = encoder {
            hub.encode(text, special, &mut tokens)?;
            return Ok(tokens);
        }
        let mut merger = Merger::default();
        added.fragments(vocabulary, text, special, |fragment| {
            match (fragment, encoder) {
                (Fragment::Token(id), _) => tokens.push(id),
                (Fragment::Text(t), Encoder::Bpe(e)) => {
                    e.encode(vocabulary, t, &mut merger, &mut tokens);
                }
                (Fragment::Text(t), Encoder::Spm(e)) => {
                    e.encode(vocabulary, t, &mut merger, &mut tokens)?;
                }
                (Fragment::Text(_), Encoder::Hub(_)) => {}
            }
            Ok(())
        })?;
        Ok(tokens)
    }

    /// The text of `tokens`, that of special tokens included; an incomplete or invalid code
    /// point becomes U+FFFD and an id beyond the vocabulary nothing. Nothing is stripped: with a
    /// `llama` vocabulary a text comes back with the space that was put before it.
    ///
    /// For text that is still being generated see [`Detokeniser`](super::Detokeniser).
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> =
            tokens.iter().flat_map(|&id| self.parts.vocabulary.text(id)).copied().collect();
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        }
    }

    /// The bytes that a token stands for, which need not be whole code points; for a special
    /// token the bytes of its name. None beyond the vocabulary.
    pub fn token_bytes(&self, token: u32) -> Option<&[u8]> {
        self.parts.vocabulary.get(token)
    }

    /// Number of entries, unused ones included. A model may have more rows than that.
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

    /// The token that ends a turn, where the file names one beside EOS.
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

    /// Whether generation ends with this token: EOS, EOT, and the special tokens that are named
    /// `<|im_end|>`, `<|eot_id|>`, `<|end|>`, `<|endoftext|>`, `</s>` or `<end_of_turn>`.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The token that stands for exactly `text`; a special token first.
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

    fn ends(&self, named: &[Option<u32>]) -> Vec<u32> {
        let known = ENDS
            .iter()
            .filter_map(|name| self.added.find(&self.vocabulary, name.as_bytes()))
            .filter(|&id| self.vocabulary.kind(id).is_some_and(Kind::is_special));
        let mut ends: Vec<u32> = named.iter().flatten().copied().chain(known).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
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
