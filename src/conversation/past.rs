//! What a chat's session is restored from when its engine is lost: the last checkpoint, or the text
//! of the chat.

use super::Conversation;
use super::fed::Beginning;
use crate::error::Result;
use crate::session::Snapshot;
use crate::session::lost::History;
use crate::text::Language;
use std::sync::Arc;

struct Past {
    language: Language,
    /// Everything that the session had processed.
    text: Beginning,
    snapshot: Option<Arc<Snapshot>>,
}

impl History for Past {
    fn tokens(&self) -> Result<Vec<u32>> {
        match &*self.text.whole() {
            "" => Ok(Vec::new()),
            text => self.language.chat()?.whole(text, &|| false),
        }
    }

    fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_deref()
    }
}

impl Conversation {
    /// Reports to the session what it has processed so far.
    pub(super) fn set_history(&mut self) {
        let checkpoint = self.checkpoints.of(self.messages.len(), self.fed.len());
        self.session.set_history(Past {
            language: self.language.clone(),
            text: self.fed.beginning(),
            snapshot: checkpoint.map(|c| Arc::clone(&c.snapshot)),
        });
    }
}
