//! `attamba recall`: whether a model still knows what it read long ago.

use crate::common::{self, EngineArgs, MemoryArgs, ModelArgs};
use anyhow::{Result, bail};
use attamba::session::Session;
use attamba::text::{Message, Tokenizer};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::Write;

/// Measure what a model still knows of what it read long ago
///
/// A sentence with a secret number is hidden in a text of so many tokens, at so many percent of its
/// length, and at the end the model is to say the number. Told is how many of the number's tokens
/// the model finds most likely, each after the right ones before it; the secret is new in every
/// trial. A model that knows nothing gets about one of ten digits right.
///
/// Unless --ring or --budget says otherwise a session remembers the context that the model was
/// trained with.
///
/// Example: attamba recall -m model.gguf --lengths 1K,4K,8K --budget 4M
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Tokens of a text
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        value_parser = common::bytes,
        default_value = "256,512,1K,2K"
    )]
    lengths: Vec<u64>,
    /// Where the secret stands, in percent of the text
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_value = "0,25,50,75,100")]
    depths: Vec<u64>,
    /// Secrets for each length and depth
    #[arg(long, value_name = "N", default_value_t = 5)]
    trials: usize,
    /// Ask by the model's chat template
    #[arg(long)]
    chat: bool,
    /// Text to hide the secret in, in UTF-8; - is standard input [default: Alice in Wonderland]
    #[arg(long, value_name = "FILE")]
    text: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    memory: MemoryArgs,
}

/// The first chapters, of the public domain.
const ALICE: &str = include_str!("sample.txt");

/// One length at one depth.
#[derive(Serialize)]
struct Cell {
    tokens: u64,
    depth_percent: u64,
    trials: usize,
    /// Tokens of the secret that the model found most likely, of all.
    told: f64,
    /// Secrets of which it told every token.
    whole: usize,
}

pub fn run(args: Args) -> Result<()> {
    if args.trials == 0 || args.lengths.contains(&0) {
        bail!("{} trials in texts of {:?} tokens measure nothing", args.trials, args.lengths);
    }
    if let Some(depth) = args.depths.iter().find(|&&depth| depth > 100) {
        bail!("a depth of {depth} percent lies beyond the text; 0 to 100 can be had");
    }
    let engine = args.engine.open(&args.model.path()?)?;
    let tokenizer = common::tokenizer(engine.model())?;
    let text = match &args.text {
        Some(path) => common::read_text(path)?,
        None => ALICE.to_owned(),
    };
    let filler = tokenizer.encode(&text, false)?;
    if filler.is_empty() {
        bail!("the text to hide the secret in is empty");
    }
    let asked = Asked::new(&args, &tokenizer, engine.model())?;
    let mut session = Session::open(engine, args.memory.options())?;

    let runs = args.lengths.len() * args.depths.len() * args.trials;
    let bar = ProgressBar::new(runs as u64);
    bar.set_style(ProgressStyle::with_template("{bar:32} {pos} of {len} trials, {eta} left")?);
    let mut cells = Vec::new();
    for &tokens in &args.lengths {
        for &depth in &args.depths {
            let mut cell =
                Cell { tokens, depth_percent: depth, trials: args.trials, told: 0.0, whole: 0 };
            for trial in 0..args.trials {
                let share =
                    asked.trial(&mut session, &tokenizer, &filler, (tokens, depth), trial)?;
                cell.told += share / args.trials as f64;
                cell.whole += usize::from(share == 1.0);
                bar.inc(1);
            }
            cells.push(cell);
        }
    }
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&cells)?)?,
        false => write!(out, "{}", table(&args, &cells))?,
    }
    Ok(out.flush()?)
}

/// What stands before the text, and what asks for the secret after it.
struct Asked {
    before: Vec<u32>,
    after: String,
}

impl Asked {
    fn new(args: &Args, tokenizer: &Tokenizer, model: &attamba::model::Model) -> Result<Asked> {
        const QUESTION: &str = "\nThe secret number is";
        if !args.chat {
            return Ok(Asked { before: Vec::new(), after: QUESTION.to_owned() });
        }
        // The text stands where the message has a mark; the answer is begun for the model.
        const MARK: &str = "<<the text>>";
        let message = format!("{MARK}\n\nWhat is the secret number?");
        let template = common::chat_template(model, tokenizer)?;
        let chat = template.render(&[Message::user(message)], true)?;
        let Some((before, after)) = chat.split_once(MARK) else {
            bail!("the chat template does not keep the text of a message");
        };
        let before = tokenizer.encode(before, false)?;
        Ok(Asked { before, after: format!("{after}The secret number is") })
    }

    /// The share of the secret's tokens that are told.
    fn trial(
        &self,
        session: &mut Session,
        tokenizer: &Tokenizer,
        filler: &[u32],
        (tokens, depth): (u64, u64),
        trial: usize,
    ) -> Result<f64> {
        let secret = secret(tokens, depth, trial);
        let hint = tokenizer.encode(&format!("\nThe secret number is {secret}.\n"), false)?;
        // Tokens of the answer: what the number adds to the question.
        let asked = tokenizer.encode(&self.after, false)?;
        let answered = tokenizer.encode(&format!("{} {secret}", self.after), false)?;
        let same = asked.iter().zip(&answered).take_while(|(a, b)| a == b).count();
        let (question, answer) = answered.split_at(same);

        // Each trial hides its secret elsewhere in the filler, too.
        let start = trial * 997 % filler.len();
        let mut text = filler.iter().copied().cycle().skip(start);
        let before = (tokens * depth / 100) as usize;
        session.reset();
        session.feed(&self.before)?;
        session.feed(&text.by_ref().take(before).collect::<Vec<_>>())?;
        session.feed(&hint)?;
        session.feed(&text.take(tokens as usize - before).collect::<Vec<_>>())?;
        session.feed(question)?;
        let mut told = 0;
        for &token in answer {
            told += usize::from(best(session.logits()) == token);
            session.feed(&[token])?;
        }
        Ok(told as f64 / answer.len() as f64)
    }
}

/// Five digits that mean the same for ever, from a generator with a well-mixed last step
/// (splitmix64).
fn secret(tokens: u64, depth: u64, trial: usize) -> u64 {
    let mut x = (tokens << 32 ^ depth << 16 ^ trial as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    10_000 + (x ^ x >> 31) % 90_000
}

fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best as u32
}

/// Depths down, lengths across.
fn table(args: &Args, cells: &[Cell]) -> String {
    let mut out = String::from("| depth |");
    args.lengths.iter().for_each(|tokens| out += &format!(" {tokens} tokens |"));
    out += &format!("\n|--:|{}\n", "--:|".repeat(args.lengths.len()));
    for (row, depth) in args.depths.iter().enumerate() {
        out += &format!("| {depth} % |");
        for cell in cells.iter().skip(row).step_by(args.depths.len()) {
            out += &format!(" {:.0} % |", 100.0 * cell.told);
        }
        out.push('\n');
    }
    out
}
