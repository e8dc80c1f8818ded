//! Generated text, piece by piece.

use super::Session;
use super::generate::{AtEnd, Finish, Generation};
use super::stops::Stops;
use crate::error::Result;
use crate::sample::Sampler;
use crate::text::{Detokenizer, Language, Tokenizer};

/// The text of a generation, in whole characters only.
pub(crate) struct Speech {
    generation: Generation,
    detokenizer: Detokenizer,
    stops: Stops,
    piece: String,
    tokens: usize,
    /// What was left of an incomplete character has been handed out.
    flushed: bool,
}

impl Speech {
    pub fn new(generation: Generation) -> Speech {
        let (detokenizer, stops, piece) = Default::default();
        Speech { generation, detokenizer, stops, piece, tokens: 0, flushed: false }
    }

    /// The next non-empty piece; `None` once it is over.
    pub fn next(
        &mut self,
        session: &mut Session,
        sampler: &mut Sampler,
        tokenizer: &Tokenizer,
    ) -> Result<Option<&str>> {
        self.piece.clear();
        while self.piece.is_empty() {
            match self.generation.step(session, sampler, |token| tokenizer.is_end(token))? {
                Some(token) => {
                    self.tokens += 1;
                    let text = self.detokenizer.push(token, tokenizer);
                    if self.stops.push(text, sampler.stop_texts(), &mut self.piece) {
                        self.generation.stop_at_text();
                        self.flushed = true;
                    }
                }
                None if self.flushed => return Ok(None),
                None => self.piece = self.flush(),
            }
        }
        Ok(Some(&self.piece))
    }

    /// What waited: the beginning of a stop text, and the rest of a character, that will not be
    /// completed. Empty if it was already handed out.
    pub fn flush(&mut self) -> String {
        let mut rest = String::new();
        if !std::mem::replace(&mut self.flushed, true) {
            self.stops.flush(&mut rest);
            rest.push_str(self.detokenizer.flush());
        }
        rest
    }

    /// Tokens generated so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub fn generation(&mut self) -> &mut Generation {
        &mut self.generation
    }
}

/// The text with which the session continues, piece by piece: [`Session::pieces`]. The session has
/// processed everything that was handed out; the iterator may be dropped at any time.
pub struct Pieces<'a> {
    session: &'a mut Session,
    sampler: &'a mut Sampler,
    language: &'a Language,
    speech: Speech,
}

impl Pieces<'_> {
    /// Why it ended; `None` while it is running and after an error.
    pub fn finish(&mut self) -> Option<Finish> {
        self.speech.generation().finish()
    }
}

impl Drop for Pieces<'_> {
    fn drop(&mut self) {
        self.session.end();
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        let tokenizer = self.language.tokenizer();
        let piece = self.speech.next(self.session, self.sampler, tokenizer);
        piece.map(|piece| piece.map(str::to_owned)).transpose()
    }
}

impl Session {
    /// Processes `text`, and returns its tokens, for [`Sampler::accept`]. At the start of a session
    /// BOS comes first if the model expects it. With `special`, names of special tokens in the text
    /// become those tokens. A cancel also ends the conversion into tokens.
    ///
    /// # Errors
    /// Those of [`Session::feed`], and [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn feed_text(
        &mut self,
        language: &Language,
        text: &str,
        special: bool,
    ) -> Result<Vec<u32>> {
        self.call(|session| {
            let stop = || session.is_cancelled();
            let mut tokens = language.tokenizer().encode_until(text, special, &stop)?;
            if session.position() == 0 {
                tokens = language.begun(tokens);
            }
            session.go_on(&tokens)?;
            Ok(tokens)
        })
    }

    /// Generates up to `limit` tokens as an iterator of text pieces: whole characters, never empty.
    /// A token that ends the text yields no text and is the last. One of
    /// [`Sampling::stop`](crate::sample::Sampling::stop) is not handed out, though the session has
    /// processed it.
    ///
    /// ```no_run
    /// # fn demo(mut session: attamba::session::Session, mut sampler: attamba::sample::Sampler,
    /// #     language: attamba::text::Language) -> attamba::Result<()> {
    /// session.feed(&language.begin("Once upon a time", false)?)?;
    /// for piece in session.pieces(&mut sampler, &language, 100) {
    ///     print!("{}", piece?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The items are the errors of [`Session::generate`].
    pub fn pieces<'a>(
        &'a mut self,
        sampler: &'a mut Sampler,
        language: &'a Language,
        limit: usize,
    ) -> Pieces<'a> {
        let speech = Speech::new(Generation::new(limit, AtEnd::Process));
        Pieces { session: self, sampler, language, speech }
    }
}
