//! `attamba remember`: what a number of bytes remembers, by what is kept in them.

mod fraction;
mod measure;
mod policy;
mod report;

use crate::common::{self, EngineArgs, ModelArgs};
use crate::facts;
use crate::facts::needle::Haystack;
use crate::session_args::{KvByHead, kv_by_head};
use anyhow::{Result, bail};
use attamba::Error;
use attamba::session::Session;
use attamba::text::Language;
use fraction::Fraction;
use indicatif::{ProgressBar, ProgressStyle};
use measure::Texts;
use policy::policies;
use report::{Report, Row};
use std::io::Write;

/// Compare what sessions of equal bytes remember
///
/// Each budget is a fraction of what everything takes: keys and values of all tokens of a text of
/// the given length in half precision. Policies of what to keep in it are compared: a window, the
/// same for all heads; by head, where heads that the model's profile lists see far and the
/// others a window (`attamba profile` makes a profile); for an Attamba model also its chunk states,
/// whereas everything and window keep every token of it.
///
/// They are measured in two ways. Perplexity, on stretches of a text one after the other: late in
/// its second half, and early. And recall: facts are hidden in other stretches, twenty in each,
/// and asked for at the end, as by `attamba recall`. Shares of the tokens and of whole facts are printed
/// with their 95 % intervals. Decode is measured at the end of a text; on a busy machine ignore it.
///
/// Example: attamba remember -m model.gguf --budgets 1/8 --text novel.txt
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Fractions of the bytes of everything
    #[arg(long, value_name = "FRACTION", value_delimiter = ',', default_value = "1/4,1/8,1/16")]
    budgets: Vec<Fraction>,
    /// How keys and values are stored within the budgets: f16, f32, int8 or int4, or different for
    /// heads that see far, such as far=int4,near=int8 [default: int8 in windows, by head as a session
    /// would choose]
    #[arg(long, value_parser = kv_by_head, value_name = "TYPE")]
    kv: Option<KvByHead>,
    /// Length of a text in tokens [default: 8K, or the whole text if it is shorter]
    #[arg(long, value_name = "TOKENS", value_parser = crate::number::tokens)]
    tokens: Option<u64>,
    /// Number of stretches to predict, at most; fewer if the text is shorter
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = crate::number::count)]
    texts: usize,
    /// Number of facts to recall
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = crate::number::long_count)]
    needles: u64,
    /// UTF-8 text to predict and to hide facts in; - is standard input [default: Alice in
    /// Wonderland]
    #[arg(long, value_name = "FILE")]
    text: Option<String>,
    /// Other facts for each number
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// Ask using the model's chat template
    #[arg(long)]
    chat: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Tokens of a text unless asked otherwise.
const USUAL: u64 = 8192;

/// The shortest and the longest text.
const TOKENS: std::ops::RangeInclusive<u64> = 16..=1 << 24;

/// The most facts: enough for intervals of less than a hundredth.
const MOST_NEEDLES: u64 = 1 << 16;

pub fn run(args: Args) -> Result<()> {
    if let Some(tokens) = args.tokens.filter(|tokens| !TOKENS.contains(tokens)) {
        let (least, most) = (TOKENS.start(), TOKENS.end());
        bail!("texts of {tokens} tokens; the length must be between {least} and {most}");
    }
    if args.texts == 0 || !(1..=MOST_NEEDLES).contains(&args.needles) {
        bail!(
            "{} texts and {} facts; at least one of each is needed, and at most {MOST_NEEDLES} facts",
            args.texts,
            args.needles
        );
    }
    let engine = args.engine.start(args.model.open()?)?;
    let model = engine.model();
    let language = Language::from_model(model)?;
    let (name, book) = match &args.text {
        Some(path) if path == "-" => ("standard input", common::read_text(path)?),
        Some(path) => (path.as_str(), common::read_text(path)?),
        None => ("the built-in text", facts::BOOK.to_owned()),
    };
    let tokens = language.tokenizer().encode(&book, false)?;
    let vocab = model.sizes().vocab;
    if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab) {
        return Err(Error::TokenOutOfRange { token, vocab }.into());
    }
    let length = args.tokens.unwrap_or(USUAL.min(tokens.len() as u64).max(*TOKENS.start()));
    let stretches: Vec<&[u32]> = tokens.chunks_exact(length as usize).take(args.texts).collect();
    if stretches.is_empty() {
        bail!(
            "{name} has {} tokens, and {length} are to be predicted: name a longer one with \
             --text, or fewer with --tokens",
            tokens.len()
        );
    }
    let policies = policies(model, length, &args.budgets, args.kv)?;
    let haystack = Haystack::new(&language, &book, args.chat)?;
    let texts =
        Texts { haystack, tokens: length, stretches, needles: args.needles, seed: args.seed };
    texts.check()?;

    let bar = ProgressBar::new(texts.work() * policies.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:32} {percent} %, {eta} left; {msg}")?);
    let mut rows = Vec::new();
    let mut everything = None;
    for policy in &policies {
        bar.set_message(policy.to_string());
        // That a key and a value of every token are not what some models were trained with is the point.
        let shown = log::max_level();
        log::set_max_level(shown.min(log::LevelFilter::Error));
        let session = Session::open(&engine, policy.options);
        log::set_max_level(shown);
        let mut session = session?;
        let measured = texts.measure(&mut session, &bar)?;
        let everything = *everything.get_or_insert(measured.late.perplexity());
        let row = Row::new(policy, &measured, everything);
        log::info!("{row}");
        rows.push(row);
    }
    bar.finish_and_clear();
    let report = Report {
        model: model.name().to_owned(),
        tokens: length,
        texts: texts.stretches.len(),
        needles: args.needles,
        seed: args.seed,
        chat: args.chat,
        rows,
        missing: (!model.has_profile()).then_some(
            "Not by head: the model has no profile of which KV heads see far; `attamba profile` \
             makes one.",
        ),
    };
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        false => write!(out, "{}", report.table())?,
    }
    Ok(out.flush()?)
}
