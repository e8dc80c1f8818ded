//! What a session is doing: raw text, or a chat.

use crate::error::{Failure, Result};
use crate::status::Status;
use runtime::conversation::Conversation;
use runtime::sample::Sampler;
use runtime::session::Session;
use runtime::text::Language;

/// A session's contents. It starts as raw and becomes a chat with the first message; after a reset
/// it may become either again.
pub enum Work {
    Raw(Box<Raw>),
    Chat(Box<Chat>),
    /// Between two of the others, and permanently if a panic occurred in between.
    Nothing,
}

/// Text or tokens that are fed and continued.
pub struct Raw {
    pub session: Session,
    pub sampler: Sampler,
    /// What a chat would use.
    pub as_chat: AsChat,
}

/// A chat.
pub struct Chat {
    pub talk: Conversation,
    /// How tokens would be chosen for raw text.
    pub raw: Sampler,
    pub settings: Settings,
}

/// Settings of a chat.
#[derive(Clone)]
pub struct Settings {
    /// Whether messages that spell special tokens become these.
    pub parse_special: bool,
    /// The most bytes of snapshots; `None` for the default.
    pub checkpoints: Option<u64>,
    /// That of the model with the variables of this session; `None` while it has none.
    pub language: Option<Language>,
}

impl Settings {
    /// A chat with these settings.
    pub fn chat(self, mut talk: Conversation, raw: Sampler) -> Chat {
        talk.set_parse_special(self.parse_special);
        self.checkpoints.into_iter().for_each(|bytes| talk.set_most_checkpoints(bytes));
        Chat { talk, raw, settings: self }
    }
}

/// What a chat starts with.
#[derive(Clone)]
pub struct AsChat {
    pub sampler: Sampler,
    pub settings: Settings,
}

/// How tokens are chosen: for raw text, and in a chat.
pub struct Samplers {
    pub raw: Sampler,
    pub chat: Sampler,
}

impl Samplers {
    /// The same for both.
    pub fn one(sampler: Sampler) -> Samplers {
        Samplers { raw: sampler.clone(), chat: sampler }
    }
}

impl Work {
    /// Whether messages that spell special tokens become these.
    pub fn parse_special(&self) -> Result<bool> {
        match self {
            Work::Raw(raw) => Ok(raw.as_chat.settings.parse_special),
            Work::Chat(chat) => Ok(chat.settings.parse_special),
            Work::Nothing => Err(broken()),
        }
    }

    /// The text side of the session, where `model` is that of its model.
    pub fn language(&self, model: &Language) -> Result<Language> {
        let own = match self {
            Work::Raw(raw) => &raw.as_chat.settings.language,
            Work::Chat(chat) => &chat.settings.language,
            Work::Nothing => return Err(broken()),
        };
        Ok(own.as_ref().unwrap_or(model).clone())
    }

    /// Sets the variables of the template: `json`, and `language` with these.
    pub fn set_variables(&mut self, json: &str, language: Language) -> Result<()> {
        match self {
            Work::Raw(raw) => raw.as_chat.settings.language = Some(language),
            Work::Chat(chat) => {
                chat.talk.set_variables(json)?;
                chat.settings.language = Some(language);
            }
            Work::Nothing => return Err(broken()),
        }
        Ok(())
    }

    /// The seed of the draws.
    pub fn seed(&self) -> Result<u64> {
        match self {
            Work::Raw(raw) => Ok(raw.sampler.seed()),
            Work::Chat(chat) => Ok(chat.raw.seed()),
            Work::Nothing => Err(broken()),
        }
    }

    /// The inner session.
    pub fn session(&self) -> Result<&Session> {
        match self {
            Work::Raw(raw) => Ok(&raw.session),
            Work::Chat(chat) => Ok(chat.talk.session()),
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
    pub fn chat(&mut self, model: &Language) -> Result<&mut Conversation> {
        if let Work::Raw(raw) = self
            && raw.session.position() > 0
        {
            return Err(Failure::new(
                Status::State,
                "the session holds raw text: attamba_session_reset makes it one for a chat",
            ));
        }
        if matches!(self, Work::Raw(_)) {
            self.begin_chat(model, None)?;
        }
        match self {
            Work::Chat(chat) => Ok(&mut chat.talk),
            _ => Err(broken()),
        }
    }

    /// A new chat with an instruction, whatever was there before.
    pub fn begin_chat(&mut self, model: &Language, instruction: Option<String>) -> Result<()> {
        let language = self.language(model)?;
        let Raw { session, sampler: raw, as_chat } = self.take()?;
        let AsChat { sampler, settings } = as_chat;
        let talk = Conversation::new(session, sampler, language, instruction);
        *self = Work::Chat(Box::new(settings.chat(talk, raw)));
        Ok(())
    }

    /// Forgets everything.
    pub fn reset(&mut self) -> Result<()> {
        let mut raw = self.take()?;
        raw.session.reset();
        raw.sampler.recall(&[]);
        *self = Work::Raw(Box::new(raw));
        Ok(())
    }

    /// Changes how tokens are chosen from now on.
    pub fn set_samplers(&mut self, samplers: Samplers) -> Result<()> {
        match self {
            Work::Raw(raw) => {
                let before = std::mem::replace(&mut raw.sampler, samplers.raw);
                raw.sampler.recall(&before.recent());
                raw.as_chat.sampler = samplers.chat;
            }
            Work::Chat(chat) => {
                chat.talk.set_sampler(samplers.chat);
                chat.raw = samplers.raw;
            }
            Work::Nothing => return Err(broken()),
        }
        Ok(())
    }

    /// The logits of the last token.
    pub fn logits(&mut self) -> Result<&[f32]> {
        let session = &mut self.raw()?.session;
        match session.position() {
            0 => Ok(&[]),
            _ => Ok(session.logits()?),
        }
    }

    /// Shrinks the state to at most `bytes`.
    pub fn shrink(&mut self, bytes: u64) -> Result<()> {
        match self {
            Work::Raw(raw) => raw.session.shrink(bytes)?,
            Work::Chat(chat) => chat.talk.shrink(bytes)?,
            Work::Nothing => return Err(broken()),
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Raw> {
        match std::mem::replace(self, Work::Nothing) {
            Work::Raw(raw) => Ok(*raw),
            Work::Chat(chat) => {
                let Chat { talk, raw, settings } = *chat;
                let (session, sampler) = talk.into_parts();
                Ok(Raw { session, sampler: raw, as_chat: AsChat { sampler, settings } })
            }
            Work::Nothing => Err(broken()),
        }
    }
}

/// After a panic: what the session was in the middle of is gone.
pub fn broken() -> Failure {
    Failure::new(Status::Internal, "a bug in the library broke this session: close it")
}
