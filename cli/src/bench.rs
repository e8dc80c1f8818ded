//! `attamba bench`: tokens per second of prefill and decode at given depths.

use crate::common::{EngineArgs, MemoryArgs, ModelArgs, note};
use crate::kernel_times::Profile;
use anyhow::{Result, bail};
use attamba::Counters;
use attamba::session::{Budget, Options, Session};
use clap::ValueEnum;
use serde::Serialize;
use std::io::Write;
use std::time::Instant;

/// Measure prefill and decode speed
///
/// Each test runs once to warm up and then -r times; mean, standard deviation and median are of the
/// latter. At a depth, the session starts as if it had processed that many tokens, with meaningless
/// keys and values, which cost the same; the repetitions continue from there. Unless --ring or
/// --budget says otherwise the session remembers all of them.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    /// Tokens of a prompt; 0 to skip this test
    #[arg(short, long, default_value_t = 512, value_name = "N", value_parser = crate::number::at_most::<{ 1 << 20 }>)]
    prompt: usize,
    /// Tokens generated, one at a time; 0 to skip this test
    #[arg(short = 'n', long, default_value_t = 64, value_name = "N", value_parser = crate::number::at_most::<{ 1 << 20 }>)]
    generate: usize,
    /// Tokens in the session beforehand: one or more numbers such as 0,4096 or 16K
    #[arg(short, long, default_value = "0", value_name = "TOKENS", value_delimiter = ',', value_parser = crate::number::tokens_up_to::<{ 1 << 24 }>)]
    depth: Vec<usize>,
    /// Repetitions of each test
    #[arg(short, long, default_value_t = 5, value_name = "N", value_parser = crate::number::at_most::<10_000>)]
    repeat: usize,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Same as --format json
    #[arg(long)]
    json: bool,
    /// Report on stderr the GPU work per token
    #[arg(long, short)]
    verbose: bool,
    /// Time each kernel of a GPU, and compare with what the GPU can do: in JSON, otherwise on stderr
    ///
    /// Every kernel then runs in a pass of its own, so tokens per second are lower. Bytes and
    /// operations are those of the weights, which only products have.
    #[arg(long)]
    profile: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// Markdown.
    Table,
    /// A JSON array of objects.
    Json,
    /// One line per test.
    Csv,
}

/// The result of one test.
#[derive(Serialize)]
struct Measured {
    model: String,
    arch: &'static str,
    engine: String,
    threads: usize,
    test: String,
    depth: usize,
    /// Tokens per second.
    mean: f64,
    stddev: f64,
    median: f64,
    samples: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile>,
}

pub fn run(args: Args) -> Result<()> {
    if args.repeat == 0 || args.prompt + args.generate == 0 {
        bail!(
            "nothing to measure: {} repetitions of {} prompt and {} generated tokens",
            args.repeat,
            args.prompt,
            args.generate
        );
    }
    let path = args.model.path()?;
    let engine = args.engine.start_timed(args.model.open()?, args.profile)?;
    // Nothing so far is part of a test.
    if engine.take_kernel_times().is_none() && args.profile {
        bail!(
            "--profile needs a GPU whose driver has timestamps (TIMESTAMP_QUERY); {} has none",
            engine.describe()
        );
    }
    let format = if args.json { Format::Json } else { args.format };
    let mut out = std::io::stdout().lock();
    let mut all = Vec::new();
    for &depth in &args.depth {
        let mut session = Session::open(&engine, options(&args, depth)?)?;
        for (kind, tokens) in [("pp", args.prompt), ("tg", args.generate)] {
            if tokens == 0 {
                continue;
            }
            let before = engine.counters();
            let samples = measure(&mut session, kind == "pp", tokens, depth, args.repeat)?;
            if let (true, Some(before), Some(after)) = (args.verbose, before, engine.counters()) {
                let processed = tokens * (args.repeat + 1);
                let layers = engine.model().sizes().layers;
                note(counted(&format!("{kind}{tokens}"), before, after, processed, layers));
            }
            let profile = engine.take_kernel_times().map(Profile::from);
            if let Some(profile) = profile.as_ref().filter(|_| format != Format::Json) {
                note(profile.table(&format!("{kind}{tokens}")));
            }
            let measured = Measured {
                model: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                arch: engine.model().family(),
                engine: engine.describe(),
                threads: args.engine.threads.unwrap_or_else(attamba::default_threads),
                test: format!("{kind}{tokens}"),
                depth,
                mean: mean(&samples),
                stddev: deviation(&samples),
                median: median(&samples),
                samples,
                profile,
            };
            match format {
                Format::Table => table_row(&mut out, &measured, all.is_empty())?,
                Format::Csv => csv_row(&mut out, &measured, all.is_empty())?,
                Format::Json => {}
            }
            all.push(measured);
        }
    }
    if format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}

/// Room for all tokens of a depth, unless the user wants less.
fn options(args: &Args, depth: usize) -> Result<Options> {
    let mut options = args.memory.options();
    if !args.memory.is_bounded() {
        let tokens = depth + (args.repeat + 1) * (args.prompt + args.generate);
        options = options.with_budget(Budget::Tokens(tokens as u64));
    }
    Ok(options)
}

/// Tokens per second of each repetition.
fn measure(
    session: &mut Session,
    at_once: bool,
    tokens: usize,
    depth: usize,
    repeat: usize,
) -> Result<Vec<f64>> {
    let vocab = session.engine().model().sizes().vocab as u32;
    let ids = |n: usize| (0..n as u32).map(|i| i.wrapping_mul(2_654_435_761) % vocab);
    let prompt: Vec<u32> = ids(tokens).collect();
    let mut samples = Vec::with_capacity(repeat);
    for round in 0..=repeat {
        if depth == 0 {
            session.reset();
        } else if (session.position() as usize) < depth {
            session.fill(depth as u64)?;
        }
        let start = Instant::now();
        if at_once {
            session.feed(&prompt)?;
        } else {
            prompt.iter().try_for_each(|token| session.feed_top(*token).map(|_| ()))?;
        }
        // The first round touches the weights for the first time.
        if round > 0 {
            samples.push(tokens as f64 / start.elapsed().as_secs_f64());
        }
    }
    Ok(samples)
}

/// The device work for each of some tokens.
fn counted(test: &str, before: Counters, after: Counters, tokens: usize, layers: usize) -> String {
    let per_token = |before: u64, after: u64| (after - before) as f64 / tokens as f64;
    let dispatches = per_token(before.dispatches, after.dispatches);
    format!(
        "{test}: a token took {dispatches:.2} dispatches in {layers} layers, {:.3} passes, {:.3} \
         submits, {:.0} bytes read back; the host encoded for {:.0} µs and waited for {:.0} µs",
        per_token(before.passes, after.passes),
        per_token(before.submits, after.submits),
        per_token(before.bytes_read, after.bytes_read),
        per_token(before.encoding, after.encoding) / 1e3,
        per_token(before.waiting, after.waiting) / 1e3,
    )
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

fn deviation(samples: &[f64]) -> f64 {
    let mean = mean(samples);
    let squares: f64 = samples.iter().map(|x| (x - mean).powi(2)).sum();
    (squares / (samples.len().max(2) - 1) as f64).sqrt()
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { mean(&sorted[middle - 1..=middle]) }
}

fn table_row(out: &mut impl Write, m: &Measured, first: bool) -> std::io::Result<()> {
    if first {
        writeln!(out, "| model | engine | test | depth | tokens/s | ± | median |")?;
        writeln!(out, "|---|---|---|--:|--:|--:|--:|")?;
    }
    writeln!(
        out,
        "| {} | {} | {} | {} | {:.2} | {:.2} | {:.2} |",
        m.model, m.engine, m.test, m.depth, m.mean, m.stddev, m.median
    )
}

fn csv_row(out: &mut impl Write, m: &Measured, first: bool) -> std::io::Result<()> {
    if first {
        writeln!(out, "model,arch,engine,threads,test,depth,mean,stddev,median")?;
    }
    writeln!(
        out,
        "{},{},\"{}\",{},{},{},{:.3},{:.3},{:.3}",
        m.model, m.arch, m.engine, m.threads, m.test, m.depth, m.mean, m.stddev, m.median
    )
}
