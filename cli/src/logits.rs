//! `attamba logits`: what the engine computes, for comparison with other programs.

use crate::common::{self, EngineArgs, FileArgs, Kv, token_ids};
use anyhow::{Context, Result, bail};
use attamba::session::{Budget, Options, Session};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Write the logits of a token sequence
///
/// The output is raw little-endian f32, one row of the vocabulary's size per token.
#[derive(clap::Args)]
pub struct Args {
    /// Model file
    model: PathBuf,
    /// Token ids, such as 1,2,3 or @FILE with such a list
    #[arg(long, value_name = "IDS|@FILE")]
    tokens: String,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Feed the tokens in blocks of these sizes, such as 1,7,3; the last size repeats to the end
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = crate::number::count)]
    split: Vec<usize>,
    /// Chunk states per layer [default: all]
    #[arg(long, value_name = "STATES", value_parser = crate::number::count)]
    ring: Option<usize>,
    /// How keys and values are stored
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    kv: Kv,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub fn run(args: Args) -> Result<()> {
    let tokens = token_ids(&args.tokens)?;
    if tokens.is_empty() {
        bail!("no tokens were given");
    }
    if args.split.contains(&0) {
        bail!("blocks must have at least 1 token: --split {:?}", args.split);
    }
    common::check_not_input(&args.out, &[&args.model])?;
    let engine = args.engine.start(Arc::new(args.file.model(&args.model)?))?;
    let budget = Budget::States(args.ring.unwrap_or(tokens.len()));
    let mut session = Session::open(
        &engine,
        Options::default().with_budget(budget).with_kv(attamba::KvType::from(args.kv)),
    )?;

    let vocab = engine.model().sizes().vocab;
    if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab) {
        return Err(attamba::Error::TokenOutOfRange { token, vocab }.into());
    }

    let context = || args.out.display().to_string();
    // After all that can be wrong with the input, since it may replace a file.
    let mut out = BufWriter::new(File::create(&args.out).with_context(context)?);
    let mut written = Ok(());
    let mut sizes = args.split.iter();
    let mut rest = &tokens[..];
    let mut size = tokens.len();
    while !rest.is_empty() {
        size = sizes.next().copied().unwrap_or(size);
        let (piece, after) = rest.split_at(size.min(rest.len()));
        session.feed_each(piece, |_, row| {
            if written.is_ok() {
                written = row.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()));
            }
        })?;
        rest = after;
    }
    written.and_then(|()| out.flush()).with_context(context)
}
