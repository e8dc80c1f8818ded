//! Answers many prompts at once: the weights are read once per step for all sessions.
//!
//!     cargo run --release --example batch -- MODEL PROMPTS.jsonl OUT.jsonl \
//!         [SESSIONS [TOKENS [TEMPERATURE [SEED]]]]
//!
//! A line of PROMPTS has an `id`, what the user says in turn (`say`, a list), optionally `system`, and
//! optionally `begin`, the first words of the last answer. The line of OUT has the `id`, the `turns` as
//! a list of [role, text], and of the last answer its `finish` (end or limit), its number of `tokens`
//! and their mean log probability (`logprob`, in nats). Answers depend on the prompt and the seed alone,
//! but for rounding. Started again, it leaves out what OUT has.

use attamba::text::Message;
use attamba::{
    Budget, Engine, EngineOptions, Language, Model, Options, Sampler, Sampling, Session,
};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tokens that a conversation may have.
const CONTEXT: u64 = 1024;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompts, out, rest @ ..] = args.as_slice() else {
        let options = "[SESSIONS [TOKENS [TEMPERATURE [SEED]]]]";
        return Err(format!("usage: batch MODEL PROMPTS.jsonl OUT.jsonl {options}").into());
    };
    let sessions: usize = rest.first().map_or(Ok(32), |s| s.parse())?;
    let tokens = rest.get(1).map_or(Ok(320), |s| s.parse())?;

    let done = written(out)?;
    let mut out = File::options().create(true).append(true).open(out)?;
    let mut prompts =
        lines(prompts)?.into_iter().filter(|line| !done.contains(&line["id"].to_string()));

    let model = Arc::new(Model::read(model)?);
    let language = Language::from_model(&model)?;
    let mut sampling = Sampling::chat(language.tokenizer())?.recommended_by(&model)?;
    if let Some(temperature) = rest.get(2) {
        sampling.temperature = temperature.parse()?;
    }
    sampling.seed = Some(rest.get(3).map_or(Ok(0), |s| s.parse())?);
    let engine = Engine::cpu(model, &EngineOptions::default())?;
    let mut desks = (0..sessions)
        .map(|_| Desk::new(&engine, &sampling, tokens))
        .collect::<Outcome<Vec<Desk>>>()?;

    let (start, mut count, mut finished) = (Instant::now(), 0, 0);
    loop {
        let mut chosen = Vec::new();
        for desk in &mut desks {
            while desk.token.is_none() {
                if desk.answering.is_none() {
                    let Some(prompt) = prompts.next() else { break };
                    desk.begin(&language, prompt)?;
                }
                if let Some(line) = desk.choose(&language)? {
                    writeln!(out, "{line}")?;
                    finished += 1;
                    let speed = f64::from(count) / start.elapsed().as_secs_f64();
                    eprint!("\r{finished} conversations, {count} tokens, {speed:.0} tokens/s ");
                }
            }
            if let Some(token) = desk.token.take() {
                chosen.push((&mut desk.session, token));
            }
        }
        if chosen.is_empty() {
            eprintln!();
            return Ok(());
        }
        count += chosen.len() as u32;
        let (mut sessions, tokens): (Vec<&mut Session>, Vec<u32>) = chosen.into_iter().unzip();
        Session::feed_together(&mut sessions, &tokens)?;
    }
}

/// The prompts, each an object.
fn lines(path: &str) -> Outcome<Vec<Value>> {
    BufReader::new(File::open(path)?)
        .lines()
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}

/// The ids that `path` has, if it is there. A line that was cut short ends the program: it has to be
/// removed, since the next one would be appended to it.
fn written(path: &str) -> Outcome<HashSet<String>> {
    match std::fs::exists(path)? {
        true => Ok(lines(path)?.iter().map(|line| line["id"].to_string()).collect()),
        false => Ok(HashSet::new()),
    }
}

/// A session and the conversation that it is in.
struct Desk {
    session: Session,
    answering: Option<Answering>,
    /// Chosen, and to be processed with those of the others.
    token: Option<u32>,
    sampling: Sampling,
    limit: usize,
}

/// A conversation whose next answer is being generated.
struct Answering {
    id: Value,
    sampler: Sampler,
    turns: Vec<Message>,
    /// What the user has yet to say.
    say: std::vec::IntoIter<String>,
    begin: String,
    answer: Vec<u32>,
    logprob: f64,
}

impl Desk {
    fn new(engine: &Engine, sampling: &Sampling, limit: usize) -> Outcome<Desk> {
        let options = Options::default().with_budget(Budget::Tokens(CONTEXT));
        let (session, sampling) = (Session::open(engine, options)?, sampling.clone());
        Ok(Desk { session, answering: None, token: None, sampling, limit })
    }

    /// Takes on a conversation.
    fn begin(&mut self, language: &Language, prompt: Value) -> Outcome<()> {
        let text = |key: &str| prompt[key].as_str().unwrap_or_default().to_owned();
        let say: Option<Vec<String>> = prompt["say"]
            .as_array()
            .and_then(|list| list.iter().map(|said| said.as_str().map(str::to_owned)).collect());
        let say = say.filter(|say| !say.is_empty()).ok_or("`say` must be a list of texts")?;
        let mut sampling = self.sampling.clone();
        sampling.seed = sampling.seed.map(|seed| mixed(seed, &prompt["id"].to_string()));
        let system = Some(text("system")).filter(|system| !system.is_empty());
        self.answering = Some(Answering {
            id: prompt["id"].clone(),
            sampler: Sampler::new(sampling)?,
            turns: system.map(|system| Message::new("system", system)).into_iter().collect(),
            say: say.into_iter(),
            begin: text("begin"),
            answer: Vec::new(),
            logprob: 0.0,
        });
        self.ask(language)
    }

    /// The user's next message: the session processes the whole conversation up to the answer.
    fn ask(&mut self, language: &Language) -> Outcome<()> {
        let Some(now) = &mut self.answering else { return Ok(()) };
        let Some(said) = now.say.next() else { return Ok(()) };
        now.turns.push(Message::new("user", said));
        let mut tokens = language.chat()?.encode(&now.turns, true)?;
        if now.say.len() == 0 && !now.begin.is_empty() {
            tokens.extend(language.tokenizer().encode(&now.begin, false)?);
        }
        (now.answer, now.logprob) = (Vec::new(), 0.0);
        self.session.reset();
        Ok(self.session.feed(&tokens)?)
    }

    /// Chooses the next token of the answer, or ends it. The line to write, after the last answer.
    fn choose(&mut self, language: &Language) -> Outcome<Option<String>> {
        let Some(now) = &mut self.answering else { return Ok(None) };
        let logits = self.session.logits()?;
        let token = now.sampler.sample(logits)?;
        let ends = language.tokenizer().is_end(token);
        now.logprob += log_probability(logits, token);
        if !ends {
            now.answer.push(token);
            if now.answer.len() < self.limit {
                self.token = Some(token);
                return Ok(None);
            }
        }
        let last = now.say.len() == 0;
        let answer = language.tokenizer().decode(&now.answer);
        let begin = if last { now.begin.as_str() } else { "" };
        now.turns.push(Message::new("assistant", format!("{begin}{answer}")));
        if !last {
            self.ask(language)?;
            return Ok(None);
        }
        let count = now.answer.len() + usize::from(ends);
        let turns: Vec<Value> = now.turns.iter().map(|m| json!([m.role, m.content])).collect();
        let line = json!({
            "id": now.id, "turns": turns, "finish": if ends { "end" } else { "limit" },
            "tokens": count, "logprob": now.logprob / count as f64,
        });
        self.answering = None;
        Ok(Some(line.to_string()))
    }
}

/// Of a token, in nats.
fn log_probability(logits: &[f32], token: u32) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|x| (x - most).exp()).sum();
    f64::from(logits[token as usize] - most) - f64::from(sum.ln())
}

/// A seed of its own for each prompt: FNV-1a over its id.
fn mixed(seed: u64, id: &str) -> u64 {
    id.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
