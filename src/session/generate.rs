//! Generating tokens one by one: the single loop shared by sessions and chats, callbacks and
//! iterators.

use super::Session;
use crate::error::{Error, Result};
use crate::sample::Sampler;
use crate::text::{Detokenizer, Language, Tokenizer};

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// A token that ends the text or the turn was chosen; the session has processed it.
    End,
    /// The token limit was reached.
    Limit,
    /// The caller's callback asked to stop.
    Stopped,
    /// Cancelled from another thread.
    Cancelled,
}

/// What to do with a token that ends the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// It is processed and handed out.
    TakeIn,
    /// Neither.
    Leave,
}

/// A generation in progress. Everything that it has handed out has been processed by the session.
pub(crate) struct Generation {
    left: usize,
    at_end: AtEnd,
    finish: Option<Finish>,
}

impl Generation {
    /// At most `limit` tokens.
    pub fn new(limit: usize, at_end: AtEnd) -> Generation {
        Generation { left: limit, at_end, finish: None }
    }

    /// Chooses a token and processes it; `None` once the generation is over.
    pub fn step(
        &mut self,
        session: &mut Session,
        sampler: &mut Sampler,
        is_end: impl Fn(u32) -> bool,
    ) -> Result<Option<u32>> {
        if self.finish.is_none() && self.left == 0 {
            self.finish = Some(Finish::Limit);
        }
        if self.finish.is_some() {
            return Ok(None);
        }
        let taken = match session.is_cancelled() {
            true => Err(Error::Cancelled),
            false => session.choose(sampler).and_then(|token| {
                let ends = is_end(token);
                if !ends || self.at_end == AtEnd::TakeIn {
                    session.follow(token, sampler)?;
                    // Every token that the session processes counts as recent, whoever wrote it.
                    sampler.accept(token);
                }
                Ok((token, ends))
            }),
        };
        let (token, ends) = match taken {
            Ok(taken) => taken,
            Err(Error::Cancelled) => {
                self.finish = Some(Finish::Cancelled);
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        self.left -= 1;
        self.finish = ends.then_some(Finish::End);
        Ok((!ends || self.at_end == AtEnd::TakeIn).then_some(token))
    }

    /// Ends the generation, if it has not ended.
    pub fn stop(&mut self) {
        self.finish.get_or_insert(Finish::Stopped);
    }

    /// Why it ended; `None` while it is running.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }
}

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
    /// Chooses up to `limit` tokens, each from the logits of the previous one, and processes them.
    /// `is_end` identifies tokens that end the text. `each` gets every token once it has been
    /// processed, including the end token, and returns whether to continue.
    ///
    /// # Errors
    /// [`Error::NoLogits`] if there are no logits to start from: see [`Session::logits`];
    /// [`Error::Logits`] if no token can be chosen from them.
    pub fn generate(
        &mut self,
        sampler: &mut Sampler,
        limit: usize,
        is_end: impl Fn(u32) -> bool,
        mut each: impl FnMut(u32) -> bool,
    ) -> Result<Finish> {
        // Clearing only once, here, preserves a cancel that arrives between two tokens.
        self.begin();
        let mut generation = Generation::new(limit, AtEnd::TakeIn);
        while let Some(token) = generation.step(self, sampler, &is_end)? {
            if !each(token) {
                generation.stop();
            }
        }
        Ok(generation.finish().unwrap_or(Finish::Stopped))
    }

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
        let speech = Speech::new(Generation::new(limit, AtEnd::TakeIn));
        Pieces { session: self, sampler, language, speech }
    }
}
