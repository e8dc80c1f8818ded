//! What a chat forgets of its own text, so that its memory is bounded however long it goes on.

use super::fed::Fed;
use super::{Conversation, PROOFS};
use crate::text::alternate;

/// The text of a chat that is kept in any case, in bytes.
const LEAST_TEXT: u64 = 1 << 20;

/// Bytes of text that are kept for a token that the session sees: more than a token has.
const TEXT_OF_A_TOKEN: u64 = 64;

impl Conversation {
    /// Keeps at most about `bytes` of text: beyond that, the older half of the turns is forgotten,
    /// all but the first one. By default 1 MiB, or 64 bytes for each token that the session sees if
    /// that is more. A chat whose template writes a message differently depending on the middle of
    /// the chat keeps everything.
    pub fn set_most_text(&mut self, bytes: usize) {
        self.most_text = Some(bytes);
    }

    fn most_text(&self) -> usize {
        self.most_text.unwrap_or_else(|| {
            let reach = self.session.reach();
            let tokens =
                reach.far.map_or(reach.near.tokens, |far| far.tokens.max(reach.near.tokens));
            let bytes = tokens.saturating_mul(TEXT_OF_A_TOKEN).max(LEAST_TEXT);
            usize::try_from(bytes).unwrap_or(usize::MAX)
        })
    }

    /// Forgets the oldest turns if the text is too long; called when an answer is complete.
    pub(super) fn forget_oldest(&mut self) {
        // The first turn and the last one show how a message is written.
        let first = 2 + usize::from(self.messages.first().is_some_and(|m| m.role == "system"));
        let turns = self.messages.len().saturating_sub(first) / 2;
        if turns < 3 || self.proofs < PROOFS || self.fed.len() <= self.most_text() {
            return;
        }
        let end = first + turns.div_ceil(2) * 2;
        if !alternate(&self.messages[first..]) {
            return;
        }
        let Some(answer) = self.fed.answer() else { return };
        let left = [&self.messages[..first], &self.messages[end..]].concat();
        let before = self.chat_of(&self.language).and_then(|chat| {
            // Up to where the last answer begins.
            chat.marked(&left[..left.len() - 1], true)
        });
        let Ok(before) = before else { return };
        let Some(bytes) = self.fed.len().checked_sub(before.len() + answer.len()) else { return };
        self.checkpoints.forget(end, end - first, bytes);
        self.messages = left;
        self.fed = Fed::new(before);
        self.fed.push_answer(&answer);
    }
}
