//! Texts with a fact hidden in each, and what every KV head looks at when it is asked for.

use crate::facts::needle::{Haystack, Needle};
use crate::facts::random::Random;
use crate::facts::{Fact, Kind, Wording};
use anyhow::Result;
use attamba::Engine;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

/// Which texts there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    /// In tokens.
    pub lengths: Vec<u64>,
    /// Of each length.
    pub trials: u32,
    pub seed: u32,
    /// Whether the model is asked in a chat.
    pub chat: bool,
}

impl Texts {
    /// For each text, which half it belongs to and the attention that each KV head pays to the
    /// statement. Both halves have as many texts of each length and of each kind of fact, up to one.
    pub fn measure(&self, engine: &Engine, haystack: &Haystack) -> Result<Vec<(bool, Vec<f32>)>> {
        let tokens: u64 = self.lengths.iter().sum();
        let bar = ProgressBar::new(tokens * u64::from(self.trials));
        bar.set_style(ProgressStyle::with_template("{bar:32} {percent} %, {eta} left")?);
        let mut texts = Vec::new();
        for trial in 0..u64::from(self.trials) {
            for (index, &tokens) in (0..).zip(&self.lengths) {
                let number = (u64::from(self.seed) << 20) + trial;
                let half = (trial + index) % 2 == 1;
                texts.push((half, attention(engine, haystack, tokens, number)?));
                bar.inc(tokens);
            }
        }
        bar.finish_and_clear();
        Ok(texts)
    }
}

/// The attention of each KV head to the statement of a fact in a text of `tokens` tokens, by the
/// tokens of the question and of the answer after its end. The fact is in the first half, so that
/// heads that see only the last tokens don't look at it.
fn attention(engine: &Engine, haystack: &Haystack, tokens: u64, number: u64) -> Result<Vec<f32>> {
    let kind = Kind::MADE[(number % Kind::MADE.len() as u64) as usize];
    let fact = Fact::make(kind, Wording::Profile, number, 0);
    let depth = depth(number, tokens);
    let (question, _) = haystack.question(&fact)?;
    let (mut text, places) = haystack.text(tokens, &[Needle { fact, depth }], number)?;
    let asked = text.len();
    text.extend(question);
    Ok(engine.attention_mass(&text, asked..text.len(), places[0].clone())?)
}

/// Where the fact of a text is, in percent: in its first half, but not at its beginning. Every head
/// attends to the first token, whatever it says.
fn depth(number: u64, tokens: u64) -> u64 {
    5 + Random::new(number ^ tokens << 32).below(46) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn facts_are_in_the_first_half_but_not_at_its_beginning() {
        let depths: BTreeSet<u64> = (0..1000).map(|number| depth(number, 1024)).collect();
        assert_eq!(depths, (5..=50).collect());
    }
}
