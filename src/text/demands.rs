//! What a tokenizer.json may ask of the `tokenizers` crate, which believes what a file says: the
//! lengths in it, that its normalizers let a text grow, and how much there is to compile.

use crate::error::{Error, Result};
use serde_json::Value;

/// Most tokens added to the vocabulary; public files have some six thousand.
const MOST_ADDED: usize = 1 << 16;
/// Most normalizers and pre-tokenizers.
const MOST_STEPS: usize = 64;
/// Longest regular expression, in bytes; those of public files have some three hundred.
const LONGEST_REGEX: usize = 4096;
/// How many times longer the replacements of all normalizers together may make a text.
const MOST_GROWTH: usize = 64;

/// Refuses a file that asks for too much.
pub(super) fn check(json: &Value) -> Result<()> {
    let added = json["added_tokens"].as_array().map_or(0, Vec::len);
    at_most(added, MOST_ADDED, "added tokens")?;
    let mut steps = Vec::new();
    for part in ["normalizer", "pre_tokenizer", "post_processor", "decoder"] {
        collect(&json[part], &mut steps)?;
    }
    let mut growth: usize = 1;
    for step in steps {
        let pattern = &step["pattern"];
        if let Some(regex) = pattern["Regex"].as_str() {
            at_most(regex.len(), LONGEST_REGEX, "bytes of a regular expression")?;
        }
        if step["type"] == "Replace" {
            let content = step["content"].as_str().unwrap_or_default().len();
            // What a regular expression matches may be a single byte, or nothing.
            let replaced = pattern["String"].as_str().map_or(1, str::len).max(1);
            growth = growth.saturating_mul(content.div_ceil(replaced).max(1));
            at_most(growth, MOST_GROWTH, "times as much text by replacements")?;
        }
        if step["type"] == "Precompiled" {
            charsmap(step["precompiled_charsmap"].as_str().unwrap_or_default())?;
        }
    }
    Ok(())
}

/// All steps of a part of the file, those within sequences too.
fn collect<'a>(part: &'a Value, steps: &mut Vec<&'a Value>) -> Result<()> {
    steps.push(part);
    at_most(steps.len(), MOST_STEPS, "normalizers, pre-tokenizers and decoders")?;
    for list in ["normalizers", "pretokenizers", "processors", "decoders"] {
        part[list].as_array().into_iter().flatten().try_for_each(|inner| collect(inner, steps))?;
    }
    Ok(())
}

/// A table of SentencePiece, in base64: its length in four bytes, and then as much.
fn charsmap(text: &str) -> Result<()> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    // Six digits are 36 bits, of which 32 are the length, its lowest byte first.
    let bits = text.bytes().take(6).fold(0, |bits, byte| bits << 6 | u64::from(digit(byte)));
    let declared = u32::swap_bytes((bits >> 4) as u32) as usize;
    let bytes = text.trim_end_matches('=').len() * 3 / 4;
    match bytes.checked_sub(4) {
        // The crate looks at the first entry of the table without asking whether there is one.
        Some(rest) if (4..=rest).contains(&declared) => Ok(()),
        _ => Err(refused(format!(
            "a precompiled_charsmap of {bytes} bytes says that its table has {declared}"
        ))),
    }
}

fn at_most(number: usize, most: usize, what: &str) -> Result<()> {
    match number <= most {
        true => Ok(()),
        false => Err(refused(format!("it has {number} {what}; the limit is {most}"))),
    }
}

fn refused(text: String) -> Error {
    Error::tokenizer("tokenizer.huggingface.json:", text)
}
