//! Generated text, piece by piece.

use super::Session;
use super::generate::{AtEnd, Finish, Generation};
use crate::error::Result;
use crate::sample::Sampler;
use crate::text::{Detokenizer, Language, Tokenizer};

/// The text of a generation, in whole characters only.
pub(crate) struct Speech {
    generation: Generation,
    detokenizer: Detokenizer,
    piece: String,
    tokens: usize,
    /// What was left of an incomplete character has been handed out.
    flushed: bool,
}

impl Speech {
    pub fn new(generation: Generation) -> Speech {
        let (detokenizer, piece) = (Detokenizer::new(), String::new());
        Speech { generation, detokenizer, piece, tokens: 0, flushed: false }
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
                    self.piece.push_str(self.detokenizer.push(token, tokenizer));
                }
                None if self.flushed => return Ok(None),
                None => {
                    self.piece = self.flush().to_owned();
                }
            }
        }
        Ok(Some(&self.piece))
    }

    /// The rest of a character that will not be completed, unless it was already handed out.
    pub fn flush(&mut self) -> &str {
        match std::mem::replace(&mut self.flushed, true) {
            true => "",
            false => self.detokenizer.flush(),
        }
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

impl Iterator for Pieces<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        let tokenizer = self.language.tokenizer();
        let piece = self.speech.next(self.session, self.sampler, tokenizer);
        piece.map(|piece| piece.map(str::to_owned)).transpose()
    }
}

impl Session {
    /// Generates up to `limit` tokens as an iterator of text pieces: whole characters, never empty.
    /// A token that ends the text yields no text and is the last.
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
        self.begin();
        let speech = Speech::new(Generation::new(limit, AtEnd::Process));
        Pieces { session: self, sampler, language, speech }
    }
}
