//! A chat: messages in, answers out, on a session that remembers as much as its budget holds.
//!
//! A conversation can go back: [`Conversation::undo`] removes the last message, and an answer that
//! fails or is cancelled before it began leaves the chat as it was. Neither processes the chat
//! again, since a [`Snapshot`](crate::session::Snapshot) is kept at the end of each turn, within
//! limits.
//!
//! On an engine of [`Engine::auto`](crate::Engine::auto) a chat outlives the GPU, even in
//! the middle of an answer: it continues from the last of those snapshots.

mod answer;
mod branch;
mod checkpoints;
mod fed;
mod oldest;
mod past;
mod saved;

use crate::engine::Geometry;
use crate::error::{Error, Result};
use crate::sample::Sampler;
use crate::session::{Finish, Session};
use crate::text::{Chat, Language, Message};
pub use answer::Answer;
pub use branch::Snapshot;
pub(crate) use checkpoints::most_bytes as most_checkpoint_bytes;
use checkpoints::{Checkpoint, Checkpoints};
use fed::Fed;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A number of tokens, and the time they took.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Speed {
    /// Number of tokens.
    pub tokens: usize,
    /// Time from the first to the last.
    pub time: Duration,
}

/// Turns that show that a template writes a message without regard to the middle of the chat.
const PROOFS: u32 = 3;

/// A chat on a session.
pub struct Conversation {
    session: Session,
    sampler: Sampler,
    language: Language,
    system: Option<Message>,
    messages: Vec<Message>,
    /// The text that the session has processed.
    fed: Fed,
    /// Turns whose text did not depend on the middle of the chat.
    proofs: u32,
    checkpoints: Checkpoints,
    /// See [`Conversation::set_most_text`].
    most_text: Option<usize>,
    parse_special: bool,
    prompt: Speed,
    answer: Speed,
}

impl Conversation {
    /// A chat on a fresh `session`, with an optional system instruction.
    pub fn new(
        session: Session,
        sampler: Sampler,
        language: Language,
        system: Option<String>,
    ) -> Conversation {
        let mut new = Conversation::with(session, sampler, language, system);
        new.reset();
        new
    }

    /// On a session in whatever state it is.
    fn with(
        session: Session,
        sampler: Sampler,
        language: Language,
        system: Option<String>,
    ) -> Conversation {
        Conversation {
            session,
            sampler,
            language,
            system: system.map(Message::system),
            messages: Vec::new(),
            fed: Fed::default(),
            proofs: 0,
            checkpoints: Checkpoints::default(),
            most_text: None,
            parse_special: false,
            prompt: Speed::default(),
            answer: Speed::default(),
        }
    }

    /// The session. Its [`Session::control`] cancels an answer, pauses or shrinks the chat from other
    /// threads.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session as it is, and the sampler; the messages are discarded.
    pub fn into_parts(mut self) -> (Session, Sampler) {
        self.session.clear_history();
        (self.session, self.sampler)
    }

    /// Chooses tokens with `sampler` from now on; recent tokens carry over to it.
    pub fn set_sampler(&mut self, sampler: Sampler) {
        let before = std::mem::replace(&mut self.sampler, sampler);
        self.sampler.recall(&before.recent());
    }

    /// The sampler, to be watched.
    pub fn sampler_mut(&mut self) -> &mut Sampler {
        &mut self.sampler
    }

    /// Whether messages that spell special tokens, such as `<|im_end|>`, become these tokens from
    /// now on: see [`Chat::parse_special`]. Off by default.
    pub fn set_parse_special(&mut self, yes: bool) {
        self.parse_special = yes;
    }

    /// The messages so far, including the instruction; of a very long chat without the oldest ones:
    /// see [`Conversation::set_most_text`].
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Token count and time of the last prompt and of the last answer.
    pub fn speed(&self) -> (Speed, Speed) {
        (self.prompt, self.answer)
    }

    /// Keeps snapshots of at most `bytes` bytes in order to go back, from now on; by default 32 MiB.
    /// With fewer than one takes, none: then an undo processes the chat again.
    pub fn set_most_checkpoints(&mut self, bytes: u64) {
        self.checkpoints.set_most_bytes(bytes);
        self.set_history();
    }

    /// Bytes that snapshots hold, in addition to the session.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.checkpoints.bytes()
    }

    /// Shrinks the session's state to fit in `bytes`, and drops the snapshots of earlier turns:
    /// undoing one then processes the chat again.
    ///
    /// # Errors
    /// As [`Session::shrink`].
    pub fn shrink(&mut self, bytes: u64) -> Result<()> {
        let geometry = self.session.geometry();
        self.session.shrink(bytes)?;
        self.forget_larger(geometry);
        Ok(())
    }

    /// Starts over with only the instruction.
    pub fn reset(&mut self) {
        self.session.reset();
        self.sampler.forget();
        self.fed = Fed::default();
        self.messages.clear();
        self.messages.extend(self.system.clone());
        self.checkpoints.clear();
        self.set_history();
        (self.prompt, self.answer) = Default::default();
    }

    /// Removes the last message and its answer; returns whether there was one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn undo(&mut self) -> Result<bool> {
        let Some(last) = self.messages.iter().rposition(|m| m.role == "user") else {
            return Ok(false);
        };
        self.messages.truncate(last);
        self.go_back(last)?;
        Ok(true)
    }

    /// Processes the existing messages, such as a long instruction, so that the first answer only
    /// has to wait for its question. Does nothing after the first answer.
    ///
    /// # Errors
    /// Those of the session, the tokenizer and the template, which may require a user message
    /// first; the chat is as it was before.
    pub fn prepare(&mut self) -> Result<()> {
        if !self.fed.is_empty() || self.messages.is_empty() {
            return Ok(());
        }
        let result = self.process_messages();
        self.session.end();
        result
    }

    fn process_messages(&mut self) -> Result<()> {
        let language = self.language.clone();
        let chat = self.chat_of(&language)?;
        let text = chat.marked(&self.messages, false)?;
        let tokens = chat.whole(&text, &|| self.session.is_cancelled())?;
        self.session.reset();
        self.sampler.forget();
        self.process(&tokens)?;
        self.fed = Fed::new(text);
        Ok(())
    }

    /// Starts over from `messages`, of any roles that the template knows, and processes them: a chat
    /// that was kept elsewhere, or this one with another instruction. Nothing is generated; the next
    /// answer is to a message that follows them.
    ///
    /// # Errors
    /// [`Error::Template`] if the template refuses them; the chat is as it was before. Those of the
    /// session, and [`Error::Cancelled`]: the chat has begun, and the next answer processes the
    /// messages.
    pub fn begin(&mut self, messages: Vec<Message>) -> Result<()> {
        self.chat_of(&self.language)?.render(&messages, false)?;
        self.system = messages.first().filter(|m| m.role == "system").cloned();
        self.reset();
        self.messages = messages;
        self.prepare()
    }

    /// Tells the template what it should know beside the messages, from the next message on: see
    /// [`Language::with_variables`]. The next answer processes the chat again if that changes what comes
    /// before it.
    ///
    /// # Errors
    /// [`Error::Argument`]; nothing has changed.
    pub fn set_variables(&mut self, json: &str) -> Result<()> {
        self.language = self.language.with_variables(json)?;
        self.proofs = 0;
        self.set_history();
        Ok(())
    }

    /// Answers `message` with at most `limit` tokens: a text of the user, or any other message, such as
    /// what a tool returned. `each` gets the text of the answer as it is
    /// generated, in whole characters, and returns whether to continue. An answer that is cancelled or
    /// stopped counts as far as it was generated.
    ///
    /// # Errors
    /// Those of the session, the tokenizer and the template, and [`Error::Cancelled`] if it was
    /// cancelled before the answer began; the chat is as it was before.
    pub fn answer(
        &mut self,
        message: impl Into<Message>,
        limit: usize,
        each: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Finish> {
        self.answer_all(vec![message.into()], limit, each)
    }

    /// [`Conversation::answer`] for several messages at once, such as what several tools returned;
    /// without any, an answer to the messages there are.
    ///
    /// # Errors
    /// As for [`Conversation::answer`].
    pub fn answer_all(
        &mut self,
        messages: Vec<Message>,
        limit: usize,
        each: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Finish> {
        let mut answer = Answer::begin(self, messages, limit)?;
        while let Some(piece) = answer.advance()? {
            if !each(piece) {
                answer.stop();
            }
        }
        Ok(answer.finish().unwrap_or(Finish::Stopped))
    }

    /// Processes `message`, and returns the answer of at most `limit` tokens as an iterator of
    /// pieces: whole characters, never empty.
    ///
    /// ```no_run
    /// # fn demo(mut chat: attamba::conversation::Conversation) -> attamba::Result<()> {
    /// for piece in chat.answer_pieces("Tell me a story.", 400)? {
    ///     print!("{}", piece?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Conversation::answer`], here and as the last item.
    pub fn answer_pieces(
        &mut self,
        message: impl Into<Message>,
        limit: usize,
    ) -> Result<Answer<'_>> {
        Answer::begin(self, vec![message.into()], limit)
    }

    /// Keeps the chat as it is now, to return to, if there is room for it. Without memory the chat
    /// continues without a checkpoint.
    fn checkpoint(&mut self) {
        let (messages, fed) = (self.messages.len(), self.fed.len());
        if fed == 0 || self.checkpoints.of(messages, fed).is_some() {
            return;
        }
        if self.checkpoints.make_room(self.session.snapshot_bytes()) {
            // The session refers to the last one, which may have been dropped.
            if self.checkpoints.is_empty() {
                self.set_history();
            }
            if let Ok(snapshot) = self.session.snapshot() {
                let (recent, snapshot) = (self.sampler.recent(), Arc::new(snapshot));
                self.checkpoints.push(Checkpoint { messages, fed, recent, snapshot });
            }
        }
        self.set_history();
    }

    /// Processes what leads to the answer.
    fn process_turn(&mut self) -> Result<()> {
        let start = Instant::now();
        let language = self.language.clone();
        let chat = self.chat_of(&language)?;
        let cancelled = || self.session.is_cancelled();
        // Most templates write a message without regard to the middle of the chat. Once one has done
        // so several times, a turn costs as much in a long chat as in a short one.
        let answer = self.fed.answer();
        let new = answer.and_then(|answer| chat.next(&self.messages, &answer).transpose());
        let (text, tokens) = match new.transpose()? {
            Some(new) if self.proofs >= PROOFS => {
                let tokens = chat.continued(&new, &cancelled)?;
                (new, tokens)
            }
            new => {
                let turn = chat.turn(&self.messages, &self.fed.whole(), &cancelled)?;
                match new {
                    Some(new) if turn.new.as_ref() == Some(&new) => self.proofs += 1,
                    Some(_) => self.proofs = 0,
                    None => {}
                }
                match turn.new {
                    Some(new) => (new, turn.tokens),
                    None => {
                        self.session.reset();
                        self.sampler.forget();
                        // What came before belongs to a text that is no longer the chat's.
                        self.checkpoints.clear();
                        self.fed = Fed::default();
                        (turn.text, turn.tokens)
                    }
                }
            }
        };
        self.process(&tokens)?;
        self.session.check_cancel()?;
        self.fed.push(&text);
        self.prompt = Speed { tokens: tokens.len(), time: start.elapsed() };
        Ok(())
    }

    /// Has the session process tokens, which then count as recent.
    fn process(&mut self, tokens: &[u32]) -> Result<()> {
        self.session.go_on(tokens)?;
        tokens.iter().for_each(|&token| self.sampler.accept(token));
        Ok(())
    }

    /// Back to `before` messages, after a failed turn.
    fn take_back(&mut self, before: usize, geometry: Geometry) -> Result<()> {
        self.messages.truncate(before);
        let back = self.go_back(before);
        self.forget_larger(geometry);
        back
    }

    /// Has the session forget a turn, from after the first `before` messages on, which ended with
    /// a text that does not count. The next turn processes the messages that stay.
    fn forget_turn(&mut self, before: usize) {
        if let Err(e) = self.go_back(before) {
            log::warn!("the chat is processed again: {e}");
            self.start_over();
        }
    }

    /// Drops the checkpoints of a session that was larger: they can't be restored.
    fn forget_larger(&mut self, geometry: Geometry) {
        if self.session.geometry() != geometry {
            self.checkpoints.clear();
            self.set_history();
        }
    }

    /// Brings the session to the end of the first `messages` messages.
    fn go_back(&mut self, messages: usize) -> Result<()> {
        self.sampler.forget();
        let rewound = match self.checkpoints.back_to(messages) {
            None => None,
            Some(checkpoint) => match self.session.rewind(&checkpoint.snapshot) {
                Ok(()) => Some(checkpoint),
                // Cancelled while paused, when nothing may be copied; or shrunk meanwhile.
                Err(Error::Paused | Error::Argument(_)) => None,
                Err(e) => return Err(e),
            },
        };
        match rewound {
            Some(checkpoint) => {
                self.sampler.recall(&checkpoint.recent);
                self.fed.truncate(checkpoint.fed);
            }
            None => self.start_over(),
        }
        self.set_history();
        Ok(())
    }

    /// The next turn processes the whole chat.
    fn start_over(&mut self) {
        self.fed = Fed::default();
        self.session.reset();
    }

    fn chat_of<'a>(&self, language: &'a Language) -> Result<Chat<'a>> {
        Ok(language.chat()?.parse_special(self.parse_special))
    }

    /// The answer as a message. Many templates themselves put the space with which a model begins
    /// its answer before the message; if the message contained it too, they would write it twice,
    /// and the session would have to process the whole chat again.
    fn as_written(&self, answer: String) -> Message {
        let trimmed = answer.trim_start();
        if trimmed.len() < answer.len() {
            let written = self.chat_of(&self.language).and_then(|chat| {
                let marked = chat.mark(&answer);
                chat.is_written(&self.messages, trimmed, &marked)
            });
            if written.unwrap_or(false) {
                return Message::assistant(trimmed);
            }
        }
        Message::assistant(answer)
    }
}
