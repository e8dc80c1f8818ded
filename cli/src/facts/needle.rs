//! Facts hidden in a long text, and how many of them a model still recalls at its end.

use super::Fact;
use super::interval::Share;
use anyhow::{Result, bail};
use attamba::session::Session;
use attamba::text::{Language, Message, Tokenizer};
use serde::Serialize;
use std::ops::Range;

/// A fact and its position, in percent of the text.
pub struct Needle {
    pub fact: Fact,
    pub depth: u64,
}

/// How much of a fact was recalled.
pub struct Recalled {
    /// Tokens of the answer that the model ranked first, each given the right ones before it.
    pub tokens: usize,
    /// Tokens of the answer.
    pub of: usize,
}

impl Recalled {
    /// Whether all of it was.
    pub fn is_exact(&self) -> bool {
        self.tokens == self.of
    }
}

/// What was recalled of some facts, by token and as a whole.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Tokens of the answers.
    pub recalled: Share,
    /// Whole facts.
    pub exact: Share,
}

impl Outcome {
    pub fn of<'a>(recalled: impl Iterator<Item = &'a Recalled>) -> Outcome {
        let (mut tokens, mut of, mut exact, mut facts) = (0, 0, 0, 0);
        for each in recalled {
            tokens += each.tokens;
            of += each.of;
            exact += usize::from(each.is_exact());
            facts += 1;
        }
        Outcome { recalled: Share::new(tokens, of), exact: Share::new(exact, facts) }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} | {}", self.recalled, self.exact)
    }
}

/// Generates texts from a book and asks about them.
pub struct Haystack<'a> {
    tokenizer: &'a Tokenizer,
    filler: Vec<u32>,
    /// What precedes the text.
    before: Vec<u32>,
    /// The template with placeholders for text and question, if the model is asked in a chat.
    chat: Option<String>,
}

/// The question's placeholder in the rendered template.
const QUESTION: &str = "<<the question>>";

impl<'a> Haystack<'a> {
    /// Texts from `book`; the model is asked using its chat template if `chat` says so.
    pub fn new(language: &'a Language, book: &str, chat: bool) -> Result<Haystack<'a>> {
        let tokenizer = language.tokenizer();
        let filler = tokenizer.encode(book, false)?;
        if filler.is_empty() {
            bail!("the text to hide facts in is empty");
        }
        if !chat {
            return Ok(Haystack { tokenizer, filler, before: Vec::new(), chat: None });
        }
        const TEXT: &str = "<<the text>>";
        let message = Message::user(format!("{TEXT}\n\n{QUESTION}"));
        let rendered = language.chat()?.render(&[message], true)?;
        let Some((before, after)) = rendered.split_once(TEXT) else {
            bail!("the chat template does not keep the text of a message");
        };
        let before = tokenizer.encode(before, false)?;
        Ok(Haystack { tokenizer, filler, before, chat: Some(after.to_owned()) })
    }

    /// The tokens of a text of `tokens` tokens of the book with `needles` in it, the shallowest
    /// first, and where their statements are. Each `trial` begins at another place of the book.
    pub fn text(
        &self,
        tokens: u64,
        needles: &[Needle],
        trial: u64,
    ) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
        let start = (trial as usize * 997) % self.filler.len();
        let mut book = self.filler.iter().copied().cycle().skip(start);
        let mut text = self.before.clone();
        let mut places = Vec::with_capacity(needles.len());
        let mut written = 0;
        for needle in needles {
            let place = tokens * needle.depth / 100;
            text.extend(book.by_ref().take((place - written) as usize));
            written = place;
            let statement = format!("\n{}\n", needle.fact.statement);
            let start = text.len();
            text.extend(self.tokenizer.encode(&statement, false)?);
            places.push(start..text.len());
        }
        text.extend(book.take((tokens - written) as usize));
        Ok((text, places))
    }

    /// The tokens of question and answer, and how many of them are the question.
    pub fn question(&self, fact: &Fact) -> Result<(Vec<u32>, usize)> {
        let asked = match &self.chat {
            None => format!("\n{}", fact.lead),
            Some(after) => format!("{}{}", after.replacen(QUESTION, &fact.question, 1), fact.lead),
        };
        // An answer without a beginning of its own starts a line, as the template leaves it.
        let space = if fact.lead.is_empty() { "" } else { " " };
        let answered = self.tokenizer.encode(&format!("{asked}{space}{}", fact.answer), false)?;
        let asked = self.tokenizer.encode(&asked, false)?;
        let same = asked.iter().zip(&answered).take_while(|(a, b)| a == b).count();
        Ok((answered, same))
    }

    /// Has `session` process a text and asks for each of its facts, always from the end of the
    /// text.
    pub fn ask(
        &self,
        session: &mut Session,
        tokens: u64,
        needles: &[Needle],
        trial: u64,
    ) -> Result<Vec<Recalled>> {
        session.reset();
        session.feed(&self.text(tokens, needles, trial)?.0)?;
        let end = if needles.len() > 1 { Some(session.snapshot()?) } else { None };
        let mut recalled = Vec::new();
        for (index, needle) in needles.iter().enumerate() {
            if let Some(end) = end.as_ref().filter(|_| index > 0) {
                session.rewind(end)?;
            }
            let (question, asked) = self.question(&needle.fact)?;
            let mut right = 0;
            session.feed_each(&question[..question.len() - 1], |i, logits| {
                if i + 1 >= asked {
                    right += usize::from(best(logits) == question[i + 1]);
                }
            })?;
            recalled.push(Recalled { tokens: right, of: question.len() - asked });
        }
        Ok(recalled)
    }
}

/// The most likely token.
fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best as u32
}
