//! The options that control how tokens are chosen.

use anyhow::Result;
use attamba::Error;
use attamba::model::Model;
use attamba::sample::{Sampler, Sampling, Stage};
use attamba::text::Tokenizer;
use clap::Args;

/// How tokens are chosen. Options not given are those that the model's file recommends
/// (`general.sampling.*`), or else the defaults.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Always take the most likely token: the same as --temperature 0
    #[arg(long, conflicts_with = "temperature")]
    greedy: bool,
    /// Divide logits by this before the draw; 0 takes the most likely token [default: what
    /// the model's file recommends, as for most of these options, else 0.8]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Keep only the K most likely tokens; 0 keeps all [default: 40]
    #[arg(long, value_name = "K", value_parser = crate::number::count)]
    top_k: Option<usize>,
    /// Keep only the most likely tokens that together have this probability; 1 keeps all
    /// [default: 0.95]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f32>,
    /// Keep only tokens at least this many times as likely as the most likely; 0 keeps all
    /// [default: 0.05]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f32>,
    /// Keep only the most typical tokens that together have this probability; 1 keeps all
    /// [default: 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    typical_p: Option<f32>,
    /// Probability that XTC removes the most likely tokens; 0 is off [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    xtc_probability: Option<f32>,
    /// XTC removes tokens of at least this probability, all but the least likely [default: 0.1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    xtc_threshold: Option<f32>,
    /// DRY: penalty of tokens that would extend a repetition; 0 is off [default: 0.8 in a chat, 0
    /// otherwise]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    dry_multiplier: Option<f32>,
    /// DRY: factor by which the penalty grows with each repeated token [default: 1.75]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    dry_base: Option<f32>,
    /// DRY: ignore repetitions shorter than N tokens [default: 2]
    #[arg(long, value_name = "N", value_parser = crate::number::count)]
    dry_allowed_length: Option<usize>,
    /// DRY: look for repetitions in the last N tokens; 0 is off [default: 1024]
    #[arg(long, value_name = "N", value_parser = crate::number::count)]
    dry_penalty_last_n: Option<usize>,
    /// DRY: no repetition extends across TEXT; may be given several times; "none" for no such text
    /// [default: line feed, colon, quote, asterisk]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    dry_sequence_breaker: Vec<String>,
    /// Divide the logits of recent tokens by this: above 1 they become less likely; 1 is off
    /// [default: 1.05 in a chat, 1 otherwise]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    repeat_penalty: Option<f32>,
    /// Number of recent tokens that the penalties consider, including the prompt [default: 64]
    #[arg(long, value_name = "N", alias = "repeat-last", value_parser = crate::number::count)]
    repeat_last_n: Option<usize>,
    /// Subtract this from the logit of a recent token for each time it occurs; 0 is off [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,
    /// Subtract this from the logits of recent tokens; 0 is off [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    presence_penalty: Option<f32>,
    /// The stages to run, in this order; stages not named do not run [default:
    /// penalties,dry,top-k,typical-p,top-p,min-p,xtc,temperature]
    #[arg(long, value_name = "LIST")]
    samplers: Option<String>,
    /// Add VALUE to the logit of token ID, -inf forbids it; may be given several times
    #[arg(long, value_name = "ID=VALUE", value_parser = bias)]
    bias: Vec<(u32, f32)>,
    /// Texts that end an answer; set by subcommands that have such an option.
    #[arg(skip)]
    pub stop: Vec<String>,
    /// Seed of the draws: the same seed gives the same text [default: a random one]
    #[arg(long, value_name = "N", value_parser = seed)]
    seed: Option<u64>,
}

impl SamplingArgs {
    /// A sampler for a model and its tokenizer; in a `chat` DRY is on by default.
    pub fn sampler(&self, model: &Model, tokenizer: &Tokenizer, chat: bool) -> Result<Sampler> {
        let vocab = model.sizes().vocab;
        if let Some(&(token, _)) = self.bias.iter().find(|(token, _)| *token as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab }.into());
        }
        let of_chat = Sampling::chat(tokenizer)?;
        let mut s = if chat { of_chat.clone() } else { Sampling::default() };
        s = s.recommended_by(model)?;
        let set = |field: &mut f32, given: Option<f32>| *field = given.unwrap_or(*field);
        set(&mut s.temperature, if self.greedy { Some(0.0) } else { self.temperature });
        set(&mut s.top_p, self.top_p);
        set(&mut s.min_p, self.min_p);
        set(&mut s.typical_p, self.typical_p);
        set(&mut s.xtc_probability, self.xtc_probability);
        set(&mut s.xtc_threshold, self.xtc_threshold);
        set(&mut s.dry_multiplier, self.dry_multiplier);
        set(&mut s.dry_base, self.dry_base);
        set(&mut s.repeat_penalty, self.repeat_penalty);
        set(&mut s.frequency_penalty, self.frequency_penalty);
        set(&mut s.presence_penalty, self.presence_penalty);
        let set = |field: &mut usize, given: Option<usize>| *field = given.unwrap_or(*field);
        set(&mut s.top_k, self.top_k);
        set(&mut s.dry_allowed_length, self.dry_allowed_length);
        set(&mut s.dry_penalty_last_n, self.dry_penalty_last_n);
        set(&mut s.repeat_last, self.repeat_last_n);
        s.dry_breakers = match &self.dry_sequence_breaker[..] {
            [] => of_chat.dry_breakers,
            [none] if none == "none" => Vec::new(),
            texts => tokenizer.dry_breakers(texts)?,
        };
        if let Some(list) = &self.samplers {
            let names = list.split([',', ';']).map(str::trim).filter(|name| !name.is_empty());
            s.stages = names.map(str::parse::<Stage>).collect::<attamba::Result<_>>()?;
        }
        s.bias.clone_from(&self.bias);
        s.stop.clone_from(&self.stop);
        s.seed = self.seed;
        let sampler = Sampler::new(s)?;
        log::info!("seed {}", sampler.seed());
        Ok(sampler)
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        format!(
            "a whole number from 0 to {} is expected; without a seed it is a random one",
            u64::MAX
        )
    })
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(id, value)| Some((id.trim().parse().ok()?, value.trim().parse().ok()?)));
    parsed.ok_or_else(|| "expected a token id and a number such as 42=-1.5".to_owned())
}
