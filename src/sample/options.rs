//! Sampler options and their valid ranges.

use super::stage::Stage;
use crate::error::{Error, Result};

/// How tokens are chosen: the stages of the chain, their order, and their parameters.
///
/// ```
/// use attamba::sample::{Sampler, Sampling, Stage};
///
/// # fn main() -> attamba::Result<()> {
/// let mut sampling = Sampling::default();
/// sampling.temperature = 1.0;
/// sampling.min_p = 0.1;
/// sampling.stages = vec![Stage::MinP, Stage::Temperature];
/// let sampler = Sampler::new(sampling)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sampling {
    /// The stages, in the order in which they run. A stage that is not listed does not run.
    pub stages: Vec<Stage>,
    /// Added to the logits of some tokens before the first stage: `(token, bias)`. Minus infinity
    /// forbids one. Tokens beyond the vocabulary are ignored.
    pub bias: Vec<(u32, f32)>,
    /// Repetition penalty: logits of recent tokens are divided by this if positive, otherwise
    /// multiplied, once however often the token occurs. Above 0; 1 is off.
    pub repeat_penalty: f32,
    /// Subtracted from the logit of a recent token for each of its occurrences; 0 is off.
    pub frequency_penalty: f32,
    /// Subtracted from the logit of a recent token, however often it occurs; 0 is off.
    pub presence_penalty: f32,
    /// How many tokens count as recent for the three penalties; 0 turns them off.
    pub repeat_last: usize,
    /// DRY: a token that would extend a repetition of n tokens loses `multiplier × base ^ (n −
    /// allowed length)` of its logit if n is at least the allowed length. 0 is off.
    pub dry_multiplier: f32,
    /// The base in that formula; at least 1.
    pub dry_base: f32,
    /// Repetitions shorter than this, in tokens, are ignored.
    pub dry_allowed_length: usize,
    /// How many tokens DRY searches for repetitions; 0 turns it off.
    pub dry_penalty_last_n: usize,
    /// Sequences of tokens that no repetition reaches across. A token that is a sequence by itself
    /// is never penalized by DRY. [`Tokenizer::dry_breakers`](crate::text::Tokenizer::dry_breakers)
    /// makes them from text.
    pub dry_breakers: Vec<Vec<u32>>,
    /// Only this many of the most likely tokens are kept; 0 keeps all.
    pub top_k: usize,
    /// Only the most typical tokens that together have this probability are kept; 1 keeps all.
    pub typical_p: f32,
    /// Only the most likely tokens that together have this probability are kept; 1 keeps all.
    pub top_p: f32,
    /// Only tokens at least this many times as likely as the most likely one are kept; 0 keeps all.
    pub min_p: f32,
    /// The probability that XTC applies to a token; 0 is off.
    pub xtc_probability: f32,
    /// Of the tokens of at least this probability XTC keeps only the least likely one. Above 0.5
    /// there can't be two, and XTC is off.
    pub xtc_threshold: f32,
    /// Logits are divided by this; 0 picks the most likely of the remaining tokens.
    pub temperature: f32,
    /// Seed of the draws. A seed gives the same results in every version of this library. By
    /// default each sampler has another one, which [`Sampler::seed`](super::Sampler::seed) tells.
    pub seed: Option<u64>,
    /// Texts that end what is generated, and are not part of it. They apply to text, of
    /// [`Session::pieces`](crate::Session::pieces) and of chats, not to tokens.
    pub stop: Vec<String>,
}

impl Default for Sampling {
    /// Temperature 0.8, the 40 most likely tokens, top-p 0.95, min-p 0.05, and nothing against
    /// repetitions: for text that continues a prompt, as in llama.cpp. [`Sampling::chat`] is for
    /// answers.
    fn default() -> Sampling {
        Sampling {
            stages: Stage::DEFAULT.to_vec(),
            bias: Vec::new(),
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repeat_last: 64,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: 1024,
            dry_breakers: Vec::new(),
            top_k: 40,
            typical_p: 1.0,
            top_p: 0.95,
            min_p: 0.05,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            temperature: 0.8,
            seed: None,
            stop: Vec::new(),
        }
    }
}

impl Sampling {
    /// Always the most likely token.
    pub fn greedy() -> Sampling {
        Sampling { temperature: 0.0, ..Sampling::default() }
    }

    /// # Errors
    /// [`Error::Argument`] with the field, its value and its range.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |name: &str, x: f32, range: &str| {
            Err(Error::argument(name, format!("is {x}; it must be {range}")))
        };
        // Written so that NaN is rejected too.
        if !(self.repeat_penalty > 0.0 && self.repeat_penalty.is_finite()) {
            return refuse("repeat_penalty", self.repeat_penalty, "above 0 and finite");
        }
        if !(self.dry_base >= 1.0 && self.dry_base.is_finite()) {
            return refuse("dry_base", self.dry_base, "at least 1 and finite");
        }
        for (name, x) in
            [("dry_multiplier", self.dry_multiplier), ("temperature", self.temperature)]
        {
            if !(x >= 0.0 && x.is_finite()) {
                return refuse(name, x, "at least 0 and finite");
            }
        }
        for (name, x) in [
            ("frequency_penalty", self.frequency_penalty),
            ("presence_penalty", self.presence_penalty),
        ] {
            if !x.is_finite() {
                return refuse(name, x, "finite");
            }
        }
        for (name, x) in [
            ("typical_p", self.typical_p),
            ("top_p", self.top_p),
            ("min_p", self.min_p),
            ("xtc_probability", self.xtc_probability),
            ("xtc_threshold", self.xtc_threshold),
        ] {
            if !(0.0..=1.0).contains(&x) {
                return refuse(name, x, "between 0 and 1");
            }
        }
        if let Some((token, b)) = self.bias.iter().find(|(_, b)| b.is_nan() || *b == f32::INFINITY)
        {
            return refuse(&format!("the bias of token {token}"), *b, "finite or minus infinity");
        }
        if let Some(at) = self.dry_breakers.iter().position(Vec::is_empty) {
            return Err(Error::argument(
                format!("sequence {at} of dry_breakers"),
                "has 0 tokens; it must have at least 1",
            ));
        }
        if let Some(at) = self.stop.iter().position(String::is_empty) {
            return Err(Error::argument(
                format!("stop text {at}"),
                "has 0 bytes; it must have at least 1",
            ));
        }
        for (at, stage) in self.stages.iter().enumerate() {
            if self.stages[..at].contains(stage) {
                return Err(Error::argument(
                    format!("the stage {stage}"),
                    "is named twice; a chain must have a stage at most once",
                ));
            }
        }
        Ok(())
    }

    /// The stages that change something, in their order.
    pub(super) fn chain(&self) -> Vec<Stage> {
        let changes = |stage: &Stage| match stage {
            Stage::Penalties => self.penalizes(),
            Stage::Dry => self.looks_for_repetitions(),
            Stage::TopK => self.top_k > 0,
            Stage::TypicalP => self.typical_p < 1.0,
            Stage::TopP => self.top_p < 1.0,
            Stage::MinP => self.min_p > 0.0,
            Stage::Xtc => self.xtc_probability > 0.0 && self.xtc_threshold <= 0.5,
            Stage::Temperature => self.temperature != 1.0,
        };
        let mut chain: Vec<Stage> = self.stages.iter().copied().filter(changes).collect();
        let greedy = self.temperature == 0.0 && chain.contains(&Stage::Temperature);
        if greedy && !chain.contains(&Stage::TypicalP) && !chain.contains(&Stage::Xtc) {
            // They never remove the most likely token, and nothing else is needed.
            chain.retain(|stage| !matches!(stage, Stage::TopK | Stage::TopP | Stage::MinP));
        }
        chain
    }

    pub(super) fn penalizes(&self) -> bool {
        let none = self.repeat_penalty == 1.0
            && self.frequency_penalty == 0.0
            && self.presence_penalty == 0.0;
        self.repeat_last > 0 && !none && self.stages.contains(&Stage::Penalties)
    }

    pub(super) fn looks_for_repetitions(&self) -> bool {
        self.dry_multiplier > 0.0
            && self.dry_penalty_last_n > 0
            && self.stages.contains(&Stage::Dry)
    }
}
