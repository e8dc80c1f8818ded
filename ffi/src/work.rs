//! What a session is busy with: raw text, or a chat.

use crate::error::{Failure, Result};
use crate::status::Status;
use runtime::conversation::{Conversation, Language};
use runtime::sample::Sampler;
use runtime::session::Session;

/// A session's inside. It begins as raw and becomes a chat by the first message, or the other way
/// round once it has been reset.
pub enum Work {
    Raw(Box<Raw>),
    Chat(Box<Conversation>),
    /// Between two of the others, and for ever if a panic came in between.
    Nothing,
}

/// Text or tokens that are fed and gone on from.
pub struct Raw {
    pub session: Session,
    pub sampler: Sampler,
}

impl Work {
    /// The session within.
    pub fn session(&self) -> Result<&Session> {
        match self {
            Work::Raw(raw) => Ok(&raw.session),
            Work::Chat(chat) => Ok(chat.session()),
            Work::Nothing => Err(broken()),
        }
    }

    /// For raw text.
    pub fn raw(&mut self) -> Result<&mut Raw> {
        match self {
            Work::Raw(raw) => Ok(raw),
            Work::Chat(_) => Err(Failure::new(
                Status::State,
                "the session holds a chat: attamba_session_reset makes it one for raw text",
            )),
            Work::Nothing => Err(broken()),
        }
    }

    /// The chat, begun now if nothing has been fed yet.
    pub fn chat(&mut self, language: &Language) -> Result<&mut Conversation> {
        if let Work::Raw(raw) = self
            && raw.session.position() > 0
        {
            return Err(Failure::new(
                Status::State,
                "the session holds raw text: attamba_session_reset makes it one for a chat",
            ));
        }
        if matches!(self, Work::Raw(_)) {
            self.begin_chat(language, None)?;
        }
        match self {
            Work::Chat(chat) => Ok(chat),
            _ => Err(broken()),
        }
    }

    /// A new chat with an instruction, whatever was before.
    pub fn begin_chat(&mut self, language: &Language, instruction: Option<String>) -> Result<()> {
        let Raw { session, sampler } = self.take()?;
        *self = Work::Chat(Box::new(Conversation::new(
            session,
            sampler,
            language.clone(),
            instruction,
        )));
        Ok(())
    }

    /// Forgets everything.
    pub fn reset(&mut self) -> Result<()> {
        let mut raw = self.take()?;
        raw.session.reset();
        raw.sampler.forget();
        *self = Work::Raw(Box::new(raw));
        Ok(())
    }

    /// Chooses tokens otherwise from now on.
    pub fn set_sampler(&mut self, sampler: Sampler) -> Result<()> {
        match self {
            Work::Raw(raw) => {
                let before = std::mem::replace(&mut raw.sampler, sampler);
                raw.sampler.recall(&before.recent());
            }
            Work::Chat(chat) => chat.set_sampler(sampler),
            Work::Nothing => return Err(broken()),
        }
        Ok(())
    }

    /// The logits of the last token.
    pub fn logits(&mut self) -> Result<&[f32]> {
        let session = &mut self.raw()?.session;
        session.fetch_logits()?;
        Ok(session.logits())
    }

    /// Makes the state at most `bytes` large.
    pub fn shrink(&mut self, bytes: u64) -> Result<()> {
        match self {
            Work::Raw(raw) => raw.session.shrink(bytes)?,
            Work::Chat(chat) => chat.shrink(bytes)?,
            Work::Nothing => return Err(broken()),
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Raw> {
        match std::mem::replace(self, Work::Nothing) {
            Work::Raw(raw) => Ok(*raw),
            Work::Chat(chat) => {
                let (session, sampler) = chat.into_parts();
                Ok(Raw { session, sampler })
            }
            Work::Nothing => Err(broken()),
        }
    }
}

/// After a panic: what the session was in the middle of is gone.
pub fn broken() -> Failure {
    Failure::new(Status::Internal, "a defect of the library broke this session: close it")
}
