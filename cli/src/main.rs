//! The `attamba` command: one file per subcommand.

#[cfg(feature = "gpu")]
mod adapters;
mod bench;
mod chat;
mod common;
mod facts;
mod generate;
mod inspect;
mod interrupt;
mod logits;
mod loss;
mod memory;
mod merge;
mod perplexity;
mod plot;
mod profile;
mod quantize;
mod recall;
mod remember;
mod sampling;
mod session_args;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs Attamba language models, and llama transformers as their baseline, from GGUF files.
///
/// Without -m the bundled model is used. Logs go to stderr; RUST_LOG=debug shows more of them.
#[derive(Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Chat(chat::Args),
    Generate(generate::Args),
    Inspect(inspect::Args),
    Perplexity(perplexity::Args),
    Quantize(quantize::Args),
    Merge(merge::Args),
    Bench(bench::Args),
    #[cfg(feature = "gpu")]
    Adapters(adapters::Args),
    Memory(memory::Args),
    Recall(recall::Args),
    Remember(remember::Args),
    Profile(profile::Args),
    Logits(logits::Args),
}

/// What is logged unless RUST_LOG says otherwise. GPU libraries log many warnings that do not
/// concern the user.
const LOG_FILTER: &str = "warn,naga=error,wgpu_core=error,wgpu_hal=error";

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(LOG_FILTER))
        .format_timestamp(None)
        .init();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has seen enough: that is not an error.
        Err(e) if common::is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) if e.is::<interrupt::Interrupted>() => ExitCode::from(interrupt::EXIT_CODE),
        Err(e) => {
            common::note(format_args!("attamba: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Chat(args) => chat::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Perplexity(args) => perplexity::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Bench(args) => bench::run(args),
        #[cfg(feature = "gpu")]
        Command::Adapters(args) => adapters::run(args),
        Command::Memory(args) => memory::run(args),
        Command::Recall(args) => recall::run(args),
        Command::Remember(args) => remember::run(args),
        Command::Profile(args) => profile::run(args),
        Command::Logits(args) => logits::run(args),
    }
}
