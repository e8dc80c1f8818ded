//! `attamba memory`: what a session costs as its text grows, compared with a transformer.

use crate::common::{self, EngineArgs, Kv, ModelArgs};
use crate::plot::{self, Line, Plot};
use anyhow::{Context, Result, bail};
use attamba::memory::Growth;
use attamba::model::Model;
use attamba::session::{Budget, Options, Session};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// Show what a session costs as its text grows, compared with a transformer
///
/// The tables are for a session that evicts nothing, which is what a transformer needs to answer
/// about all of a text. With a budget a session of either kind stays within that budget
/// indefinitely. A chat also keeps its text: its bytes twice, and some 0.2 KiB a turn.
///
/// The transformer is the model of --baseline, or else one of the same dimensions: the same layers,
/// heads and width, with a key and a value for every token.
///
/// If the model has a profile, sessions are shown, too, in which the heads that it lists see all of
/// the text and the others the window that they need.
///
/// With --measure each session is actually opened, in a process of its own, filled as if that many
/// tokens had been processed, and continues for some tokens; the system then reports the process's
/// peak RSS. Sessions that would not fit in the available memory are left out.
///
/// Example: attamba memory --chunks 4,8,16 --measure --plot memory.svg
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Transformer to compare with [default: one of the model's dimensions]
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Chunk lengths [default: those that the model was trained with]
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', value_parser = crate::number::count)]
    chunks: Vec<usize>,
    /// Tokens before the current one that stay visible [default: that of the model]
    #[arg(long, value_name = "TOKENS", value_parser = crate::number::count)]
    window: Option<usize>,
    /// Lengths of text, with a suffix such as 8K
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        value_parser = crate::number::tokens,
        default_value = "1K,2K,4K,8K,16K,32K,64K,128K,256K,512K,1M"
    )]
    contexts: Vec<u64>,
    /// How keys and values are stored
    #[arg(long, value_enum, default_value = "f16", value_name = "TYPE")]
    kv: Kv,
    /// Open the sessions and measure what they take
    #[arg(long)]
    measure: bool,
    /// Plot the table to a file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    /// Measure one session, in this process: chunk, window, tokens
    #[arg(long, hide = true, value_delimiter = ',', value_parser = crate::number::count)]
    one: Vec<usize>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// A way to run a model: one column of the tables.
struct Variant {
    name: String,
    path: PathBuf,
    chunk: usize,
    window: usize,
    growth: Growth,
}

/// One length of text of one variant.
#[derive(Serialize)]
struct Cell {
    variant: String,
    tokens: u64,
    /// Bytes of ring, window and mixer states.
    state_bytes: u64,
    /// Multiply-adds of attention for the next token.
    attention_operations: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Measured>,
}

/// What the process of one session reported.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Measured {
    state_bytes: u64,
    /// Peak RSS of the process, including the pages of the model file.
    peak_resident_bytes: u64,
    tokens_per_second: f64,
}

/// A session in which the heads of the model's profile see a whole text, and the others what they
/// need.
#[derive(Serialize)]
struct ByHead {
    tokens: u64,
    state_bytes: u64,
    /// How far which heads see.
    sees: String,
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    growth_bytes_a_token: Vec<f64>,
    cells: &'a [Cell],
    /// Empty if the model has no profile.
    by_head: &'a [ByHead],
}

/// Tokens that a measured session continues for.
const MEASURED_TOKENS: usize = 16;

pub fn run(args: Args) -> Result<()> {
    let path = args.model.path()?;
    if let [chunk, window, tokens] = args.one[..] {
        let measured = measure_here(&args, &path, chunk, window, tokens as u64)?;
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(());
    }
    if args.contexts.contains(&0) {
        bail!("a text of 0 tokens costs nothing; --contexts takes numbers from 1 on");
    }
    args.plot.as_deref().map(plot::check).transpose()?;
    let model = args.model.open()?;
    let variants = variants(&args, &path, &model)?;
    let mut cells = Vec::new();
    for &tokens in &args.contexts {
        for variant in &variants {
            cells.push(cell(&args, variant, tokens)?);
        }
    }
    let by_head = by_head(&args, &model)?;
    let growth: Vec<f64> = variants.iter().map(|v| v.growth.bytes_per_token()).collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        let report = Report {
            model: model.name(),
            growth_bytes_a_token: growth,
            cells: &cells,
            by_head: &by_head,
        };
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", text(&model, &args, &variants, &cells, &growth, &by_head))?;
    }
    out.flush()?;
    // Last, so that a file that can't be written costs no results.
    match &args.plot {
        Some(file) => plot::write(file, &draw(&variants, &cells).svg()?),
        None => Ok(()),
    }
}

/// The transformer first.
fn variants(args: &Args, own: &Path, model: &Model) -> Result<Vec<Variant>> {
    let kv = args.kv.into();
    let (path, growth) = match &args.baseline {
        Some(baseline) => {
            let model = args.model.file.model(baseline)?;
            if !model.is_transformer() {
                bail!("{} is no transformer; --baseline takes one", baseline.display());
            }
            (&**baseline, Growth::transformer(&model, kv)?)
        }
        // Measured with the model itself with chunks of one token: a key and a value for each.
        None => (own, Growth::transformer(model, kv)?),
    };
    let name = "transformer".to_owned();
    let mut variants = vec![Variant { name, path: path.to_owned(), chunk: 1, window: 0, growth }];
    let chunks = if args.chunks.is_empty() { model.trained_chunks() } else { &args.chunks };
    for &chunk in chunks {
        let window = args.window.unwrap_or(model.window());
        let growth = Growth::new(model, chunk, window, kv)?;
        let (name, path) = (format!("P {chunk}"), own.to_owned());
        variants.push(Variant { name, path, chunk, window, growth });
    }
    Ok(variants)
}

/// One session for each length, if the model has a profile.
fn by_head(args: &Args, model: &Model) -> Result<Vec<ByHead>> {
    if !model.has_profile() {
        return Ok(Vec::new());
    }
    let session = |&tokens: &u64| {
        let kv = Some(args.kv.into());
        let reach = Options::default().with_kv(kv).with_horizon(tokens).reach(model)?;
        Ok(ByHead { tokens, state_bytes: reach.bytes, sees: reach.to_string() })
    };
    args.contexts.iter().map(session).collect()
}

fn cell(args: &Args, variant: &Variant, tokens: u64) -> Result<Cell> {
    let state_bytes = variant.growth.state_bytes(tokens);
    let fits = available().is_none_or(|bytes| state_bytes < bytes / 2);
    let measured = match args.measure && fits {
        true => Some(measure(args, variant, tokens)?),
        false => None,
    };
    let attention_operations = variant.growth.operations(tokens);
    Ok(Cell { variant: variant.name.clone(), tokens, state_bytes, attention_operations, measured })
}

/// A session in a process of its own, so that nothing else counts.
fn measure(args: &Args, variant: &Variant, tokens: u64) -> Result<Measured> {
    let program = std::env::current_exe().context("this program can't be found")?;
    let kv = attamba::KvType::from(args.kv).to_string();
    let mut command = Command::new(program);
    command.args(["memory", "--kv", &kv, "--engine", "cpu", "-m"]).arg(&variant.path);
    if args.model.file.no_mmap {
        command.arg("--no-mmap");
    }
    command.arg(format!("--one={},{},{tokens}", variant.chunk, variant.window));
    if let Some(threads) = args.engine.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    // Chunk lengths that the model was not trained with are intended here.
    let output = command.env("RUST_LOG", "error").output().context("a process can't be started")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} at {tokens} tokens: {}", variant.name, said.trim());
    }
    serde_json::from_slice(&output.stdout).context("the measuring process")
}

fn measure_here(
    args: &Args,
    path: &Path,
    chunk: usize,
    window: usize,
    tokens: u64,
) -> Result<Measured> {
    let engine = args.engine.start(Arc::new(args.model.file.model(path)?))?;
    let kv = args.kv.into();
    // Room for the tokens that follow, too.
    let room = tokens + MEASURED_TOKENS as u64;
    let states = Growth::new(engine.model(), chunk, window, kv)?.states(room);
    let window = window.min(usize::try_from(room - 1).unwrap_or(usize::MAX));
    let options = Options::default()
        .with_budget(Budget::States(usize::try_from(states).unwrap_or(usize::MAX)))
        .with_kv(kv)
        .with_chunk(chunk)
        .with_window(window);
    let mut session = Session::open(&engine, options)?;
    session.fill(tokens)?;
    let start = Instant::now();
    for _ in 0..MEASURED_TOKENS {
        session.feed_top(0)?;
    }
    let tokens_per_second = MEASURED_TOKENS as f64 / start.elapsed().as_secs_f64();
    let peak = status("VmHWM").context("the system does not report the peak RSS of a process")?;
    Ok(Measured {
        state_bytes: session.memory().state,
        peak_resident_bytes: peak,
        tokens_per_second,
    })
}

/// A line of `/proc/self/status`, in bytes; `None` on systems without it.
fn status(key: &str) -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, key)
}

/// Memory that the system could still provide, in bytes.
fn available() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn draw(variants: &[Variant], cells: &[Cell]) -> Plot {
    let lines = variants.iter().map(|variant| {
        let own = || cells.iter().filter(|cell| cell.variant == variant.name);
        Line {
            name: variant.name.clone(),
            points: own().map(|c| (c.tokens as f64, c.state_bytes as f64)).collect(),
            marks: own()
                .filter_map(|c| Some((c.tokens as f64, c.measured?.peak_resident_bytes as f64)))
                .collect(),
        }
    });
    Plot {
        title: "Memory of a session that evicts nothing".to_owned(),
        x: "tokens".to_owned(),
        y: "bytes; dots: the whole process, measured".to_owned(),
        lines: lines.collect(),
    }
}

/// The tables in Markdown.
fn text(
    model: &Model,
    args: &Args,
    variants: &[Variant],
    cells: &[Cell],
    growth: &[f64],
    by_head: &[ByHead],
) -> String {
    let sizes = model.sizes();
    let mut out = format!(
        "{}: {} layers, {} query and {} key heads of {}; keys and values in {:?}\n",
        common::printable(model.name()),
        sizes.layers,
        sizes.heads,
        sizes.kv_heads,
        sizes.head_width,
        args.kv
    );
    out += "\nState of a session that evicts nothing, and how many times smaller than the \
            transformer's:\n\n";
    let smaller = |transformer: f64, own: f64| transformer / own;
    let faster = |transformer: f64, own: f64| own / transformer;
    let state = |c: &Cell| Some(c.state_bytes as f64);
    out += &table(variants, cells, state, &|bytes| common::size(bytes as u64), smaller);
    out += "\nBytes per additional token in the long run:\n\n";
    for (variant, growth) in variants.iter().zip(growth) {
        out += &format!("- {}: {growth:.0}\n", variant.name);
    }
    out += "\nAttention: multiply-adds for the next token:\n\n";
    let operations = |c: &Cell| Some(c.attention_operations as f64);
    out += &table(variants, cells, operations, &|n| format!("{:.2} M", n / 1e6), smaller);
    if !by_head.is_empty() {
        out += "\nBy head, with the model's profile:\n\n";
        by_head.iter().for_each(|session| out += &format!("- {}\n", session.sees));
    }
    if args.measure {
        out += "\nMeasured: peak RSS of a process with such a session, including the pages of \
                the model file:\n\n";
        let peak = |c: &Cell| Some(c.measured?.peak_resident_bytes as f64);
        out += &table(variants, cells, peak, &|bytes| common::size(bytes as u64), smaller);
        out += "\nMeasured: decode at that depth, tokens/s:\n\n";
        let speed = |c: &Cell| Some(c.measured?.tokens_per_second);
        out += &table(variants, cells, speed, &|speed| format!("{speed:.1}"), faster);
    }
    out
}

/// A table of `value`, with the gain over the transformer if both exist.
fn table(
    variants: &[Variant],
    cells: &[Cell],
    value: impl Fn(&Cell) -> Option<f64>,
    show: &dyn Fn(f64) -> String,
    gain: fn(f64, f64) -> f64,
) -> String {
    let mut out = String::from("| tokens |");
    variants.iter().for_each(|v| out += &format!(" {} |", v.name));
    out += &format!("\n|--:|{}\n", "--:|".repeat(variants.len()));
    for row in cells.chunks(variants.len()) {
        out += &format!("| {} |", row[0].tokens);
        let first = value(&row[0]);
        for (index, cell) in row.iter().enumerate() {
            out += &match (value(cell), first) {
                (None, _) => " – |".to_owned(),
                (Some(own), Some(first)) if index > 0 => {
                    format!(" {} ({:.1}×) |", show(own), gain(first, own))
                }
                (Some(own), _) => format!(" {} |", show(own)),
            };
        }
        out.push('\n');
    }
    out
}
