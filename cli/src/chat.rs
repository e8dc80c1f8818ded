//! `attamba chat`: a conversation in the terminal.

use crate::common::{self, EngineArgs, MemoryArgs, ModelArgs, TemplateArgs};
#[cfg(unix)]
use crate::interrupt::Prompt;
use crate::interrupt::{self, Interrupt, Interrupted, Second};
use crate::sampling::SamplingArgs;
use crate::shown::Shown;
use anyhow::{Context, Result, bail};
use attamba::Engine;
use attamba::conversation::{Conversation, Speed};
use attamba::sample::Sampler;
use attamba::session::{Finish, Place, Session};
use attamba::text::Language;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, KeyEvent,
    Movement, RepeatCount,
};
use std::io::{BufRead, ErrorKind, IsTerminal, Read, StdinLock, Write};
use std::path::{Path, PathBuf};

/// Chat with a model
///
/// Answers are printed as they are generated. Ctrl-C stops an answer and keeps the part generated
/// so far; at the prompt it clears the line. Ctrl-D, /quit or Ctrl-C twice quit. When the session's
/// memory is full the oldest parts of the chat are forgotten, which is said once, and the chat
/// continues, also beyond the context that the model was trained with.
///
/// With --save the chat is saved to a file after every answer, and the next run continues from it, with
/// the memory that it was begun with; a smaller --budget shrinks that.
///
/// If standard input or output is not a terminal, each line is a message or a command, and only
/// the answers and what a command says are printed.
///
/// Example: attamba chat --system "Answer in one sentence." --temperature 0.3
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    template: TemplateArgs,
    /// A system instruction before the chat
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    /// Maximum number of tokens per answer
    #[arg(short = 'n', long = "limit", default_value_t = 512, value_name = "N", value_parser = crate::number::count)]
    limit: usize,
    /// End an answer before TEXT, which is left out; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Let messages that spell special tokens, such as <|im_end|>, become these tokens
    #[arg(long)]
    parse_special: bool,
    /// Continue the chat in this file, if it exists, and save the chat to it
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Let /save and /load, too, work when standard input is not a terminal
    #[arg(long)]
    commands: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

const HELP: &str = "\
/help       lists the commands
/undo       removes the last message and its answer
/retry      answers the last message again
/reset      starts a new chat
/save FILE  saves the chat to a file
/load FILE  continues a chat from a file
/shrink B   shrinks the memory to B bytes, such as 512K
/stats      shows memory and speed
/quit       quits, like Ctrl-D
//          begins a message with a slash
Ctrl-C stops an answer";

pub fn run(args: Args) -> Result<()> {
    let engine = args.engine.start(args.model.open()?)?;
    let model = engine.model();
    let language = args.template.language(model)?;
    let mut sampling = args.sampling;
    sampling.stop = args.stop;
    let sampler = sampling.sampler(model, language.tokenizer(), true)?;
    let origin = Origin { engine, sampler, language, parse_special: args.parse_special };

    let mut input = Input::open()?;
    let save = args.save.map(Place::claim).transpose()?;
    let talk = match &save {
        Some(place) if !place.is_new() => {
            let path = place.path();
            if args.system.is_some() {
                bail!(
                    "{} already contains a chat, with its own instruction or none; omit --system, or name another file",
                    path.display()
                );
            }
            let mut talk = origin.load(path)?;
            fit(&mut talk, &args.memory)?;
            talk
        }
        _ => {
            let session = Session::open(&origin.engine, args.memory.options())?;
            let Origin { sampler, language, .. } = &origin;
            let mut talk =
                Conversation::new(session, sampler.clone(), language.clone(), args.system);
            talk.set_parse_special(origin.parse_special);
            talk
        }
    };
    args.memory.hint(talk.session());
    let interrupt = match input {
        Input::Terminal(_) => Interrupt::install(Some(talk.session().control()), Second::Waits)?,
        // Nobody would be left to tell the program to quit.
        Input::Lines(_) => Interrupt::default(),
    };
    if let Input::Terminal(terminal) = &mut input {
        terminal.end_with(&interrupt);
        common::note(format_args!(
            "{}, {}\n{}; /help lists the commands",
            common::printable(origin.engine.model().name()),
            origin.engine.describe(),
            talk.session().reach()
        ));
    }
    let terminal = matches!(input, Input::Terminal(_));
    let files = terminal || args.commands;
    let limit = args.limit;
    Chat { talk, origin, interrupt, limit, save, terminal, files, told: false }.run(input)
}

/// Shrinks a chat that was resumed to the budget of the options, and says so if its memory is another
/// than theirs: it can't grow, nor become different.
fn fit(talk: &mut Conversation, memory: &MemoryArgs) -> Result<()> {
    if !memory.is_given() {
        return Ok(());
    }
    if let Some(budget) = memory.budget
        && budget < talk.session().memory().state
    {
        return Ok(talk.shrink(budget)?);
    }
    let wanted = memory.options().reach(talk.session().engine().model())?;
    let kept = talk.session().reach();
    if kept.to_string() != wanted.to_string() {
        common::note(format_args!(
            "the saved chat keeps the memory that it was begun with, which can only shrink: {kept}; asked for: {wanted}"
        ));
    }
    Ok(())
}

/// What a chat is begun or resumed with.
struct Origin {
    engine: Engine,
    sampler: Sampler,
    language: Language,
    parse_special: bool,
}

impl Origin {
    fn load(&self, path: &Path) -> Result<Conversation> {
        let (sampler, language) = (self.sampler.clone(), self.language.clone());
        let resumed = Conversation::resume(&self.engine, path, sampler, language);
        let mut talk = match resumed {
            Err(e @ attamba::Error::Io { .. }) => return Err(e.into()),
            other => other.with_context(|| path.display().to_string())?,
        };
        talk.set_parse_special(self.parse_special);
        Ok(talk)
    }
}

/// The current chat.
struct Chat {
    talk: Conversation,
    origin: Origin,
    interrupt: Interrupt,
    limit: usize,
    save: Option<Place>,
    terminal: bool,
    /// Whether a message may be a command about files.
    files: bool,
    /// Whether the user has been told that the oldest parts of the chat are forgotten.
    told: bool,
}

impl Chat {
    fn run(mut self, mut input: Input) -> Result<()> {
        loop {
            if interrupt::is_ended() {
                return Err(Interrupted.into());
            }
            let Some(line) = input.next()? else { break };
            // A message that begins with a slash begins with two.
            if let Some(message) = line.strip_prefix('/').filter(|rest| rest.starts_with('/')) {
                self.settle(|chat| chat.answer(message.to_owned()))?;
                continue;
            }
            let trimmed = line.trim();
            let (name, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
            if (name, rest.trim()) == ("/quit", "") {
                break;
            }
            self.settle(|chat| match (name, rest.trim()) {
                ("", _) => Ok(()),
                ("/help", "") => print(HELP),
                ("/stats", "") => print(&stats(&chat.talk)),
                ("/reset", "") => {
                    chat.talk.reset();
                    Ok(())
                }
                ("/shrink", size) if !size.is_empty() => chat.shrink(size),
                ("/undo", "") => chat.undo().map(|_| ()),
                ("/retry", "") => chat.retry(),
                ("/save" | "/load", _) if !chat.files => {
                    common::note(format_args!("{name} does not work over a pipe; see --commands"));
                    Ok(())
                }
                ("/save", path) if !path.is_empty() => chat.save(Path::new(path)),
                ("/load", path) if !path.is_empty() => chat.load(Path::new(path)),
                ("/save" | "/load" | "/shrink", _) => {
                    let what = if name == "/shrink" { "a size, such as 512K" } else { "a file" };
                    common::note(format_args!("{name} needs {what}"));
                    Ok(())
                }
                ("/quit" | "/help" | "/stats" | "/reset" | "/undo" | "/retry", _) => {
                    common::note(format_args!("{name} takes nothing after it"));
                    Ok(())
                }
                (name, _) if name.starts_with('/') => {
                    common::note(format_args!(
                        "unknown command {}; /help lists the commands, // begins a message with a slash",
                        common::printable(name)
                    ));
                    Ok(())
                }
                _ => chat.answer(line.clone()),
            })?;
        }
        Ok(())
    }

    /// Does what the user wants. On a terminal an error is reported and the chat continues.
    fn settle(&mut self, run: impl FnOnce(&mut Chat) -> Result<()>) -> Result<()> {
        match run(self) {
            Err(e) if self.terminal && !common::is_broken_pipe(&e) => {
                common::note(format_args!("attamba: {}", common::sentence(&e)));
                Ok(())
            }
            done => done,
        }
    }

    /// Answers one message, and saves the chat if requested.
    fn answer(&mut self, message: String) -> Result<()> {
        self.interrupt.clear();
        let out = std::io::stdout();
        let shown = Shown::on(&out);
        let mut out = out.lock();
        let mut begun = false;
        let mut ends_line = false;
        let mut written = Ok(());
        let result = self.talk.answer(message, self.limit, &mut |piece| {
            // Many models begin an answer with a space, which is not part of the text.
            let piece = if begun { piece } else { piece.trim_start() };
            if !piece.is_empty() {
                begun = true;
                ends_line = piece.ends_with('\n');
                written = out.write_all(shown.text(piece).as_bytes()).and_then(|()| out.flush());
            }
            written.is_ok()
        });
        written?;
        let dropped = matches!(result, Err(attamba::Error::Cancelled));
        if !ends_line && (begun || dropped || result.is_ok()) {
            writeln!(out)?;
            out.flush()?;
        }
        let note = match result {
            Ok(Finish::End | Finish::StopText) => None,
            Ok(Finish::Limit) => Some("[token limit reached; see -n]"),
            Ok(_) => Some("[stopped]"),
            Err(_) if dropped => Some("[stopped; the message was discarded]"),
            Err(e) => return Err(e.into()),
        };
        if let Some(note) = note.filter(|_| self.terminal) {
            common::note(note);
        }
        self.tell_what_is_forgotten();
        match &mut self.save {
            Some(place) => Ok(self.talk.save_at(place)?),
            None => Ok(()),
        }
    }

    /// Says once what happens to a chat that is longer than its memory.
    fn tell_what_is_forgotten(&mut self) {
        let session = self.talk.session();
        let reach = session.reach();
        if !self.told && session.position() > reach.tokens() {
            self.told = true;
            common::note(format_args!(
                "[the memory is full; the chat goes on without its oldest parts: {reach}]"
            ));
        }
    }

    fn save(&mut self, path: &Path) -> Result<()> {
        match &mut self.save {
            Some(place) if place.path() == path => Ok(self.talk.save_at(place)?),
            _ => Ok(self.talk.save_at(&mut Place::claim(path)?)?),
        }
    }

    /// Removes the last message, and returns it.
    fn undo(&mut self) -> Result<Option<String>> {
        let last = self.talk.messages().iter().rfind(|m| m.role == "user");
        let Some(message) = last.map(|m| m.content.clone()) else {
            common::note("there is no message to undo");
            return Ok(None);
        };
        self.talk.undo()?;
        Ok(Some(message))
    }

    fn retry(&mut self) -> Result<()> {
        match self.undo()? {
            Some(message) => self.answer(message),
            None => Ok(()),
        }
    }

    fn shrink(&mut self, size: &str) -> Result<()> {
        let bytes = common::bytes(size).map_err(|e| anyhow::anyhow!("{size:?}: {e}"))?;
        let state = self.talk.session().memory().state;
        if bytes >= state {
            common::note(format_args!(
                "the memory is {} already, and can't grow",
                common::size(state)
            ));
            return Ok(());
        }
        Ok(self.talk.shrink(bytes)?)
    }

    fn load(&mut self, path: &Path) -> Result<()> {
        let talk = self.origin.load(path)?;
        // Ctrl-C is bound to the session that was there first.
        self.interrupt.rebind(talk.session().control());
        self.talk = talk;
        Ok(())
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn stats(chat: &Conversation) -> String {
    let session = chat.session();
    let (prompt, answer) = chat.speed();
    let memory = session.memory();
    let speed = |speed: &Speed| match speed.time.as_secs_f64() {
        seconds if speed.tokens > 0 && seconds > 0.0 => {
            format!("{} tokens, {:.1} tokens/s", speed.tokens, speed.tokens as f64 / seconds)
        }
        _ => "none".to_owned(),
    };
    format!(
        "position     {}\nremembers    {}\nring         {} of {} states\nstate        {} bytes\nscratch      {} bytes\n\
         snapshots    {} bytes\nlast prompt  {}\nlast answer  {}",
        session.position(),
        session.reach(),
        session.ring().0,
        session.ring().1,
        memory.state,
        memory.scratch,
        chat.checkpoint_bytes(),
        speed(&prompt),
        speed(&answer),
    )
}

/// Where messages come from.
enum Input {
    Terminal(Box<Terminal>),
    Lines(Lines),
}

struct Terminal {
    editor: Editor<(), MemHistory>,
    #[cfg(unix)]
    prompt: Option<Prompt>,
}

/// The lines of standard input.
struct Lines {
    stdin: StdinLock<'static>,
    read: usize,
}

impl Input {
    fn open() -> Result<Input> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Ok(Input::Lines(Lines { stdin: std::io::stdin().lock(), read: 0 }));
        }
        let config = Config::builder().auto_add_history(true).build();
        let history = MemHistory::with_config(&config);
        let mut editor: Editor<(), _> =
            Editor::with_history(config, history).context("the terminal can't be read")?;
        editor.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(CtrlC)));
        Ok(Input::Terminal(Box::new(Terminal {
            editor,
            #[cfg(unix)]
            prompt: None,
        })))
    }

    /// The next line; `None` when the user quits.
    fn next(&mut self) -> Result<Option<String>> {
        match self {
            Input::Terminal(terminal) => terminal.next(),
            Input::Lines(lines) => lines.next(),
        }
    }
}

impl Terminal {
    /// Leaves the terminal as it was if a signal ends the program.
    fn end_with(&mut self, interrupt: &Interrupt) {
        #[cfg(unix)]
        {
            self.prompt = Some(Prompt::install(interrupt));
        }
        #[cfg(not(unix))]
        let _ = interrupt;
    }

    fn next(&mut self) -> Result<Option<String>> {
        let mut pressed = false;
        loop {
            #[cfg(unix)]
            let read = match &self.prompt {
                Some(prompt) => prompt.wait(|| self.editor.readline("> ")),
                None => self.editor.readline("> "),
            };
            #[cfg(not(unix))]
            let read = self.editor.readline("> ");
            match read {
                Ok(line) => return Ok(Some(line)),
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted) if pressed => return Ok(None),
                Err(ReadlineError::Interrupted) => {
                    pressed = true;
                    common::note("[press Ctrl-C again or Ctrl-D to quit]");
                }
                Err(ReadlineError::Io(e)) if e.kind() == ErrorKind::InvalidData => {
                    common::note("[what was typed is not UTF-8 text; the line was discarded]");
                }
                Err(e) => return Err(e).context("the terminal can't be read"),
            }
        }
    }
}

impl Lines {
    fn next(&mut self) -> Result<Option<String>> {
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut self.stdin).take(common::LONGEST_TEXT + 1);
            if limited.read_until(b'\n', &mut line).context("standard input")? == 0 {
                return Ok(None);
            }
            self.read += 1;
            if line.len() as u64 > common::LONGEST_TEXT {
                let longest = common::size(common::LONGEST_TEXT);
                bail!("line {} of standard input is longer than {longest}", self.read);
            }
            if line.ends_with(b"\n") {
                line.pop();
            }
            if line.ends_with(b"\r") {
                line.pop();
            }
            match String::from_utf8(line) {
                Ok(line) if self.read == 1 => {
                    return Ok(Some(
                        line.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(line),
                    ));
                }
                Ok(line) => return Ok(Some(line)),
                Err(e) => common::note(format_args!(
                    "line {} of standard input is not UTF-8 text, and was skipped: the byte at {} is \
                     out of place",
                    self.read,
                    e.utf8_error().valid_up_to()
                )),
            }
        }
    }
}

/// Ctrl-C at the prompt clears the line; only on an empty line it means to quit.
struct CtrlC;

impl ConditionalEventHandler for CtrlC {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        Some(match context.line() {
            "" => Cmd::Interrupt,
            _ => Cmd::Kill(Movement::WholeLine),
        })
    }
}
