//! What `tokenizer.ggml.pre` names: how a byte-level tokenizer makes words of a text.

use super::pretokenize::Pretokenizer;
use crate::error::{Error, Result};

/// From a text to the words within which BPE merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub cut: Pretokenizer,
    /// The text is brought to Unicode's normal form C first.
    pub nfc: bool,
    /// A word that is a token becomes this token, whatever the merges would make of it.
    pub ignore_merges: bool,
}

/// The words of a file, by the name in it, and whether a text begins with BOS if the file does not
/// say so. Files from before the key existed have no name.
///
/// Normal forms and merges that are ignored are those of the tokenizer.json that each family is
/// published with.
pub(super) fn by_name(name: Option<&str>) -> Result<(Words, bool)> {
    let plain = |cut| Words { cut, nfc: false, ignore_merges: false };
    let whole = |cut| Words { ignore_merges: true, ..plain(cut) };
    Ok(match name {
        None | Some("default") => (plain(Pretokenizer::Default), false),
        Some("gpt-2" | "exaone4") => (plain(Pretokenizer::Gpt2), false),
        Some("smollm" | "starcoder" | "refact") => (plain(Pretokenizer::Smollm), false),
        // Existing files of these rely on BOS without saying so.
        Some(
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "lfm2",
        ) => (whole(Pretokenizer::Llama3), true),
        Some("tekken") => (whole(Pretokenizer::Tekken), true),
        // SmolLM3, whose vocabulary is that of Llama 3.
        Some("smaug-bpe") => (whole(Pretokenizer::Llama3), false),
        Some("dbrx") => (plain(Pretokenizer::Llama3), false),
        Some("qwen2") => (Words { nfc: true, ..plain(Pretokenizer::Qwen2) }, false),
        Some("deepseek-r1-qwen") => (plain(Pretokenizer::Qwen2), false),
        Some("gpt-4o" | "llama4") => (plain(Pretokenizer::Gpt4o), false),
        Some(other) => {
            return Err(Error::tokenizer(
                format!("the pre-tokenizer {other:?}"),
                "is not known; those of Qwen, Llama 3, SmolLM, Mistral (tekken), GPT-2 and GPT-4o are",
            ));
        }
    })
}
