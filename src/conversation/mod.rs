//! A chat: messages in, answers out, on a session that remembers as much as its budget holds.
//!
//! A conversation can go back: [`Conversation::undo`] takes the last message back, and an answer
//! that fails or is cancelled before it began leaves the chat as it was. Neither reads the chat
//! anew, as a [`Snapshot`](crate::session::Snapshot) is kept at the end of each turn, in bounds.
//!
//! On an engine that another is to take over from ([`OrCpu`](crate::engine::OrCpu)) a chat outlives
//! the GPU, in the middle of an answer too: it goes on from the last of those snapshots.

mod branch;
mod checkpoints;
mod lost;
mod saved;

use crate::error::{Error, Result};
use crate::sample::Sampler;
use crate::session::{Cancel, Pause, Session, Shrink};
use crate::text::{Chat, ChatTemplate, Detokeniser, Message, Tokenizer};
pub use branch::Snapshot;
use checkpoints::{Checkpoint, Checkpoints};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How an answer came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The model ended its turn.
    Ended,
    /// As many tokens as an answer may have.
    Limit,
    /// Cancelled, or stopped by the caller's function: the answer counts as far as it came.
    Stopped,
    /// Cancelled before the answer began: the message does not count.
    Dropped,
}

/// Tokens, and the time they took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    /// Number of tokens.
    pub tokens: usize,
    /// Time from the first to the last.
    pub time: Duration,
}

/// What came of an answer.
struct Answer {
    text: String,
    /// Number of tokens.
    tokens: usize,
    outcome: Outcome,
    /// Whether the session has taken in all of it: not if it was cancelled while another engine read
    /// the chat anew.
    whole: bool,
}

/// What turns text to tokens and messages to text, and may be shared by conversations.
#[derive(Clone)]
pub struct Language {
    /// The tokenizer of the model.
    pub tokenizer: Arc<Tokenizer>,
    /// The chat template of the model.
    pub template: Arc<ChatTemplate>,
}

/// A chat on a session.
pub struct Conversation {
    session: Session,
    sampler: Sampler,
    language: Language,
    system: Option<Message>,
    messages: Vec<Message>,
    /// The text that the session has taken in; empty if it is to begin anew.
    fed: String,
    checkpoints: Checkpoints,
    parse_special: bool,
    prompt: Speed,
    answer: Speed,
}

impl Conversation {
    /// A chat on a fresh `session`, with an instruction before it if there is to be one.
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

    /// On a session as it is.
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
            fed: String::new(),
            checkpoints: Checkpoints::default(),
            parse_special: false,
            prompt: Speed::default(),
            answer: Speed::default(),
        }
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session as it is, and the sampler; the messages are forgotten.
    pub fn into_parts(self) -> (Session, Sampler) {
        (self.session, self.sampler)
    }

    /// Chooses tokens with `sampler` from now on, to which the recent ones stay recent.
    pub fn set_sampler(&mut self, sampler: Sampler) {
        let before = std::mem::replace(&mut self.sampler, sampler);
        self.sampler.recall(&before.recent());
    }

    /// Whether messages that spell special tokens, such as `<|im_end|>`, become these tokens from now
    /// on: see [`Chat::parse_special`]. Not so at first.
    pub fn set_parse_special(&mut self, yes: bool) {
        self.parse_special = yes;
    }

    /// What [`Conversation::set_parse_special`] has been told.
    pub fn parse_special(&self) -> bool {
        self.parse_special
    }

    /// The messages so far, the instruction included.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Tokens and time of the last prompt and of the last answer.
    pub fn speed(&self) -> (Speed, Speed) {
        (self.prompt, self.answer)
    }

    /// Bytes that snapshots hold, beside the session.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.checkpoints.bytes()
    }

    /// Cancels [`Conversation::answer`] from any thread.
    pub fn cancel_handle(&self) -> Cancel {
        self.session.cancel_handle()
    }

    /// Holds [`Conversation::answer`] up from any thread.
    pub fn pause_handle(&self) -> Pause {
        self.session.pause_handle()
    }

    /// Asks the session to make itself smaller, from any thread, in the middle of an answer too.
    pub fn shrink_handle(&self) -> Shrink {
        self.session.shrink_handle()
    }

    /// Makes the session's state as small as `bytes` allow, and forgets the snapshots of earlier
    /// turns: taking one back then reads the chat anew.
    ///
    /// # Errors
    /// As [`Session::shrink`].
    pub fn shrink(&mut self, bytes: u64) -> Result<()> {
        self.session.shrink(bytes)?;
        self.checkpoints.clear();
        Ok(())
    }

    /// Begins anew, with the instruction alone.
    pub fn reset(&mut self) {
        self.session.reset();
        self.sampler.forget();
        self.fed.clear();
        self.messages.clear();
        self.messages.extend(self.system.clone());
        self.checkpoints.clear();
        (self.prompt, self.answer) = Default::default();
    }

    /// Takes the last message and its answer back; says whether there was one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn undo(&mut self) -> Result<bool> {
        let Some(last) = self.messages.iter().rposition(|m| m.role == "user") else {
            return Ok(false);
        };
        self.messages.truncate(last);
        self.go_back()?;
        Ok(true)
    }

    /// Takes in the messages that there are, such as a long instruction, so that the first answer
    /// has only its question to wait for. Does nothing after the first answer.
    ///
    /// # Errors
    /// Those of the session, the tokenizer and the template, which may ask for a message of the
    /// user first; the chat is as it was before.
    pub fn prepare(&mut self) -> Result<()> {
        if !self.fed.is_empty() || self.messages.is_empty() {
            return Ok(());
        }
        self.session.begin();
        let language = self.language.clone();
        let chat = self.chat_of(&language);
        let text = chat.render(&self.messages, false)?;
        let tokens = chat.encode(&self.messages, false)?;
        self.session.reset();
        let fed = self.session.go_on(&tokens);
        self.or_read_anew(fed, &text, &[])?;
        // As in an answer: what the session takes in counts as recent, whoever wrote it.
        self.sampler.recall(&tokens);
        self.fed = text;
        Ok(())
    }

    /// Answers `message` with at most `limit` tokens. `each` gets the text of the answer as it is
    /// made, whole characters only, and says whether to go on.
    ///
    /// # Errors
    /// Those of the session, the tokenizer and the template; the chat is as it was before.
    pub fn answer(
        &mut self,
        message: impl Into<String>,
        limit: usize,
        each: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Outcome> {
        self.session.begin();
        let before = self.messages.len();
        let geometry = self.session.geometry();
        // Where there is no memory for a snapshot the chat goes on without.
        if !self.fed.is_empty()
            && let Ok(snapshot) = self.session.snapshot()
        {
            let (fed, recent) = (self.fed.len(), self.sampler.recent());
            self.checkpoints.push(Checkpoint { messages: before, fed, recent, snapshot });
        }
        self.messages.push(Message::user(message));
        let result = self.attempt(limit, each);
        if matches!(result, Err(_) | Ok(Outcome::Dropped)) {
            self.messages.truncate(before);
            self.go_back()?;
        }
        if self.session.geometry() != geometry {
            // Made smaller meanwhile: they can't be gone back to.
            self.checkpoints.clear();
        }
        result
    }

    /// Brings the session to where the messages that are left end.
    fn go_back(&mut self) -> Result<()> {
        self.sampler.forget();
        match self.checkpoints.take(self.messages.len()) {
            Some(Checkpoint { fed, recent, snapshot, .. }) => {
                let mut text = std::mem::take(&mut self.fed);
                match self.session.rewind(&snapshot) {
                    // Cancelled while paused, when nothing may be copied; or made smaller meanwhile.
                    Err(Error::Paused | Error::Argument(_)) => return Ok(()),
                    other => other?,
                }
                text.truncate(fed);
                self.fed = text;
                self.sampler.recall(&recent);
            }
            // The next turn takes in the whole chat.
            None => self.fed.clear(),
        }
        Ok(())
    }

    fn attempt(&mut self, limit: usize, each: &mut dyn FnMut(&str) -> bool) -> Result<Outcome> {
        let start = Instant::now();
        let language = self.language.clone();
        let chat = self.chat_of(&language);
        let turn = chat.turn(&self.messages, &self.fed)?;
        if turn.restart {
            self.session.reset();
            self.sampler.forget();
            // What lies before belongs to a text that is not the chat's any more.
            self.checkpoints.clear();
        }
        for &token in &turn.tokens {
            self.sampler.accept(token);
        }
        let fed = self.session.go_on(&turn.tokens);
        match self.or_read_anew(fed, &turn.text, &[]) {
            Err(Error::Cancelled) => return Ok(Outcome::Dropped),
            other => other?,
        }
        if self.session.is_cancelled() {
            return Ok(Outcome::Dropped);
        }
        self.prompt = Speed { tokens: turn.tokens.len(), time: start.elapsed() };

        let start = Instant::now();
        let Answer { text: answer, tokens, outcome, whole } =
            self.generate(&turn.text, limit, each)?;
        self.answer = Speed { tokens, time: start.elapsed() };
        self.fed = turn.text + &chat.mark(&answer);
        let message = self.as_written(answer)?;
        self.messages.push(message);
        if !whole {
            self.fed.clear();
        }
        Ok(outcome)
    }

    /// Answers the chat `text`.
    ///
    /// A token that ends the turn is not fed here: what stands between an answer and the next
    /// message is the template's to say, and [`Chat::turn`] brings it along. A turn that ends
    /// otherwise, or with another token than the template's, thus goes on as well as any.
    fn generate(
        &mut self,
        text: &str,
        limit: usize,
        each: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Answer> {
        let tokenizer = Arc::clone(&self.language.tokenizer);
        let mut detokeniser = Detokeniser::new();
        let mut answer = String::new();
        let mut outcome = Outcome::Limit;
        let mut tokens = Vec::new();
        let mut whole = true;
        while tokens.len() < limit {
            let token = match self.session.choose(&mut self.sampler) {
                Ok(token) => token,
                Err(e) => match self.or_read_anew(Err(e), text, &tokens) {
                    Err(Error::Cancelled) => {
                        whole = !self.session.is_to_move();
                        outcome = Outcome::Stopped;
                        break;
                    }
                    // Read anew, by which all logits are there.
                    other => other.and_then(|()| self.session.choose(&mut self.sampler))?,
                },
            };
            if tokenizer.is_end(token) {
                outcome = Outcome::Ended;
                break;
            }
            let piece = detokeniser.push(token, &tokenizer);
            answer.push_str(piece);
            let length = piece.len();
            let go_on = piece.is_empty() || each(piece);
            tokens.push(token);
            let fed = self.session.follow(token, &self.sampler);
            let reads_anew = fed.is_err() && self.session.is_to_move();
            match self.or_read_anew(fed, text, &tokens) {
                Err(Error::Cancelled) => {
                    // While paused: the token is not taken in, and so no part of the answer.
                    whole = !reads_anew;
                    answer.truncate(answer.len() - length);
                    tokens.pop();
                    outcome = Outcome::Stopped;
                    break;
                }
                other => other?,
            }
            if !go_on || self.session.is_cancelled() {
                outcome = Outcome::Stopped;
                break;
            }
        }
        let fetched = self.session.fetch_logits();
        match self.or_read_anew(fetched, text, &tokens) {
            // The next turn feeds its message first and needs none.
            Err(Error::Paused) => {}
            Err(Error::Cancelled) => whole = false,
            other => other?,
        }
        let rest = detokeniser.flush();
        if !rest.is_empty() {
            each(rest);
            answer.push_str(rest);
        }
        Ok(Answer { text: answer, tokens: tokens.len(), outcome, whole })
    }

    fn chat_of<'a>(&self, language: &'a Language) -> Chat<'a> {
        Chat::new(&language.tokenizer, &language.template).parse_special(self.parse_special)
    }

    /// The answer as a message. Many templates put the space that a model begins its answer with
    /// before the message themselves; with it in the message they would write it twice, and the
    /// session would have to take in the whole chat anew.
    fn as_written(&self, answer: String) -> Result<Message> {
        let trimmed = answer.trim_start();
        if trimmed.len() < answer.len() {
            let mut chat = self.messages.clone();
            chat.push(Message::assistant(trimmed));
            if self.chat_of(&self.language).begins_with(&chat, &self.fed)? {
                return Ok(Message::assistant(trimmed));
            }
        }
        Ok(Message::assistant(answer))
    }
}
