//! `attamba recall`: which facts a model still knows at the end of a long text.

use crate::common::{self, EngineArgs, MemoryArgs, ModelArgs};
use crate::facts::interval::Share;
use crate::facts::needle::{Haystack, Needle, Outcome, Recalled};
use crate::facts::{self, Fact, Kind, Wording};
use crate::plot::{self, HeatMap};
use anyhow::{Result, bail};
use attamba::session::Session;
use attamba::text::Language;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

/// Measure which facts a model still knows at the end of a long text
///
/// Facts are hidden in a text of the given length, one at each depth, and at the end the model is
/// asked for each of them. There are five kinds: numbers, codes, names, cities and passwords of two
/// words; statements vary and every trial has different secrets. Two shares are printed, each with
/// its 95 % interval: the tokens of the answers that the model ranks first, each given the right
/// ones before it, and the facts that it recalls exactly. For digits, guessing gets one in ten
/// right.
///
/// Unless --ring or --budget says otherwise a session remembers the training context.
///
/// Example: attamba recall -m model.gguf --lengths 1K,4K,8K --budget 4M
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Length of a text in tokens
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        value_parser = common::bytes,
        default_value = "256,512,1K,2K"
    )]
    lengths: Vec<u64>,
    /// Positions of the facts, in percent of the text
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_value = "10,30,50,70,90", value_parser = crate::number::long_count)]
    depths: Vec<u64>,
    /// Texts per length, each with a fact at every depth
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = crate::number::long_count)]
    trials: u64,
    /// Your own facts: a JSON object per line with statement, question and answer, and a lead if
    /// the answer begins with words other than the secret
    #[arg(long, value_name = "FILE")]
    facts: Option<String>,
    /// Ask using the model's chat template
    #[arg(long)]
    chat: bool,
    /// UTF-8 text to hide facts in; - is standard input [default: Alice in Wonderland]
    #[arg(long, value_name = "FILE")]
    text: Option<String>,
    /// Plot the shares of tokens recalled, and of facts recalled exactly, to a file: depths by
    /// lengths, or by kinds of facts if there is one length
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    memory: MemoryArgs,
}

/// A fact that was asked for.
struct Asked {
    tokens: u64,
    depth: u64,
    kind: Kind,
    recalled: Recalled,
}

/// What was recalled of those that are `wanted`.
fn outcome(all: &[Asked], wanted: impl Fn(&Asked) -> bool) -> Outcome {
    Outcome::of(all.iter().filter(|asked| wanted(asked)).map(|asked| &asked.recalled))
}

/// One length at one depth.
#[derive(Serialize)]
struct Cell {
    tokens: u64,
    depth_percent: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

/// One kind of facts, at every length and depth.
#[derive(Serialize)]
struct OfKind {
    kind: Kind,
    #[serde(flatten)]
    outcome: Outcome,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    cells: Vec<Cell>,
    kinds: Vec<OfKind>,
    total: Outcome,
}

/// What was recalled at each depth, by length or, if there is one, by kind of fact.
fn draw(asked: &[Asked], lengths: &[u64], depths: &[u64]) -> HeatMap {
    let kinds: BTreeSet<Kind> = asked.iter().map(|a| a.kind).collect();
    let (x, columns): (_, Vec<String>) = match lengths {
        [length] => {
            let x = format!("kind of fact, in texts of {length} tokens");
            (x, kinds.iter().map(Kind::to_string).collect())
        }
        _ => ("tokens".into(), lengths.iter().map(u64::to_string).collect()),
    };
    let column = |a: &Asked| match lengths {
        [_] => a.kind.to_string(),
        _ => a.tokens.to_string(),
    };
    let cell = |depth: u64, name: &String| {
        let Outcome { recalled, exact } =
            outcome(asked, |a| a.depth == depth && column(a) == *name);
        let percent = |share: Share| format!("{:.0}", 100.0 * share.share);
        // With few trials a kind may be missing at a depth.
        let label = match exact.of {
            0 => String::new(),
            _ => format!("{} / {}", percent(recalled), percent(exact)),
        };
        (recalled.share, label)
    };
    let row = |&depth: &u64| -> Vec<_> { columns.iter().map(|name| cell(depth, name)).collect() };
    HeatMap {
        title: "% of tokens / of facts recalled".into(),
        x,
        y: "depth".into(),
        rows: depths.iter().map(|depth| format!("{depth} %")).collect(),
        cells: depths.iter().flat_map(row).collect(),
        columns,
    }
}

impl Report {
    fn new(asked: &[Asked], lengths: &[u64], depths: &[u64]) -> Report {
        let cells = lengths.iter().flat_map(|&tokens| {
            depths.iter().map(move |&depth_percent| {
                let here = |a: &Asked| a.tokens == tokens && a.depth == depth_percent;
                Cell { tokens, depth_percent, outcome: outcome(asked, here) }
            })
        });
        let kinds: BTreeSet<Kind> = asked.iter().map(|a| a.kind).collect();
        let of_kind = |kind| OfKind { kind, outcome: outcome(asked, |a| a.kind == kind) };
        Report {
            cells: cells.collect(),
            kinds: kinds.into_iter().map(of_kind).collect(),
            total: outcome(asked, |_| true),
        }
    }

    fn table(&self) -> String {
        let facts = self.total.exact.of;
        let mut out = format!("{facts} facts; shares with their 95 % intervals\n\n");
        out += "| tokens | depth | tokens recalled | facts recalled exactly |\n|--:|--:|--:|--:|\n";
        for Cell { tokens, depth_percent, outcome } in &self.cells {
            out += &format!("| {tokens} | {depth_percent} % | {outcome} |\n");
        }
        out += "\n| kind | tokens recalled | facts recalled exactly |\n|---|--:|--:|\n";
        for OfKind { kind, outcome } in &self.kinds {
            out += &format!("| {kind} | {outcome} |\n");
        }
        out += &format!("| all | {} |\n", self.total);
        out
    }
}

pub fn run(args: Args) -> Result<()> {
    args.plot.as_deref().map(plot::check).transpose()?;
    if args.trials == 0 || args.lengths.contains(&0) {
        bail!("{} trials in texts of {:?} tokens measure nothing", args.trials, args.lengths);
    }
    if let Some(depth) = args.depths.iter().find(|&&depth| depth > 100) {
        bail!("a depth of {depth} percent is beyond the text; it must be between 0 and 100");
    }
    let mut depths = args.depths.clone();
    depths.sort_unstable();
    depths.dedup();
    let own = args.facts.as_deref().map(facts::read).transpose()?;
    let engine = args.engine.start(args.model.open()?)?;
    let language = Language::from_model(engine.model())?;
    let book = match &args.text {
        Some(path) => common::read_text(path)?,
        None => facts::BOOK.to_owned(),
    };
    let haystack = Haystack::new(&language, &book, args.chat)?;
    let mut session = Session::open(&engine, args.memory.options())?;

    let texts = args.lengths.len() as u64 * args.trials;
    let bar = ProgressBar::new(texts);
    bar.set_style(ProgressStyle::with_template("{bar:32} {pos} of {len} texts, {eta} left")?);
    let mut asked = Vec::new();
    for &tokens in &args.lengths {
        for trial in 0..args.trials {
            let needles: Vec<Needle> = (0..)
                .zip(&depths)
                .map(|(i, &depth)| Needle { fact: fact(own.as_deref(), trial, i), depth })
                .collect();
            let recalled = haystack.ask(&mut session, tokens, &needles, trial)?;
            asked.extend(needles.into_iter().zip(recalled).map(
                |(Needle { fact, depth }, recalled)| Asked {
                    tokens,
                    depth,
                    kind: fact.kind,
                    recalled,
                },
            ));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let report = Report::new(&asked, &args.lengths, &depths);
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        false => write!(out, "{}", report.table())?,
    }
    out.flush()?;
    // Last, so that a file that can't be written costs no results.
    match &args.plot {
        Some(file) => plot::write(file, &draw(&asked, &args.lengths, &depths).svg()?),
        None => Ok(()),
    }
}

/// The fact number `index` of a trial. Kinds take turns, so that each appears at every depth.
fn fact(own: Option<&[Fact]>, trial: u64, index: u64) -> Fact {
    match own {
        Some(own) => own[(trial + index) as usize % own.len()].clone(),
        None => {
            let kind = Kind::MADE[(trial + index) as usize % Kind::MADE.len()];
            Fact::make(kind, Wording::Measure, trial, index)
        }
    }
}
