//! A chat as tokens: all of it, or only what a session has not seen yet.

use super::language::with_bos;
use super::marks;
use super::merge::Stop;
use super::message::{Message, Variables};
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;
use crate::error::Result;
use std::borrow::Cow;

/// A tokenizer and a template that belong together.
///
/// The content of a message is plain text: only the template's own words become special tokens, so
/// a message containing `<|im_end|>` does not end its turn. [`Chat::parse_special`] changes that.
#[derive(Clone, Copy, Debug)]
pub struct Chat<'a> {
    tokenizer: &'a Tokenizer,
    template: &'a ChatTemplate,
    variables: &'a Variables,
    parse_special: bool,
}

/// What to feed a session for the next answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The tokens to feed.
    pub tokens: Vec<u32>,
    /// The tokens start the chat from the beginning: the session must be a fresh one. Always true
    /// in the first turn, and in a later one if the template rewrites earlier turns.
    pub restart: bool,
    /// What is new in the text, unless the chat starts from the beginning.
    pub(crate) new: Option<String>,
    /// The text that the session has seen once it is fed. Append the answer as it is generated and
    /// pass it to the next turn. Where messages spell special tokens it contains marks: U+FDD0.
    pub text: String,
}

impl<'a> Chat<'a> {
    /// Pairs them.
    pub(crate) fn new(
        tokenizer: &'a Tokenizer,
        template: &'a ChatTemplate,
        variables: &'a Variables,
    ) -> Chat<'a> {
        Chat { tokenizer, template, variables, parse_special: false }
    }

    /// With `yes`, special tokens spelled in messages become those tokens, since the whole rendered
    /// text is parsed as one. For messages that an application writes itself.
    #[must_use]
    pub fn parse_special(self, yes: bool) -> Chat<'a> {
        Chat { parse_special: yes, ..self }
    }

    /// The tokens of a whole chat; with `add_generation_prompt` they end where the answer begins.
    /// The BOS token comes first if the model expects it, once: templates may write it too.
    ///
    /// # Errors
    /// [`Error::Template`](crate::Error::Template) and [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn encode(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>> {
        self.whole(&self.marked(messages, add_generation_prompt)?, &|| false)
    }

    /// The text of a whole chat; with `add_generation_prompt` it ends where the answer begins.
    ///
    /// # Errors
    /// [`Error::Template`](crate::Error::Template).
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        self.template.render_with(messages, add_generation_prompt, self.variables)
    }

    /// The text of a chat, with marks where messages spell special tokens.
    pub(crate) fn marked(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String> {
        if self.parse_special {
            return self.render(messages, add_generation_prompt);
        }
        let mark = |text: &str| self.mark(text).into_owned();
        let marked: Vec<Message> = messages.iter().map(|m| m.marked(&mark)).collect();
        self.template.render_with(&marked, add_generation_prompt, &self.variables.marked(&mark))
    }

    /// The text of an answer as [`Chat::marked`] would write it.
    pub(crate) fn mark<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.parse_special { Cow::Borrowed(text) } else { self.tokenizer.mark(text) }
    }

    /// What follows `answer`, the text of the last answer, in the text of the chat, up to where the
    /// next one begins, if the middle of the chat does not matter: by the text of a chat of the
    /// first messages and the last ones. `None` if there is no middle, or if the template rewrites
    /// the answer.
    pub(crate) fn next(&self, messages: &[Message], answer: &str) -> Result<Option<String>> {
        let Some(ends) = ends(messages) else { return Ok(None) };
        let before = self.marked(&ends[..ends.len() - 2], true)?;
        let text = self.marked(&ends, true)?;
        Ok(marks::after(&text, &(before + answer)).map(str::to_owned))
    }

    /// The tokens of what [`Chat::next`] returned.
    pub(crate) fn continued(&self, text: &str, stop: Stop<'_>) -> Result<Vec<u32>> {
        self.tokenizer.encode_marked(text, stop)
    }

    /// Whether the text of the chat is the same for `answer` to `messages` as for a message without
    /// the spaces before it, `trimmed`.
    pub(crate) fn is_written(
        &self,
        messages: &[Message],
        trimmed: &str,
        answer: &str,
    ) -> Result<bool> {
        // The question alone, or with the first messages, if there are others between.
        let mut ends = ends(messages).unwrap_or_else(|| messages.to_vec());
        let before = self.marked(&ends, true)?;
        ends.push(Message::assistant(trimmed));
        Ok(marks::after(&self.marked(&ends, false)?, &(before + answer)).is_some())
    }

    /// What to feed for the answer to `messages`, of which the session has seen the text `fed`.
    ///
    /// `fed` is empty at first, and then [`Turn::text`] followed by the text of the answer, without
    /// its end token if that was not fed to the session. What the template writes between an answer
    /// and the next message is part of the tokens, and a system prompt that it adds by itself is
    /// not added again. If the chat no longer begins with `fed`, all of it comes back with
    /// [`Turn::restart`].
    pub(crate) fn turn(&self, messages: &[Message], fed: &str, stop: Stop<'_>) -> Result<Turn> {
        let text = self.marked(messages, true)?;
        match marks::after(&text, fed) {
            Some(new) if !fed.is_empty() => {
                let (tokens, new) =
                    (self.tokenizer.encode_marked(new, stop)?, Some(new.to_owned()));
                Ok(Turn { tokens, restart: false, new, text })
            }
            _ => Ok(Turn { tokens: self.whole(&text, stop)?, restart: true, new: None, text }),
        }
    }

    /// The tokens of the text of a whole chat, as in [`Chat::marked`] and [`Turn::text`].
    pub(crate) fn whole(&self, text: &str, stop: Stop<'_>) -> Result<Vec<u32>> {
        Ok(with_bos(self.tokenizer, self.tokenizer.encode_marked(text, stop)?))
    }
}

/// The messages that decide how the last ones are written, if there are others between: the
/// instruction, the first question and its answer, and the last question and answer before the
/// newest message. `None` if they are all, or unless questions and answers alternate there.
fn ends(messages: &[Message]) -> Option<Vec<Message>> {
    let first = usize::from(messages.first()?.role == "system");
    let last = messages.len().checked_sub(3)?;
    let between = last.checked_sub(first + 2)?;
    let (head, tail) = (&messages[first..first + 2], &messages[last..]);
    let some = between > 0 && between % 2 == 0 && alternate(head) && alternate(tail);
    some.then(|| [&messages[..first + 2], tail].concat())
}

/// Whether questions and answers alternate.
pub(crate) fn alternate(messages: &[Message]) -> bool {
    messages.iter().enumerate().all(|(i, m)| m.role == ["user", "assistant"][i % 2])
}
