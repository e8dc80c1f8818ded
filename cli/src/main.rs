//! The `attamba` command: one file per subcommand.

#[cfg(feature = "gpu")]
mod adapters;
#[cfg(unix)]
mod allocator;
mod bench;
mod chat;
mod common;
mod facts;
mod finite;
mod generate;
mod inspect;
mod interrupt;
mod kernel_times;
mod logits;
mod loss;
mod memory;
mod merge;
mod number;
mod perplexity;
mod plot;
mod profile;
mod quantize;
mod recall;
mod remember;
mod sampling;
mod session_args;
mod shown;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

/// Runs language models from GGUF files in fixed memory: Attamba models and transformers.
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
    // A number below zero is a value that is out of range, not the name of an option.
    let mut command = Cli::command();
    for sub in command.clone().get_subcommands() {
        command = command.mut_subcommand(sub.get_name(), |sub| {
            sub.mut_args(|arg| match arg.get_action().takes_values() && !arg.is_positional() {
                true => arg.allow_negative_numbers(true),
                false => arg,
            })
        });
    }
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(e) => return ended(e.print().and_then(|()| std::io::stdout().flush()), e.exit_code()),
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(LOG_FILTER))
        .format(|out, record| {
            let text = shown::printable(&record.args().to_string());
            writeln!(out, "[{} {}] {text}", record.level(), record.target())
        })
        .init();
    // What a file makes other libraries panic with is reported as an error of the file.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // A thread that the system gives a stack and then nothing more ends the process otherwise.
        #[cfg(unix)]
        if info.to_string().contains("(os error 12)") {
            allocator::end(format_args!("a thread"));
        }
        match std::thread::current().name() {
            Some(attamba::text::APART) => log::debug!("{info}"),
            _ => hook(info),
        }
    }));
    ended(run(cli.command), 0)
}

/// How the command ends: with an error, or with `code`.
fn ended<E: Into<anyhow::Error>>(result: Result<(), E>, code: i32) -> ExitCode {
    match result.map_err(Into::into) {
        Ok(()) => ExitCode::from(code as u8),
        // The reader of our output has seen enough: that is not an error.
        Err(e) if common::is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) if e.is::<interrupt::Interrupted>() => ExitCode::from(interrupt::exit_code()),
        Err(e) => {
            common::note(format_args!("attamba: {}", common::sentence(&e)));
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
