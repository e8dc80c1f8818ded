//! What a session remembers of texts: how well it predicts them, and which facts it still knows.

use crate::facts::needle::{Haystack, Needle, Recalled};
use crate::facts::{Fact, Kind, Wording};
use crate::loss::{Losses, negative_log_likelihood};
use anyhow::{Result, bail};
use attamba::session::Session;
use indicatif::ProgressBar;
use std::time::Instant;

/// Where facts are hidden, in percent of a text.
pub const DEPTHS: [u64; 5] = [10, 30, 50, 70, 90];

/// Facts in one text: a text is read once and asked about repeatedly.
const FACTS_IN_TEXT: u64 = 20;

/// Tokens that are decoded to measure speed.
const DECODED: usize = 32;

/// The texts that all policies are measured with.
pub struct Texts<'a> {
    pub haystack: Haystack<'a>,
    /// Tokens of each text.
    pub tokens: u64,
    /// Those that are predicted.
    pub stretches: Vec<&'a [u32]>,
    /// How many facts are hidden.
    pub needles: u64,
    pub seed: u32,
}

/// A fact that was asked for.
pub struct Asked {
    pub depth: u64,
    pub kind: Kind,
    pub recalled: Recalled,
}

/// What one policy showed.
pub struct Measured {
    /// Tokens of the first half of each text, and of the second.
    pub early: Losses,
    pub late: Losses,
    pub asked: Vec<Asked>,
    /// Of decode at the end of a text.
    pub tokens_per_second: f64,
}

impl Texts<'_> {
    /// Tokens that are processed per policy, about.
    pub fn work(&self) -> u64 {
        self.tokens * (self.stretches.len() as u64 + self.needles.div_ceil(FACTS_IN_TEXT))
    }

    /// Makes sure that facts fit in the texts.
    pub fn check(&self) -> Result<()> {
        let needles = self.needles_of(0);
        let facts = self.facts_tokens(&needles, 0)?;
        if 2 * facts > self.tokens {
            bail!(
                "texts of {} tokens have no room for {} facts, which take {facts} with a question; \
                 --tokens must be at least {}",
                self.tokens,
                needles.len(),
                2 * facts
            );
        }
        Ok(())
    }

    /// Measures a session.
    pub fn measure(&self, session: &mut Session, bar: &ProgressBar) -> Result<Measured> {
        let (early, late) = self.predict(session, bar)?;
        let tokens_per_second = decode(session, self.stretches[0])?;
        let mut asked = Vec::new();
        for text in 0..self.needles.div_ceil(FACTS_IN_TEXT) {
            asked.extend(self.ask(session, text)?);
            bar.inc(self.tokens);
        }
        Ok(Measured { early, late, asked, tokens_per_second })
    }

    fn predict(&self, session: &mut Session, bar: &ProgressBar) -> Result<(Losses, Losses)> {
        let (mut early, mut late) = (Losses::default(), Losses::default());
        for stretch in &self.stretches {
            session.reset();
            let middle = stretch.len() / 2;
            session.feed_each(&stretch[..stretch.len() - 1], |index, logits| {
                let half = if index + 1 < middle { &mut early } else { &mut late };
                half.add(negative_log_likelihood(logits, stretch[index + 1]));
            })?;
            bar.inc(self.tokens);
        }
        Ok((early, late))
    }

    /// Asks for the facts in the text of this number. Text, statements and questions are together no
    /// longer than the text should be.
    fn ask(&self, session: &mut Session, text: u64) -> Result<Vec<Asked>> {
        let trial = self.trial(text);
        let needles = self.needles_of(text);
        let facts = self.facts_tokens(&needles, trial)?;
        let Some(filler) = self.tokens.checked_sub(facts) else {
            bail!("{} tokens are not enough for facts of {facts} tokens", self.tokens);
        };
        let recalled = self.haystack.ask(session, filler, &needles, trial)?;
        let asked = needles.into_iter().zip(recalled);
        let asked = asked.map(|(Needle { fact, depth }, recalled)| Asked {
            depth,
            kind: fact.kind,
            recalled,
        });
        Ok(asked.collect())
    }

    fn trial(&self, text: u64) -> u64 {
        (u64::from(self.seed) << 20) + text
    }

    /// The facts of a text, the shallowest first. Among 25 facts each kind is at each depth once.
    fn needles_of(&self, text: u64) -> Vec<Needle> {
        let first = text * FACTS_IN_TEXT;
        let last = self.needles.min(first + FACTS_IN_TEXT);
        let kinds = Kind::MADE.len() as u64;
        let needle = |number: u64| {
            let round = DEPTHS.len() as u64;
            let kind = Kind::MADE[((number + number / round) % kinds) as usize];
            let fact = Fact::make(kind, Wording::Measure, self.trial(text), number - first);
            Needle { fact, depth: DEPTHS[(number % round) as usize] }
        };
        let mut needles: Vec<Needle> = (first..last).map(needle).collect();
        needles.sort_by_key(|needle| needle.depth);
        needles
    }

    /// Tokens of everything but the stretch: statements, the longest question with its answer.
    fn facts_tokens(&self, needles: &[Needle], trial: u64) -> Result<u64> {
        let (statements, _) = self.haystack.text(0, needles, trial)?;
        let mut longest = 0;
        for needle in needles {
            longest = longest.max(self.haystack.question(&needle.fact)?.0.len());
        }
        Ok((statements.len() + longest) as u64)
    }
}

/// Tokens per second, one token at a time, of a session at the end of a text.
fn decode(session: &mut Session, stretch: &[u32]) -> Result<f64> {
    let start = Instant::now();
    for &token in stretch.iter().cycle().take(DECODED) {
        session.feed_top(token)?;
    }
    Ok(DECODED as f64 / start.elapsed().as_secs_f64())
}
