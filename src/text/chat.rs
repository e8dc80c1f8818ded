//! A chat as tokens: whole, or only what a session has not seen yet.

use super::template::{ChatTemplate, Message};
use super::tokenizer::Tokenizer;
use crate::error::Result;

/// A tokenizer and a template that belong together.
///
/// As everywhere in the field, the rendered text is read as one: a message that spells a special
/// token such as `<|im_end|>` becomes that token. Who passes on messages of strangers should
/// look for that.
#[derive(Clone, Copy, Debug)]
pub struct Chat<'a> {
    tokenizer: &'a Tokenizer,
    template: &'a ChatTemplate,
}

/// What a session is to be fed for the next answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The tokens to feed.
    pub tokens: Vec<u32>,
    /// The tokens begin the chat: the session has to be a fresh one. Always so in the first
    /// turn, and in a later one if the template writes earlier turns anew.
    pub restart: bool,
    /// The text that the session has seen once it is fed. Append the answer as it comes and hand
    /// it to the next turn.
    pub text: String,
}

impl<'a> Chat<'a> {
    /// Pairs them.
    pub fn new(tokenizer: &'a Tokenizer, template: &'a ChatTemplate) -> Chat<'a> {
        Chat { tokenizer, template }
    }

    /// The tokens of a whole chat; with `add_generation_prompt` they end where the answer begins.
    /// The BOS token comes first if the model expects it, once: templates may write it too.
    pub fn encode(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>> {
        self.whole(&self.template.render(messages, add_generation_prompt)?)
    }

    /// What to feed for the answer to `messages`, of which the session has seen the text `fed`.
    ///
    /// `fed` is empty at first, and then [`Turn::text`] followed by the text of the answer, its
    /// end token left out if that was not fed to the session. What the template writes between
    /// an answer and the next message is part of the tokens, and a system prompt that it adds by
    /// itself is not added again. If the chat no longer begins with `fed`, all of it comes back
    /// with [`Turn::restart`].
    ///
    /// ```no_run
    /// # use attamba::text::{Chat, Message};
    /// # fn answer(tokens: &[u32]) -> String { String::new() }
    /// # fn demo(chat: Chat, mut messages: Vec<Message>) -> attamba::Result<()> {
    /// let mut fed = String::new();
    /// loop {
    ///     let turn = chat.turn(&messages, &fed)?;
    ///     // if turn.restart { session.reset() }
    ///     let answer = answer(&turn.tokens);
    ///     fed = turn.text + &answer;
    ///     messages.push(Message::assistant(answer));
    ///     messages.push(Message::user("And then?"));
    /// }
    /// # }
    /// ```
    pub fn turn(&self, messages: &[Message], fed: &str) -> Result<Turn> {
        self.rest(self.template.render(messages, true)?, fed)
    }

    /// As [`Chat::turn`], of a text that was rendered before.
    pub(crate) fn rest(&self, text: String, fed: &str) -> Result<Turn> {
        match text.strip_prefix(fed) {
            Some(new) if !fed.is_empty() => {
                let tokens = self.tokenizer.encode(new, true)?;
                Ok(Turn { tokens, restart: false, text })
            }
            _ => Ok(Turn { tokens: self.whole(&text)?, restart: true, text }),
        }
    }

    fn whole(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = self.tokenizer.encode(text, true)?;
        if let Some(bos) = self.tokenizer.bos()
            && self.tokenizer.add_bos()
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }
}
