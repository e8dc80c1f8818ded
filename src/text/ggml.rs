//! Builds a tokenizer from the arrays `tokenizer.ggml.*`.

use super::added::Added;
use super::bpe::Bpe;
use super::bytelevel;
use super::pre;
use super::source::TextSource;
use super::spm::{SPACE, Spm};
use super::tokenizer::{Encoder, Parts};
use super::vocabulary::{Kind, Vocabulary};
use crate::error::{Error, Result};

/// Builds the tokenizer that `tokenizer.ggml.model` names.
pub(super) fn read(source: &TextSource, model: &str) -> Result<Parts> {
    let count = source.tokens.len();
    same_length("token_type", source.token_types.len(), count)?;
    match model {
        "gpt2" => byte_level(source),
        "llama" => sentencepiece(source),
        other => Err(Error::tokenizer(
            format!("the tokenizer model {other:?}"),
            "is not supported; gpt2 and llama are",
        )),
    }
}

fn byte_level(source: &TextSource) -> Result<Parts> {
    let (words, add_bos) = pre::by_name(source.pre)?;
    let vocabulary = vocabulary(source, |token, kind, into| match bytelevel::bytes(token) {
        Some(bytes) if kind == Kind::Normal => into.push(bytes, kind),
        // A token that is not spelled in the byte alphabet is its own text and no merge produces
        // it.
        None if kind == Kind::Normal => into.push(token.bytes(), Kind::Unused),
        _ => into.push(token.bytes(), kind),
    })?;
    let longer = |id: u32| vocabulary.text(id).len() > 1;
    if source.merges.is_empty() && vocabulary.of_kind(&[Kind::Normal]).any(longer) {
        return Err(Error::tokenizer(
            "a gpt2 tokenizer",
            "needs tokenizer.ggml.merges, which the file does not have",
        ));
    }
    // The space between the two tokens is never the first character.
    let merges = source.merges.iter().map(|merge| {
        let after_first = merge.chars().next()?.len_utf8();
        let at = after_first + merge[after_first..].find(' ')?;
        Some((&merge[..at], &merge[at + 1..]))
    });
    let encoder = Encoder::Bpe(Bpe::new(&vocabulary, words, merges)?);
    Ok(Parts { added: Added::new(&vocabulary), vocabulary, encoder, add_bos })
}

fn sentencepiece(source: &TextSource) -> Result<Parts> {
    if source.scores.is_empty() && !source.tokens.is_empty() {
        return Err(Error::tokenizer(
            "a llama tokenizer",
            "needs tokenizer.ggml.scores, which the file does not have",
        ));
    }
    same_length("scores", source.scores.len(), source.tokens.len())?;
    let vocabulary = vocabulary(source, |token, kind, into| match (kind, byte(token)) {
        (Kind::Byte | Kind::Normal, Some(byte)) => into.push([byte], Kind::Byte),
        (Kind::Byte, None) => Err(Error::tokenizer(
            format!("token {}", into.len()),
            format!("is {token:?} and should be a byte such as <0xE4>"),
        )),
        (Kind::Normal | Kind::Unused | Kind::UserDefined, _) => {
            into.push(token.replace(SPACE, " ").bytes(), kind)
        }
        (Kind::Control | Kind::Unknown, _) => into.push(token.bytes(), kind),
    })?;
    let unknown = source.unknown.or_else(|| vocabulary.of_kind(&[Kind::Unknown]).next());
    let prefix = source.add_space_prefix.unwrap_or(true);
    let encoder = Encoder::Spm(Spm::new(&vocabulary, &source.scores, unknown, prefix)?);
    let mut added = Added::new(&vocabulary);
    if source.architecture == Some("phi3") || source.pre == Some("phi-3") {
        // The file does not say so, but the tokenizer.json of these models does.
        added = added.stripping(&vocabulary, |token| {
            ![&b"<unk>"[..], b"<s>", b"<|endoftext|>"].contains(&token)
        });
    }
    Ok(Parts { added, vocabulary, encoder, add_bos: true })
}

/// All tokens by id; `push` adds one to the vocabulary.
fn vocabulary(
    source: &TextSource,
    mut push: impl FnMut(&str, Kind, &mut Vocabulary) -> Result<()>,
) -> Result<Vocabulary> {
    let bytes = source.tokens.iter().map(|t| t.len()).sum();
    let mut vocabulary = Vocabulary::with_capacity(source.tokens.len(), bytes)?;
    for (id, token) in source.tokens.iter().enumerate() {
        let kind = match source.token_types.get(id) {
            Some(&number) => Kind::from_ggml(number).ok_or_else(|| {
                Error::tokenizer(
                    format!("token {id} ({token:?})"),
                    format!("has the unknown type {number}"),
                )
            })?,
            // Without types, the tokens with a role are the ones that are not text.
            None if [
                source.bos,
                source.eos,
                source.eot,
                source.eom,
                source.unknown,
                source.padding,
            ]
            .contains(&Some(id as u32)) =>
            {
                Kind::Control
            }
            None => Kind::Normal,
        };
        push(token, kind, &mut vocabulary)?;
    }
    Ok(vocabulary)
}

/// The byte that `<0xE4>` names.
pub(super) fn byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let hexadecimal = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hexadecimal.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// Checks an array that must have one entry per token, or be empty.
fn same_length(key: &str, length: usize, tokens: usize) -> Result<()> {
    if length != 0 && length != tokens {
        return Err(Error::tokenizer(
            format!("tokenizer.ggml.{key}"),
            format!("has {length} entries for {tokens} tokens"),
        ));
    }
    Ok(())
}
