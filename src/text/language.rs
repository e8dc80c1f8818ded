//! Everything between text and the tokens of one model.

use super::chat::Chat;
use super::message::Variables;
use super::source::TextSource;
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;
use crate::error::{Detail, Error, Result};
use crate::model::Model;
use std::sync::Arc;

/// The tokenizer and the chat template of a model. Cheap to clone: sessions and threads share it.
#[derive(Clone, Debug)]
pub struct Language {
    parts: Arc<Parts>,
    variables: Arc<Variables>,
}

#[derive(Debug)]
struct Parts {
    tokenizer: Tokenizer,
    /// Or the reason why none is usable: text without messages needs none.
    template: std::result::Result<ChatTemplate, Detail>,
}

impl Language {
    /// Read from the file of `model`: its tokenizer, and its chat template or, if it has none, one
    /// that suits its tokens.
    ///
    /// # Errors
    /// Those of the tokenizer. A template that can't be used is an error of [`Language::chat`].
    pub fn from_model(model: &Model) -> Result<Language> {
        let tokenizer = Tokenizer::new(&TextSource::from_gguf(model.gguf())?)?;
        let source = model.gguf().str("tokenizer.chat_template");
        let template = source.and_then(|source| ChatTemplate::for_tokenizer(source, &tokenizer));
        Ok(Language::new(tokenizer, template))
    }

    /// The tokenizer of `model` with another chat template than its file's.
    ///
    /// Templates are rendered as by the `transformers` package: blocks are trimmed, Python's string
    /// and dictionary methods work, line ends are line feeds, `raise_exception(text)` ends the
    /// rendering with that text, `strftime_now(format)` gives the time (in UTC, at the moment when
    /// the template was read, so that a chat that continues past midnight keeps its beginning) and
    /// `tojson` writes JSON like Python. A template can read nothing but its messages and variables,
    /// and its size, its work and the size and depth of its values are limited, in proportion to these.
    ///
    /// # Errors
    /// Those of the tokenizer, and [`Error::Template`] if the template can't be used.
    pub fn with_template(model: &Model, template: &str) -> Result<Language> {
        let tokenizer = Tokenizer::new(&TextSource::from_gguf(model.gguf())?)?;
        let template = ChatTemplate::for_tokenizer(Some(template), &tokenizer)?;
        Ok(Language::new(tokenizer, Ok(template)))
    }

    /// A tokenizer with a template, or with the reason why there is none.
    pub(crate) fn new(tokenizer: Tokenizer, template: Result<ChatTemplate>) -> Language {
        let template = template.map_err(|e| match e {
            Error::Template(detail) => detail,
            other => Detail { what: String::new(), problem: other.to_string() },
        });
        Language { parts: Arc::new(Parts { tokenizer, template }), variables: Arc::default() }
    }

    /// The same with other variables for the template, which it sees in addition to the messages; they
    /// replace all earlier ones: an object in JSON, such as `{"tools": […], "enable_thinking": false}`. Tools are written
    /// as the `transformers` package has them: `{"type": "function", "function": {"name": …}}`.
    ///
    /// Names of special tokens in it are plain text, as they are in messages.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn with_variables(&self, json: &str) -> Result<Language> {
        let variables = Arc::new(Variables::from_json(json)?);
        Ok(Language { parts: Arc::clone(&self.parts), variables })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.parts.tokenizer
    }

    fn template(&self) -> Result<&ChatTemplate> {
        self.parts.template.as_ref().map_err(|detail| Error::Template(detail.clone()))
    }

    /// Both, for messages.
    ///
    /// # Errors
    /// [`Error::Template`] if the file's template can't be used.
    pub fn chat(&self) -> Result<Chat<'_>> {
        Ok(Chat::new(self.tokenizer(), self.template()?, &self.variables))
    }

    /// The tokens of a text that starts a session: BOS comes first if the model expects it, once.
    /// With `special`, names of special tokens in the text become those tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn begin(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        Ok(self.begun(self.tokenizer().encode(text, special)?))
    }

    /// Those of its tokens: with BOS, once.
    pub(crate) fn begun(&self, tokens: Vec<u32>) -> Vec<u32> {
        with_bos(self.tokenizer(), tokens)
    }
}

/// `tokens` at the start of a session.
pub(super) fn with_bos(tokenizer: &Tokenizer, mut tokens: Vec<u32>) -> Vec<u32> {
    if let Some(bos) = tokenizer.bos()
        && tokenizer.add_bos()
        && tokens.first() != Some(&bos)
    {
        tokens.insert(0, bos);
    }
    tokens
}
