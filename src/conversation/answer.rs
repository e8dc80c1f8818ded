//! An answer in progress.

use super::{Conversation, Speed};
use crate::engine::Geometry;
use crate::error::Result;
use crate::session::{AtEnd, Finish, Generation, Speech};
use crate::text::Message;
use std::time::Instant;

/// An answer, piece by piece: [`Conversation::answer_pieces`]. What was handed out counts: if it is
/// dropped before its end, the chat continues from there.
pub struct Answer<'a> {
    chat: &'a mut Conversation,
    /// `None` once it is over.
    turn: Option<Turn>,
    finish: Option<Finish>,
}

struct Turn {
    /// Messages before the one being answered.
    before: usize,
    geometry: Geometry,
    speech: Speech,
    answer: String,
    start: Instant,
}

impl Answer<'_> {
    /// Processes `messages`, and is ready to answer them.
    pub(super) fn begin(
        chat: &mut Conversation,
        messages: Vec<Message>,
        limit: usize,
    ) -> Result<Answer<'_>> {
        let (before, geometry) = (chat.messages.len(), chat.session.geometry());
        chat.checkpoint();
        chat.messages.extend(messages);
        match chat.process_turn() {
            Ok(()) => {
                // A token that ends the turn is not fed here: what stands between an answer and the
                // next message is up to the template, and `Chat::turn` adds it. A turn that ends
                // otherwise, or with a token other than the template's, thus continues as well as
                // any.
                let speech = Speech::new(Generation::new(limit, AtEnd::Leave));
                let (answer, start) = (String::new(), Instant::now());
                let turn = Turn { before, geometry, speech, answer, start };
                Ok(Answer { chat, turn: Some(turn), finish: None })
            }
            Err(e) => {
                let back = chat.take_back(before, geometry);
                chat.session.end();
                back.and(Err(e))
            }
        }
    }

    /// Why it ended; `None` while it is running and after an error.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// The next piece; `None` once it is over.
    pub(super) fn advance(&mut self) -> Result<Option<&str>> {
        let Some(turn) = &mut self.turn else { return Ok(None) };
        let Conversation { session, sampler, language, .. } = &mut *self.chat;
        let from = turn.answer.len();
        match turn.speech.next(session, sampler, language.tokenizer()) {
            Ok(Some(piece)) => turn.answer.push_str(piece),
            Ok(None) => self.settle(),
            Err(e) => {
                let Turn { before, geometry, .. } = *turn;
                self.turn = None;
                let back = self.chat.take_back(before, geometry);
                self.chat.session.end();
                return back.and(Err(e));
            }
        }
        Ok(self.turn.as_ref().map(|turn| &turn.answer[from..]))
    }

    /// Stops the answer.
    pub(super) fn stop(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.speech.generation().stop();
        }
    }

    /// The chat continues from here.
    fn settle(&mut self) {
        let Some(mut turn) = self.turn.take() else { return };
        let chat = &mut *self.chat;
        self.finish = Some(turn.speech.generation().finish().unwrap_or(Finish::Stopped));
        chat.answer = Speed { tokens: turn.speech.tokens(), time: turn.start.elapsed() };
        let marked = chat.chat_of(&chat.language).map(|chat| chat.mark(&turn.answer).into_owned());
        chat.fed.push_answer(marked.as_deref().unwrap_or(&turn.answer));
        let message = chat.as_written(turn.answer);
        chat.messages.push(message);
        chat.forget_larger(turn.geometry);
        if self.finish == Some(Finish::StopText) {
            chat.forget_turn(turn.before);
        }
        chat.forget_oldest();
        chat.session.end();
    }
}

impl Iterator for Answer<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        self.advance().map(|piece| piece.map(str::to_owned)).transpose()
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if let Some(turn) = &mut self.turn {
            // What waited for the rest of a character or of a stop text.
            turn.answer.push_str(&turn.speech.flush());
        }
        self.settle();
    }
}
