//! `attamba generate`: a prompt, and the model's continuation.

use crate::common::{self, EngineArgs, MemoryArgs, ModelArgs, TemplateArgs, token_ids};
use crate::interrupt::{Interrupt, Interrupted, Second};
use crate::sampling::SamplingArgs;
use crate::shown::Shown;
use anyhow::{Result, bail};
use attamba::Error;
use attamba::sample::Sampler;
use attamba::session::{Finish, Session};
use attamba::text::{Detokenizer, Language, Message, Tokenizer};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Continue a prompt
///
/// The prompt comes from -p, --file, --tokens or else standard input; one newline at the end of a
/// file or of standard input is not part of it. The model continues it as it is, or answers it with
/// --chat. The text goes to standard output as it is generated, until the model ends it or -n
/// tokens are reached. In a prompt, names of special tokens, such as <|im_end|>, become these
/// tokens; in a message (--chat) they are text, unless --parse-special is given.
///
/// A prompt may be longer than the session's memory: its oldest parts are forgotten. Ctrl-C stops
/// with the text so far and exit code 130.
///
/// Example: attamba generate -p "Once upon a time" -n 100 --seed 1
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    prompt: PromptArgs,
    /// Maximum number of tokens to generate
    #[arg(short = 'n', long = "limit", default_value_t = 256, value_name = "N", value_parser = crate::number::count)]
    limit: usize,
    /// Also print the prompt
    #[arg(long)]
    echo: bool,
    /// Print one JSON object at the end: token ids, text, why it ended, counts, seconds and memory
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Where the prompt comes from, and what it is.
#[derive(clap::Args)]
struct PromptArgs {
    /// The prompt
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true, group = "source")]
    prompt: Option<String>,
    /// File with the prompt; - is standard input
    #[arg(long, value_name = "FILE", group = "source")]
    file: Option<String>,
    /// The prompt as token ids, such as 1,2,3 or @FILE with such a list; nothing is added to them
    #[arg(long, value_name = "IDS|@FILE", group = "source", conflicts_with = "chat")]
    tokens: Option<String>,
    /// Continue the prompt as it is, without the chat template: the default
    #[arg(long, conflicts_with = "chat")]
    raw: bool,
    /// Answer the prompt: use it as the user's message in the model's chat template
    #[arg(long)]
    chat: bool,
    /// Let a message that spells special tokens, such as <|im_end|>, become these tokens
    #[arg(long, requires = "chat")]
    parse_special: bool,
    /// A system instruction before the message
    #[arg(long, value_name = "TEXT", requires = "chat", allow_hyphen_values = true)]
    system: Option<String>,
}

/// What --json prints.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    /// The generated ids, including a token that ended the text.
    tokens: &'a [u32],
    text: &'a str,
    finish: &'static str,
    prompt_tokens: usize,
    prompt_seconds: f64,
    generate_seconds: f64,
    seed: u64,
    memory: Memory,
}

/// Bytes that the session holds in addition to the weights.
#[derive(Serialize)]
struct Memory {
    state: u64,
    scratch: u64,
}

pub fn run(args: Args) -> Result<()> {
    let engine = args.engine.start(args.model.open()?)?;
    let model = engine.model();
    let language = args.template.language(model)?;
    let mut sampler = args.sampling.sampler(model, language.tokenizer(), args.prompt.chat)?;
    let mut session = Session::open(&engine, args.memory.options())?;
    args.memory.hint(&session);
    let (prompt, tokens) = args.prompt.read(&language)?;
    let interrupt = Interrupt::install(Some(session.control()), Second::Exits)?;

    let out = std::io::stdout();
    let shown = Shown::on(&out);
    let mut out = out.lock();
    if args.echo && !args.json {
        out.write_all(shown.text(&prompt).as_bytes())?;
        out.flush()?;
    }
    let start = Instant::now();
    for &token in &tokens {
        sampler.accept(token);
    }
    match session.feed(&tokens) {
        Err(Error::Cancelled) => return Err(Interrupted.into()),
        other => other?,
    }
    let prompt_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let mut made = Made { shown, silent: args.json, tokens: Vec::new(), text: String::new() };
    let finish = made.generate(
        &mut session,
        &mut sampler,
        language.tokenizer(),
        args.limit,
        &interrupt,
        &mut out,
    )?;
    let memory = session.memory();
    let report = Report {
        prompt: args.echo.then_some(&*prompt),
        tokens: &made.tokens,
        text: &made.text,
        finish: match finish {
            Finish::End => "end",
            Finish::Limit => "limit",
            _ => "cancelled",
        },
        prompt_tokens: tokens.len(),
        prompt_seconds,
        generate_seconds: start.elapsed().as_secs_f64(),
        seed: sampler.seed(),
        memory: Memory { state: memory.state, scratch: memory.scratch },
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else if !made.text.ends_with('\n') {
        writeln!(out)?;
    }
    out.flush()?;
    if report.finish == "cancelled" { Err(Interrupted.into()) } else { Ok(()) }
}

/// What has been generated.
struct Made {
    shown: Shown,
    tokens: Vec<u32>,
    text: String,
    /// Whether the text is kept without being printed.
    silent: bool,
}

impl Made {
    fn generate(
        &mut self,
        session: &mut Session,
        sampler: &mut Sampler,
        tokenizer: &Tokenizer,
        limit: usize,
        interrupt: &Interrupt,
        out: &mut impl Write,
    ) -> Result<Finish> {
        let mut detokenizer = Detokenizer::new();
        let mut written = Ok(());
        let (shown, silent) = (self.shown, self.silent);
        let mut print = |piece: &str| match silent || piece.is_empty() {
            true => Ok(()),
            false => out.write_all(shown.text(piece).as_bytes()).and_then(|()| out.flush()),
        };
        let finish = session.generate(
            sampler,
            limit,
            |token| tokenizer.is_end(token),
            |token| {
                self.tokens.push(token);
                let piece = detokenizer.push(token, tokenizer);
                self.text.push_str(piece);
                written = print(piece);
                written.is_ok() && !interrupt.is_set()
            },
        )?;
        written?;
        let rest = detokenizer.flush();
        self.text.push_str(rest);
        print(rest)?;
        Ok(finish)
    }
}

impl PromptArgs {
    /// The prompt as text and as tokens.
    fn read(&self, language: &Language) -> Result<(String, Vec<u32>)> {
        let tokenizer = language.tokenizer();
        if let Some(ids) = &self.tokens {
            let tokens = not_empty(token_ids(ids)?, tokenizer)?;
            return Ok((tokenizer.decode(&tokens), tokens));
        }
        let text = match (&self.prompt, &self.file) {
            (Some(text), _) => text.clone(),
            (None, file) => {
                let source = file.as_deref().unwrap_or("-");
                if source == "-" && std::io::stdin().is_terminal() {
                    common::note("the prompt is read from the terminal; Ctrl-D ends it");
                }
                without_newline(common::read_text(source)?)
            }
        };
        if !self.chat {
            let tokens = not_empty(language.begin(&text, true)?, tokenizer)?;
            return Ok((text, tokens));
        }
        let mut messages: Vec<Message> = self.system.iter().map(Message::system).collect();
        messages.push(Message::user(text));
        let chat = language.chat()?.parse_special(self.parse_special);
        let tokens = chat.encode(&messages, true)?;
        if tokens.is_empty() {
            bail!("the chat template makes no text of the message; --template FILE takes another");
        }
        Ok((chat.render(&messages, true)?, tokens))
    }
}

/// The tokens, or BOS if there are none.
fn not_empty(mut tokens: Vec<u32>, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    if tokens.is_empty() {
        match tokenizer.bos() {
            Some(bos) => tokens.insert(0, bos),
            None => bail!(
                "the prompt is empty, and this model has no BOS token to begin a text with; give \
                 it a prompt with -p, --file or --tokens"
            ),
        }
    }
    Ok(tokens)
}

fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}
