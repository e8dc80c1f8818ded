//! `attamba profile`: which KV heads of a model fetch facts from afar.

mod file;
mod measure;
mod ranking;

use crate::common::{self, FileArgs, size};
use crate::facts::needle::Haystack;
use anyhow::{Result, bail};
use attamba::Engine;
use attamba::model::{KvHead, Model};
use attamba::text::Language;
use file::{Head, Profile};
use measure::Texts;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Find the KV heads of a model that retrieve facts from far back
///
/// One fact is hidden in the first half of each text and asked for at its end. There are five
/// kinds, worded differently from those of `recall`. For each KV head the attention is measured
/// that the tokens of question and answer pay to the statement of the fact, by the query head that
/// pays it most; heads are ranked by the mean over all texts. Those that pay at least a quarter of
/// what the best head pays are far; if even that one pays less than a tenth of its attention, none is.
/// How sure the ranking is shows in two halves of the texts: how many of the far heads do they
/// agree on?
///
/// --into OUT writes the model with three more metadata keys, completely or not at all. With a
/// budget, far heads then see the whole context and the others what the bytes allow. --from takes
/// the profile from a file that --json printed, instead of measuring it.
///
/// Example: attamba profile model.gguf --into model-with-profile.gguf
#[derive(clap::Args)]
pub struct Args {
    /// Model file to read
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Model file to write
    #[arg(long, value_name = "OUT")]
    into: Option<PathBuf>,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    /// Take the profile from a file instead of measuring it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lengths", "trials", "seed", "text", "chat", "threads"])]
    from: Option<PathBuf>,
    /// Number of far heads [default: those that pay at least a quarter of what the best pays]
    #[arg(long, value_name = "N", value_parser = crate::number::count)]
    far: Option<usize>,
    /// Tokens that the other heads should see at least [default: 512, or that of the file]
    #[arg(long, value_name = "TOKENS", value_parser = crate::number::count)]
    near: Option<usize>,
    /// Lengths of the texts in tokens
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        value_parser = crate::number::tokens,
        default_value = "1K,2K"
    )]
    lengths: Vec<u64>,
    /// Texts per length
    #[arg(long, value_name = "N", default_value_t = 20)]
    trials: u32,
    /// Other texts and facts for each number
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// UTF-8 text to hide facts in; - is standard input [default: Alice in Wonderland]
    #[arg(long, value_name = "FILE")]
    text: Option<String>,
    /// Ask using the model's chat template
    #[arg(long)]
    chat: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: FileArgs,
    /// Threads [default: the performance cores]
    #[arg(long, short, value_name = "N", value_parser = crate::number::count)]
    threads: Option<usize>,
}

/// Tokens that the heads that are not far should see at least: enough for what is being talked
/// about. With less, prediction suffers more than a longer reach of the far heads gains.
const NEAR: usize = 512;

/// The longest text.
const MOST_TOKENS: u64 = 1 << 24;

pub fn run(args: Args) -> Result<()> {
    if let Some(out) = &args.into {
        let inputs = [Some(&args.model), args.from.as_ref()].into_iter().flatten();
        let inputs: Vec<_> = inputs.map(PathBuf::as_path).collect();
        common::check_output(out, &inputs, args.force)?;
    }
    let model = Arc::new(args.file.model(&args.model)?);
    let mut profile = match &args.from {
        Some(path) => Profile::read(path)?,
        None => measured(&args, &model)?,
    };
    profile.far_count = args.far.unwrap_or(profile.far_count);
    profile.near_window = args.near.unwrap_or(profile.near_window);
    let numbers = profile.numbers(&model)?;
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&profile)?)?,
        false => write!(out, "{}", table(&profile))?,
    }
    if let Some(path) = &args.into {
        profile.write_model(model.gguf(), &numbers, path)?;
        let bytes = std::fs::metadata(path).map_or(0, |m| m.len());
        if !args.json {
            writeln!(out, "\n{}: {}", path.display(), size(bytes))?;
        }
    }
    Ok(out.flush()?)
}

/// The profile by the texts that were asked for.
fn measured(args: &Args, model: &Arc<Model>) -> Result<Profile> {
    let Args { lengths, trials, seed, chat, .. } = args;
    if let Some(length) = lengths.iter().find(|length| !(1..=MOST_TOKENS).contains(*length)) {
        bail!("a text of {length} tokens; lengths must be between 1 and {MOST_TOKENS}");
    }
    if lengths.len() as u64 * u64::from(*trials) < 2 {
        bail!("{trials} trials of {} lengths; halves need at least two texts", lengths.len());
    }
    let texts = Texts { lengths: lengths.clone(), trials: *trials, seed: *seed, chat: *chat };
    // A head with a sliding window of its own sees nothing afar, whatever it is given.
    let free: Vec<(usize, KvHead)> =
        model.kv_heads().enumerate().filter(|(_, head)| head.window.is_none()).collect();
    if free.is_empty() {
        bail!(
            "all layers of {} have a sliding window of their own",
            common::printable(model.name())
        );
    }
    let language = Language::from_model(model)?;
    let book = match &args.text {
        Some(path) => common::read_text(path)?,
        None => crate::facts::BOOK.to_owned(),
    };
    let haystack = Haystack::new(&language, &book, *chat)?;
    let engine = Engine::cpu(Arc::clone(model), &common::engine_options(args.threads)?)?;
    let mut measured = texts.measure(&engine, &haystack)?;
    for (_, heads) in &mut measured {
        *heads = free.iter().map(|(number, _)| heads[*number]).collect();
    }
    let (ranked, halves) = ranking::rank(&measured);
    let heads = ranked.into_iter().map(|(index, attention)| {
        let KvHead { layer, head, .. } = free[index].1;
        Head { layer, head, attention: (1e4 * attention).round() / 1e4 }
    });
    Ok(Profile {
        model: model.name().to_owned(),
        texts,
        halves,
        far_count: halves.of,
        near_window: NEAR,
        heads: heads.collect(),
        retention_gates: None,
    })
}

fn table(profile: &Profile) -> String {
    let Profile { model, texts, halves, far_count, near_window, heads, .. } = profile;
    let mut out = format!(
        "{}: {far_count} of {} KV heads are far, the others near ({near_window} tokens)\n\n",
        common::printable(model),
        heads.len()
    );
    out += "| layer.head | attention to the fact | |\n|---|--:|---|\n";
    // As many of the others beside them, so that one sees where the line is.
    let shown = (2 * far_count).max(10);
    for (place, Head { layer, head, attention }) in heads.iter().enumerate().take(shown) {
        let class = if place < *far_count { "far" } else { "near" };
        out += &format!("| {layer}.{head} | {:.1} % | {class} |\n", 100.0 * attention);
    }
    let lengths: Vec<String> = texts.lengths.iter().map(u64::to_string).collect();
    out += &format!(
        "\n{} texts of {} tokens; two halves of them agree on {} of the best {}, and their rankings \
         correlate by {:.2}\n",
        u64::from(texts.trials) * texts.lengths.len() as u64,
        lengths.join(" and "),
        halves.shared,
        halves.of,
        halves.rank_correlation
    );
    out
}
