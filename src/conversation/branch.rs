//! A chat as it was at some moment, kept in memory: to go back to, or to go on from twice.

use super::Conversation;
use super::checkpoints::Checkpoints;
use crate::error::Result;
use crate::session;
use crate::text::Message;

/// A chat as it was at some moment: messages and the state of the session.
pub struct Snapshot {
    session: session::Snapshot,
    messages: Vec<Message>,
    fed: String,
    recent: Vec<u32>,
}

impl Snapshot {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let texts: usize = self.messages.iter().map(|m| m.content.len()).sum();
        self.session.bytes() + (texts + self.fed.len() + 4 * self.recent.len()) as u64
    }
}

impl Conversation {
    /// The chat as it is now.
    ///
    /// # Errors
    /// As [`Session::snapshot`](session::Session::snapshot).
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        Ok(Snapshot {
            session: self.session.snapshot()?,
            messages: self.messages.clone(),
            fed: self.fed.clone(),
            recent: self.sampler.recent(),
        })
    }

    /// Back, or forth, to a snapshot of this chat or of another of the same model and budget.
    ///
    /// # Errors
    /// As [`Session::rewind`](session::Session::rewind).
    pub fn rewind(&mut self, to: &Snapshot) -> Result<()> {
        self.session.rewind(&to.session)?;
        self.sampler.recall(&to.recent);
        self.messages.clone_from(&to.messages);
        self.fed.clone_from(&to.fed);
        self.checkpoints.clear();
        self.set_history();
        Ok(())
    }

    /// A second chat that stands where this one does and goes its own way from here.
    ///
    /// # Errors
    /// As [`Session::fork`](session::Session::fork).
    pub fn fork(&mut self) -> Result<Conversation> {
        let mut fork = Conversation {
            session: self.session.fork()?,
            sampler: self.sampler.clone(),
            language: self.language.clone(),
            system: self.system.clone(),
            messages: self.messages.clone(),
            fed: self.fed.clone(),
            checkpoints: Checkpoints::default(),
            parse_special: self.parse_special,
            prompt: self.prompt,
            answer: self.answer,
        };
        fork.set_history();
        Ok(fork)
    }
}
