//! DRY's sequence breakers as tokens; and the sampling defaults for chats.

use super::tokenizer::Tokenizer;
use super::vocabulary::Kind;
use crate::error::Result;
use crate::sample::Sampling;

/// The texts that break a repetition by default, as in llama.cpp: they delimit lines, names and
/// values, quotes and emphasis.
const BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];
/// As in llama.cpp: longer sequences of tokens are truncated.
const LONGEST: usize = 20;

impl Tokenizer {
    /// The sequences of tokens that spell one of `texts`, for
    /// [`Sampling::dry_breakers`](crate::sample::Sampling::dry_breakers): each token that contains
    /// the text, and each token that ends with its beginning together with the tokens of the rest.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn dry_breakers<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<u32>>> {
        let mut breakers = Vec::new();
        for text in texts.iter().map(AsRef::as_ref).filter(|text: &&str| !text.is_empty()) {
            // A text has few beginnings; the tokens of what follows each are computed once.
            let mut rests = Vec::new();
            for (at, _) in text.char_indices().skip(1) {
                let mut rest = self.encode(&text[at..], false)?;
                rest.truncate(LONGEST);
                rests.push((&text.as_bytes()[..at], rest));
            }
            for id in 0..self.vocab_size() as u32 {
                let token = self.token_bytes(id).unwrap_or_default();
                if token.windows(text.len()).any(|part| part == text.as_bytes()) {
                    breakers.push(vec![id]);
                    continue;
                }
                let begun = rests.iter().filter(|(beginning, _)| token.ends_with(beginning));
                breakers.extend(begun.map(|(_, rest)| [&[id], &rest[..]].concat()));
            }
        }
        breakers.sort_unstable();
        breakers.dedup();
        Ok(breakers)
    }

    /// All special tokens. As breakers none of them is penalized by DRY: an answer may end like the
    /// one before.
    fn special_tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.parts.vocabulary.of_kind(&[Kind::Control, Kind::Unknown])
    }
}

impl Sampling {
    /// The default for answers in a chat: [`Sampling::default`] with DRY, of multiplier 0.8, base
    /// 1.75 and an allowed length of 2 tokens in the last 1024, and a repetition penalty of 1.05 on
    /// the last 64. Without them a small model often ends in a loop; DRY alone lets lines of one or
    /// two words repeat, as line ends, colons, quotes, asterisks and special tokens are breakers.
    ///
    /// # Errors
    /// Those of [`Tokenizer::dry_breakers`].
    pub fn chat(tokenizer: &Tokenizer) -> Result<Sampling> {
        let mut breakers = tokenizer.dry_breakers(&BREAKERS)?;
        breakers.extend(tokenizer.special_tokens().map(|id| vec![id]));
        let chat = Sampling { dry_multiplier: 0.8, repeat_penalty: 1.05, ..Sampling::default() };
        Ok(Sampling { dry_breakers: breakers, ..chat })
    }
}
