//! A chat whose engine is lost: another takes over, and reads what the first one had taken in.
//!
//! Snapshots of earlier turns lie in memory of the host, and any engine can go on from them: what is
//! read anew is one turn as a rule, and the whole chat where there is no snapshot. Nothing is
//! forgotten either way.

use super::Conversation;
use crate::error::{Error, Result};
use crate::session::Session;

impl Conversation {
    /// Does `work` on the session, and once more on another engine where the first is lost.
    pub(super) fn on_any_engine<T>(
        &mut self,
        mut work: impl FnMut(&mut Session) -> Result<T>,
    ) -> Result<T> {
        match work(&mut self.session) {
            Err(_) if self.session.is_to_move() => {
                let text = self.fed.clone();
                self.read_anew(&text, &[])?;
                work(&mut self.session)
            }
            other => other,
        }
    }

    /// The result of feeding `text`, and behind it `answer`. Where that failed because the engine is
    /// lost, both are read by the next.
    pub(super) fn or_read_anew(
        &mut self,
        result: Result<()>,
        text: &str,
        answer: &[u32],
    ) -> Result<()> {
        match result {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(_) if self.session.is_to_move() => self.read_anew(text, answer),
            other => other,
        }
    }

    /// Brings the session to where `text` and `answer` end, whatever engine it is to be on.
    fn read_anew(&mut self, text: &str, answer: &[u32]) -> Result<()> {
        let snapshot = self.checkpoints.newest();
        let begun = match snapshot.map(|(fed, snapshot)| (fed, self.session.rewind(snapshot))) {
            Some((fed, Ok(()))) => fed,
            // Of a session that was made smaller in the middle of an answer.
            Some((_, Err(Error::Argument(_)))) | None => 0,
            Some((_, Err(e))) => return Err(e),
        };
        let language = self.language.clone();
        let chat = self.chat_of(&language);
        let begun = text.get(..begun).unwrap_or_default();
        let turn = chat.rest(text.to_owned(), begun)?;
        if turn.restart {
            self.session.reset();
            self.checkpoints.clear();
        }
        let count = turn.tokens.len() + answer.len();
        log::info!("{count} tokens of the chat are read anew");
        self.session.go_on(&turn.tokens)?;
        self.session.go_on(answer)
    }
}
