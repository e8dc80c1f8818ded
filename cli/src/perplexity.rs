//! `attamba perplexity`: how well a model predicts a text.

use crate::common::{self, EngineArgs, MemoryArgs, ModelArgs};
use crate::loss::{Losses, negative_log_likelihood};
use anyhow::{Result, bail};
use attamba::Error;
use attamba::session::{Budget, Session};
use attamba::text::Language;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::Write;
use std::time::Instant;

/// Measure how well a model predicts a text
///
/// The text is cut into windows of -c tokens, without a BOS token. Each is evaluated by a fresh
/// session, and every token but the window's first is scored by the logits before it. The
/// perplexity is exp of the mean negative log-likelihood: 1 for a model that is always certain and
/// right, the size of the vocabulary for one that guesses uniformly. Lower is better, and only
/// models with the same tokenizer can be compared.
///
/// Unless --ring or --budget says otherwise a session remembers a whole window. With -c 0 the whole
/// text is one window, and a session remembers the training context; with --positions the
/// perplexity is reported for ranges of positions, each twice as long as the one before.
///
/// Example: attamba perplexity novel.txt -m model.gguf -c 0 --positions --budget 4M
#[derive(clap::Args)]
pub struct Args {
    /// Text file in UTF-8; - is standard input
    file: String,
    /// Tokens per window; 0 for the whole text in one session
    #[arg(short, long, default_value_t = 512, value_name = "N", value_parser = crate::number::count)]
    context: usize,
    /// Also print the perplexity by position in the window
    #[arg(long)]
    positions: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    memory: MemoryArgs,
}

#[derive(Serialize)]
struct Report {
    perplexity: f64,
    /// Mean negative log-likelihood, in nats per token.
    loss: f64,
    /// Tokens scored.
    tokens: usize,
    windows: usize,
    context: usize,
    seconds: f64,
    tokens_per_second: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    positions: Vec<Range>,
}

/// The tokens at some positions of their windows.
#[derive(Clone, Serialize)]
struct Range {
    from: usize,
    /// One past the last.
    to: usize,
    tokens: usize,
    perplexity: f64,
}

pub fn run(args: Args) -> Result<()> {
    if args.context == 1 {
        bail!("windows of 1 token leave nothing to score: -c must be at least 2");
    }
    let engine = args.engine.start(args.model.open()?)?;
    let language = Language::from_model(engine.model())?;
    let text = common::read_text(&args.file)?;
    let tokens = language.tokenizer().encode(&text, false)?;
    if tokens.len() < 2 {
        let name = if args.file == "-" { "standard input" } else { &args.file };
        bail!("{name} has {} tokens; at least 2 are needed to score one", tokens.len());
    }
    // The session checks the tokens it is fed, and the last token of a window is only scored.
    let vocab = engine.model().sizes().vocab;
    if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab) {
        return Err(Error::TokenOutOfRange { token, vocab }.into());
    }
    let mut options = args.memory.options();
    let context = if args.context == 0 { tokens.len() } else { args.context };
    if !args.memory.is_bounded() && args.context > 0 {
        let tokens = context.min(tokens.len()) as u64;
        options = options.with_budget(Budget::Tokens(tokens));
    }
    let mut session = Session::open(&engine, options)?;

    let bar = ProgressBar::new(tokens.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:32} {pos} of {len} tokens, {eta} left{msg}")?);
    let start = Instant::now();
    let (mut losses, mut windows) = (Losses::default(), 0);
    let mut by_position = ByPosition::default();
    for window in tokens.chunks(context).filter(|window| window.len() > 1) {
        session.reset();
        let (inputs, targets) = (&window[..window.len() - 1], &window[1..]);
        session.feed_each(inputs, |i, logits| {
            let loss = negative_log_likelihood(logits, targets[i]);
            losses.add(loss);
            by_position.add(i + 1, loss);
            // A window may be an entire book.
            if windows == 0 && i % 512 == 0 {
                bar.set_position(i as u64);
                bar.set_message(format!("; perplexity {:.4}", losses.perplexity()));
            }
        })?;
        windows += 1;
        bar.set_position((losses.tokens + windows) as u64);
        bar.set_message(format!("; perplexity {:.4}", losses.perplexity()));
    }
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let scored = losses.tokens;
    if losses.mean().is_nan() {
        bail!("the model computes logits that are not numbers: its weights may be damaged");
    }
    let report = Report {
        perplexity: losses.perplexity(),
        loss: losses.mean(),
        tokens: scored,
        windows,
        context,
        seconds,
        tokens_per_second: scored as f64 / seconds,
        positions: if args.positions { by_position.ranges() } else { Vec::new() },
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(
            out,
            "perplexity {:.4} over {scored} tokens in {windows} windows of {}; {:.1} tokens/s",
            report.perplexity, context, report.tokens_per_second
        )?;
        if args.positions {
            writeln!(out, "\n| positions | tokens | perplexity |\n|--:|--:|--:|")?;
        }
        for Range { from, to, tokens, perplexity } in &report.positions {
            writeln!(out, "| {from} to {} | {tokens} | {perplexity:.3} |", to - 1)?;
        }
    }
    Ok(out.flush()?)
}

/// Losses by ranges of positions: 1 to 255, 256 to 511, 512 to 1023, and so on.
#[derive(Default)]
struct ByPosition {
    ranges: Vec<Losses>,
}

impl ByPosition {
    /// Where the second range begins.
    const FIRST: usize = 256;

    fn add(&mut self, position: usize, loss: f64) {
        let range = match position / Self::FIRST {
            0 => 0,
            n => n.ilog2() as usize + 1,
        };
        if self.ranges.len() <= range {
            self.ranges.resize(range + 1, Losses::default());
        }
        self.ranges[range].add(loss);
    }

    fn ranges(&self) -> Vec<Range> {
        let first = |range: usize| match range {
            0 => 1,
            n => Self::FIRST << (n - 1),
        };
        let of = |(range, losses): (usize, &Losses)| Range {
            from: first(range),
            to: first(range + 1),
            tokens: losses.tokens,
            perplexity: losses.perplexity(),
        };
        self.ranges.iter().enumerate().filter(|(_, losses)| losses.tokens > 0).map(of).collect()
    }
}
