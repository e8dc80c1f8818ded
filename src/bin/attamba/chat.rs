//! `attamba chat`: a conversation on the terminal.

use crate::common::{self, EngineArgs, MemoryArgs, ModelArgs};
use crate::conversation::{Conversation, Outcome, Speed};
use crate::interrupt::{Interrupt, Second};
use crate::sampling::SamplingArgs;
use anyhow::{Context, Result};
use attamba::session::Session;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, KeyEvent,
    Movement, RepeatCount,
};
use std::io::{IsTerminal, Lines, StdinLock, Write};

/// Chat with a model
///
/// Answers are printed as they are made. Ctrl-C stops an answer and keeps what there is of it; at
/// the prompt it clears the line. Ctrl-D, /quit or Ctrl-C twice leave. When the session's memory
/// is full the oldest parts of the chat are forgotten, and the chat goes on.
///
/// If standard input or output is no terminal, each line is a message, and only the answers are
/// printed.
///
/// Example: attamba chat --system "Answer in one sentence." --temperature 0.3
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// An instruction before the chat
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    /// Tokens that an answer may have
    #[arg(short = 'n', long = "limit", default_value_t = 512, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

const HELP: &str = "\
/help   lists the commands
/reset  begins a new chat
/stats  shows memory and speed
/quit   leaves, as Ctrl-D does
Ctrl-C stops an answer";

pub fn run(args: Args) -> Result<()> {
    let engine = args.engine.open(&args.model.path()?)?;
    let model = engine.model();
    let (sampler, _) = args.sampling.sampler(model.hyper.vocab)?;
    let tokenizer = common::tokenizer(model)?;
    let template = common::chat_template(model, &tokenizer)?;
    let session = Session::open(engine.clone(), args.memory.options())?;

    let mut input = Input::open()?;
    let interrupt = match input {
        Input::Terminal(_) => Interrupt::install(Some(session.cancel_handle()), Second::Waits)?,
        // Nobody would be left to say that the program should end.
        Input::Lines(_) => Interrupt::default(),
    };
    if let Input::Terminal(_) = input {
        let state = common::size(session.memory().state);
        common::note(format_args!(
            "{}, {}; {state} of memory; /help lists the commands",
            common::printable(model.name()),
            engine.describe()
        ));
    }
    let text = (&tokenizer, &template);
    let mut chat = Conversation::new(session, sampler, text, args.system, args.limit);
    while let Some(line) = input.next()? {
        match line.trim() {
            "" => {}
            "/quit" => break,
            "/help" => print(HELP)?,
            "/stats" => print(&stats(&chat))?,
            "/reset" => chat.reset(),
            other if other.starts_with('/') => {
                let name = common::printable(other.split_whitespace().next().unwrap_or(other));
                common::note(format_args!(
                    "there is no command {name}; /help lists those there are"
                ));
            }
            _ => answer(&mut chat, line, &interrupt, &input)?,
        }
    }
    Ok(())
}

/// Answers one message. On a terminal an error is told and the chat goes on.
fn answer(
    chat: &mut Conversation,
    message: String,
    interrupt: &Interrupt,
    input: &Input,
) -> Result<()> {
    interrupt.clear();
    let mut out = std::io::stdout().lock();
    let mut begun = false;
    let mut ends_line = false;
    let result = chat.answer(message, interrupt, &mut |piece| {
        // Many models begin an answer with a space, which is no part of what they say.
        let piece = if begun { piece } else { piece.trim_start() };
        if piece.is_empty() {
            return Ok(());
        }
        begun = true;
        ends_line = piece.ends_with('\n');
        out.write_all(piece.as_bytes())?;
        out.flush()
    });
    if !ends_line {
        writeln!(out)?;
        out.flush()?;
    }
    let Input::Terminal(_) = input else { return result.map(|_| ()) };
    match result {
        Ok(Outcome::Ended) => {}
        Ok(Outcome::Limit) => common::note("[the limit of tokens is reached; see -n]"),
        Ok(Outcome::Stopped) => common::note("[stopped]"),
        Ok(Outcome::Dropped) => common::note("[stopped; the message does not count]"),
        Err(e) if common::is_broken_pipe(&e) => return Err(e),
        Err(e) => common::note(format_args!("attamba: {}", common::sentence(&e))),
    }
    Ok(())
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn stats(chat: &Conversation) -> String {
    let session = &chat.session;
    let memory = session.memory();
    let speed = |speed: &Speed| match speed.time.as_secs_f64() {
        seconds if speed.tokens > 0 && seconds > 0.0 => {
            format!("{} tokens, {:.1} tokens/s", speed.tokens, speed.tokens as f64 / seconds)
        }
        _ => "none".to_owned(),
    };
    format!(
        "position     {}\nring         {} of {} states\nstate        {} bytes\nscratch      {} bytes\n\
         last prompt  {}\nlast answer  {}",
        session.position(),
        session.ring_rows(),
        session.ring_budget(),
        memory.state,
        memory.scratch,
        speed(&chat.speed[0]),
        speed(&chat.speed[1]),
    )
}

/// Where messages come from.
enum Input {
    Terminal(Box<Editor<(), MemHistory>>),
    Lines(Lines<StdinLock<'static>>),
}

impl Input {
    fn open() -> Result<Input> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Ok(Input::Lines(std::io::stdin().lines()));
        }
        let config = Config::builder().auto_add_history(true).build();
        let history = MemHistory::with_config(&config);
        let mut editor: Editor<(), _> =
            Editor::with_history(config, history).context("the terminal can't be read")?;
        editor.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(CtrlC)));
        Ok(Input::Terminal(Box::new(editor)))
    }

    /// The next line; nothing when the user leaves.
    fn next(&mut self) -> Result<Option<String>> {
        let editor = match self {
            Input::Lines(lines) => return lines.next().transpose().context("standard input"),
            Input::Terminal(editor) => editor,
        };
        let mut pressed = false;
        loop {
            match editor.readline("> ") {
                Ok(line) => return Ok(Some(line)),
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted) if pressed => return Ok(None),
                Err(ReadlineError::Interrupted) => {
                    pressed = true;
                    common::note("[Ctrl-C again or Ctrl-D leaves]");
                }
                Err(e) => return Err(e).context("the terminal can't be read"),
            }
        }
    }
}

/// Ctrl-C at the prompt clears the line; only on an empty one it is the wish to leave.
struct CtrlC;

impl ConditionalEventHandler for CtrlC {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        Some(match context.line() {
            "" => Cmd::Interrupt,
            _ => Cmd::Kill(Movement::WholeLine),
        })
    }
}
