//! A chat: the messages so far, and the session that has taken them in.

use crate::interrupt::Interrupt;
use anyhow::Result;
use attamba::Error;
use attamba::sample::Sampler;
use attamba::session::Session;
use attamba::text::{Chat, ChatTemplate, Detokeniser, Message, Tokenizer};
use std::time::{Duration, Instant};

/// How an answer came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The model ended its turn.
    Ended,
    /// As many tokens as an answer may have.
    Limit,
    /// Interrupted within the answer, which counts as far as it came.
    Stopped,
    /// Interrupted before the answer began: the message does not count.
    Dropped,
}

/// Tokens, and the time they took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    pub tokens: usize,
    pub time: Duration,
}

/// A chat on a session.
pub struct Conversation<'a> {
    pub session: Session,
    sampler: Sampler,
    tokenizer: &'a Tokenizer,
    template: &'a ChatTemplate,
    /// Tokens that an answer may have.
    limit: usize,
    system: Option<Message>,
    messages: Vec<Message>,
    /// The text that the session has taken in; empty if it is to begin anew.
    fed: String,
    /// The last prompt and the last answer.
    pub speed: [Speed; 2],
}

impl<'a> Conversation<'a> {
    pub fn new(
        session: Session,
        sampler: Sampler,
        (tokenizer, template): (&'a Tokenizer, &'a ChatTemplate),
        system: Option<String>,
        limit: usize,
    ) -> Conversation<'a> {
        let system = system.map(Message::system);
        let mut new = Conversation {
            session,
            sampler,
            tokenizer,
            template,
            limit,
            system,
            messages: Vec::new(),
            fed: String::new(),
            speed: <[Speed; 2]>::default(),
        };
        new.reset();
        new
    }

    /// Begins anew, with the system message alone.
    pub fn reset(&mut self) {
        self.session.reset();
        self.sampler.forget();
        self.fed.clear();
        self.messages.clear();
        self.messages.extend(self.system.clone());
        self.speed = <[Speed; 2]>::default();
    }

    /// Answers `message`; `print` gets the text of the answer as it is made. After an error the
    /// chat is as it was before the message.
    pub fn answer(
        &mut self,
        message: String,
        interrupt: &Interrupt,
        print: &mut dyn FnMut(&str) -> std::io::Result<()>,
    ) -> Result<Outcome> {
        self.messages.push(Message::user(message));
        let result = self.attempt(interrupt, print);
        if matches!(result, Err(_) | Ok(Outcome::Dropped)) {
            self.messages.pop();
            // What the session has seen is unknown. The next turn begins it anew.
            self.fed.clear();
        }
        result
    }

    fn attempt(
        &mut self,
        interrupt: &Interrupt,
        print: &mut dyn FnMut(&str) -> std::io::Result<()>,
    ) -> Result<Outcome> {
        let start = Instant::now();
        let turn = Chat::new(self.tokenizer, self.template).turn(&self.messages, &self.fed)?;
        if turn.restart {
            self.session.reset();
            self.sampler.forget();
        }
        for &token in &turn.tokens {
            self.sampler.accept(token);
        }
        match self.session.feed(&turn.tokens) {
            Err(Error::Cancelled) => return Ok(Outcome::Dropped),
            other => other?,
        }
        if interrupt.is_set() {
            return Ok(Outcome::Dropped);
        }
        self.speed[0] = Speed { tokens: turn.tokens.len(), time: start.elapsed() };

        let start = Instant::now();
        let (answer, tokens, outcome) = self.generate(interrupt, print)?;
        self.speed[1] = Speed { tokens, time: start.elapsed() };
        self.fed = turn.text + &answer;
        let message = self.as_written(answer)?;
        self.messages.push(message);
        Ok(outcome)
    }

    /// The answer, its tokens, and why it ended.
    ///
    /// A token that ends the turn is not fed here: what stands between an answer and the next
    /// message is the template's to say, and [`Chat::turn`] brings it along. A turn that ends
    /// otherwise, or with another token than the template's, thus goes on as well as any.
    fn generate(
        &mut self,
        interrupt: &Interrupt,
        print: &mut dyn FnMut(&str) -> std::io::Result<()>,
    ) -> Result<(String, usize, Outcome)> {
        let mut detokeniser = Detokeniser::new();
        let mut answer = String::new();
        let mut outcome = Outcome::Limit;
        let mut tokens = 0;
        while tokens < self.limit {
            let token = self.sampler.sample(self.session.logits());
            if self.tokenizer.is_end(token) {
                outcome = Outcome::Ended;
                break;
            }
            let piece = detokeniser.push(token, self.tokenizer);
            print(piece)?;
            answer.push_str(piece);
            self.session.feed(&[token])?;
            tokens += 1;
            if interrupt.is_set() {
                outcome = Outcome::Stopped;
                break;
            }
        }
        let rest = detokeniser.flush();
        print(rest)?;
        answer.push_str(rest);
        Ok((answer, tokens, outcome))
    }

    /// The answer as a message. Many templates put the space that a model begins its answer with
    /// before the message themselves; with it in the message they would write it twice, and the
    /// session would have to take in the whole chat anew.
    fn as_written(&self, answer: String) -> Result<Message> {
        let trimmed = answer.trim_start();
        if trimmed.len() < answer.len() {
            let mut chat = self.messages.clone();
            chat.push(Message::assistant(trimmed));
            if self.template.render(&chat, false)?.starts_with(&self.fed) {
                return Ok(Message::assistant(trimmed));
            }
        }
        Ok(Message::assistant(answer))
    }
}
