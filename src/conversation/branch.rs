//! A chat at some point in time, kept in memory: to return to, or to continue from twice.

use super::Conversation;
use super::fed::Fed;
use crate::error::Result;
use crate::session;
use crate::text::Message;

/// A chat at some point in time: messages and the state of the session.
pub struct Snapshot {
    session: session::Snapshot,
    messages: Vec<Message>,
    fed: String,
    recent: Vec<u32>,
}

impl Snapshot {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let texts: usize = self.messages.iter().map(Message::bytes).sum();
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
            fed: self.fed.whole(),
            recent: self.sampler.recent(),
        })
    }

    /// Restores a snapshot, earlier or later, of this chat or of another one of the same model and
    /// budget.
    ///
    /// # Errors
    /// As [`Session::rewind`](session::Session::rewind).
    pub fn rewind(&mut self, to: &Snapshot) -> Result<()> {
        self.session.rewind(&to.session)?;
        self.sampler.recall(&to.recent);
        self.messages.clone_from(&to.messages);
        self.fed = Fed::new(to.fed.clone());
        self.checkpoints.clear();
        self.set_history();
        Ok(())
    }

    /// A second chat at the same point as this one, independent from here on.
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
            fed: Fed::new(self.fed.whole()),
            proofs: self.proofs,
            checkpoints: self.checkpoints.empty(),
            most_text: self.most_text,
            parse_special: self.parse_special,
            prompt: self.prompt,
            answer: self.answer,
        };
        fork.set_history();
        Ok(fork)
    }
}
