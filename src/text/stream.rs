//! The text of tokens as they arrive, never half a code point.

use super::tokenizer::Tokenizer;
use std::str::from_utf8;

/// Turns tokens into text one by one.
///
/// A token may end in the middle of a code point: an emoji is often two or three tokens. Such a
/// tail, three bytes at most, waits for the next token. All pieces together are what
/// [`String::from_utf8_lossy`] makes of all the bytes; nothing is stripped.
///
/// ```no_run
/// # fn demo(tokenizer: &attamba::text::Tokenizer, tokens: &[u32]) {
/// let mut detokenizer = attamba::text::Detokenizer::new();
/// for &token in tokens {
///     print!("{}", detokenizer.push(token, tokenizer));
/// }
/// println!("{}", detokenizer.flush());
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    show_special: bool,
    /// An incomplete code point.
    tail: [u8; 4],
    tail_len: usize,
    text: String,
}

impl Detokenizer {
    /// Special tokens give no text.
    pub fn new() -> Detokenizer {
        Detokenizer::default()
    }

    /// Special tokens give their names, as `<|im_end|>`.
    pub fn with_special() -> Detokenizer {
        Detokenizer { show_special: true, ..Detokenizer::default() }
    }

    /// The text that `token` completes: often one word; empty in the middle of a code point, for a
    /// special token and for an id beyond the vocabulary.
    pub fn push(&mut self, token: u32, tokenizer: &Tokenizer) -> &str {
        self.text.clear();
        if self.show_special || !tokenizer.is_special(token) {
            self.append(tokenizer.token_bytes(token).unwrap_or_default());
        }
        &self.text
    }

    /// What is left when no token follows: U+FFFD if the text ends within a code point. The
    /// detokenizer can then be used for another text.
    pub fn flush(&mut self) -> &str {
        self.text.clear();
        if self.tail_len > 0 {
            self.tail_len = 0;
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        &self.text
    }

    fn append(&mut self, mut bytes: &[u8]) {
        // A waiting tail takes one byte at a time until it is complete or can't become so.
        while self.tail_len > 0 {
            let Some((&byte, rest)) = bytes.split_first() else { return };
            self.tail[self.tail_len] = byte;
            match from_utf8(&self.tail[..=self.tail_len]) {
                Ok(whole) => {
                    self.text.push_str(whole);
                    self.tail_len = 0;
                }
                Err(e) if e.error_len().is_none() => self.tail_len += 1,
                // The byte begins something new and is examined again.
                Err(_) => {
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    self.tail_len = 0;
                    break;
                }
            }
            bytes = rest;
        }
        let mut left = bytes.len();
        for chunk in bytes.utf8_chunks() {
            let invalid = chunk.invalid();
            left -= chunk.valid().len() + invalid.len();
            self.text.push_str(chunk.valid());
            match from_utf8(invalid) {
                Ok(_) => {}
                // Only at the very end can a code point be incomplete rather than wrong.
                Err(e) if left == 0 && e.error_len().is_none() => {
                    self.tail[..invalid.len()].copy_from_slice(invalid);
                    self.tail_len = invalid.len();
                }
                Err(_) => self.text.push(char::REPLACEMENT_CHARACTER),
            }
        }
    }
}
