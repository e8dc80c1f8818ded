//! The options that say how tokens are chosen.

use anyhow::Result;
use attamba::Error;
use attamba::sample::{Sampler, Sampling};
use clap::Args;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// How tokens are chosen.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Always take the most likely token: the same as --temperature 0
    #[arg(long, conflicts_with = "temperature")]
    greedy: bool,
    /// Divide logits by this before the draw; 0 takes the most likely token
    #[arg(long, value_name = "X", default_value_t = Sampling::default().temperature)]
    #[arg(allow_negative_numbers = true)]
    temperature: f32,
    /// Keep only the K most likely tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = Sampling::default().top_k)]
    top_k: usize,
    /// Keep only the most likely tokens that together have this probability; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = Sampling::default().top_p)]
    #[arg(allow_negative_numbers = true)]
    top_p: f32,
    /// Keep only tokens at least this many times as likely as the most likely; 0 keeps all
    #[arg(long, value_name = "P", default_value_t = Sampling::default().min_p)]
    #[arg(allow_negative_numbers = true)]
    min_p: f32,
    /// Make recent tokens less likely: above 1; 1 is off
    #[arg(long, value_name = "X", default_value_t = Sampling::default().repeat_penalty)]
    #[arg(allow_negative_numbers = true)]
    repeat_penalty: f32,
    /// How many tokens are recent, those of the prompt counted
    #[arg(long, value_name = "N", default_value_t = Sampling::default().repeat_last)]
    repeat_last: usize,
    /// Add VALUE to the logit of token ID, -inf to forbid it; may be given several times
    #[arg(long, value_name = "ID=VALUE", value_parser = bias)]
    bias: Vec<(u32, f32)>,
    /// Seed of the draws: the same seed gives the same text [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SamplingArgs {
    /// A sampler for a vocabulary of `vocab` entries, with its seed.
    pub fn sampler(&self, vocab: usize) -> Result<(Sampler, u64)> {
        if let Some(&(token, _)) = self.bias.iter().find(|(token, _)| *token as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab }.into());
        }
        // The keys of a hasher are the randomness that the standard library has.
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let sampling = Sampling::default()
            .with_bias(self.bias.clone())
            .with_repeat_penalty(self.repeat_penalty)
            .with_repeat_last(self.repeat_last)
            .with_top_k(self.top_k)
            .with_top_p(self.top_p)
            .with_min_p(self.min_p)
            .with_temperature(if self.greedy { 0.0 } else { self.temperature })
            .with_seed(seed);
        log::info!("seed {seed}");
        Ok((Sampler::new(sampling)?, seed))
    }
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(id, value)| Some((id.trim().parse().ok()?, value.trim().parse().ok()?)));
    parsed.ok_or_else(|| "a token id and a number such as 42=-1.5 are expected".to_owned())
}
