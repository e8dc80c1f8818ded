//! How likely a model finds the last answers of conversations that another model wrote.
//!
//!     cargo run --release --example score -- MODEL CONVERSATIONS.jsonl > scores.jsonl
//!
//! A line of CONVERSATIONS has an `id` and the `turns` as a list of [role, text], as `batch` writes
//! it. The line that is printed has the `id`, and of the last turn the number of `tokens` and their mean
//! log probability (`logprob`, in nats), given the turns before it in the model's own template.

use attamba::text::Message;
use attamba::{Budget, Engine, EngineOptions, Language, Model, Options, Session};
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::sync::Arc;

/// Tokens that a conversation may have.
const CONTEXT: u64 = 2048;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, conversations] = args.as_slice() else {
        return Err("usage: score MODEL CONVERSATIONS.jsonl".into());
    };
    let model = Arc::new(Model::read(model)?);
    let language = Language::from_model(&model)?;
    let engine = Engine::cpu(model, &EngineOptions::default())?;
    let options = Options::default().with_budget(Budget::Tokens(CONTEXT));
    let mut session = Session::open(&engine, options)?;
    let mut out = std::io::stdout().lock();
    for line in std::fs::read_to_string(conversations)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        let turns = turns(&line).ok_or("`turns` must be a list of [role, text]")?;
        let Some((answer, before)) = turns.split_last() else {
            return Err("a conversation without turns".into());
        };
        let prompt = language.chat()?.encode(before, true)?;
        let targets = language.tokenizer().encode(&answer.content, false)?;
        let tokens = [prompt.as_slice(), &targets].concat();
        let limit = CONTEXT as usize;
        if targets.is_empty() || tokens.len() > limit {
            let (id, count) = (&line["id"], tokens.len());
            return Err(format!(
                "{id} has {count} tokens, {} to score; 1 to {limit} can be",
                targets.len()
            )
            .into());
        }
        session.reset();
        let mut sum = 0.0;
        session.feed_each(&tokens[..tokens.len() - 1], |i, logits| {
            if i + 1 >= prompt.len() {
                sum += log_probability(logits, tokens[i + 1]);
            }
        })?;
        let logprob = sum / targets.len() as f64;
        writeln!(
            out,
            "{}",
            json!({ "id": line["id"], "tokens": targets.len(), "logprob": logprob })
        )?;
    }
    Ok(())
}

fn turns(line: &Value) -> Option<Vec<Message>> {
    let turn = |turn: &Value| Some(Message::new(turn[0].as_str()?, turn[1].as_str()?));
    line["turns"].as_array()?.iter().map(turn).collect()
}

/// Of a token, in nats.
fn log_probability(logits: &[f32], token: u32) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from(x - most).exp()).sum();
    f64::from(logits[token as usize] - most) - sum.ln()
}
