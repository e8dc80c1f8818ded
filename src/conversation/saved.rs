//! Chats in files: a saved session with the messages as its note.

use super::Conversation;
use super::fed::Fed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::sample::Sampler;
use crate::session::{Place, Session};
use crate::text::{Language, Message};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The contents of the note.
#[derive(Serialize, Deserialize)]
struct Note {
    messages: Vec<Message>,
    fed: String,
    /// The sampler's recent tokens; missing in files of earlier versions.
    #[serde(default)]
    recent: Vec<u32>,
}

impl Conversation {
    /// Saves the chat at `path`: messages and the state of the session. An existing file stays
    /// intact until the new one is complete.
    ///
    /// # Errors
    /// As [`Session::save`].
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let note = self.note()?;
        self.session.save(path, &note)
    }

    /// [`Conversation::save`] to a claimed file.
    ///
    /// # Errors
    /// As [`Session::save`].
    pub fn save_at(&mut self, place: &mut Place) -> Result<()> {
        let note = self.note()?;
        self.session.save_at(place, &note)
    }

    fn note(&self) -> Result<Vec<u8>> {
        let note = Note {
            messages: self.messages.clone(),
            fed: self.fed.whole(),
            recent: self.sampler.recent(),
        };
        serde_json::to_vec(&note)
            .map_err(|e| Error::saved("the messages", format!("can't be written: {e}")))
    }

    /// Resumes the chat that was saved at `path`; nothing is processed again.
    ///
    /// # Errors
    /// As [`Session::resume`], and [`Error::Saved`] if the file is a session without a chat.
    pub fn resume(
        engine: &Engine,
        path: impl AsRef<Path>,
        sampler: Sampler,
        language: Language,
    ) -> Result<Conversation> {
        let (session, note) = Session::resume(engine, path)?;
        Conversation::from_saved(session, &note, sampler, language)
    }

    /// The chat of a session that was resumed, together with its note.
    ///
    /// # Errors
    /// [`Error::Saved`] if the note is not that of a chat.
    pub fn from_saved(
        session: Session,
        note: &[u8],
        mut sampler: Sampler,
        language: Language,
    ) -> Result<Conversation> {
        let note: Note = serde_json::from_slice(note)
            .map_err(|e| Error::saved("it", format!("is a session without a chat: {e}")))?;
        sampler.recall(&note.recent);
        let system = note.messages.first().filter(|m| m.role == "system");
        let system = system.map(|m| m.content.clone());
        let mut chat = Conversation {
            messages: note.messages,
            fed: Fed::new(note.fed),
            ..Conversation::with(session, sampler, language, system)
        };
        if chat.fed.is_empty() {
            // From a chat whose first prompt was cancelled midway.
            chat.session.reset();
        }
        chat.set_history();
        Ok(chat)
    }
}
