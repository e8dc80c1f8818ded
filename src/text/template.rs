//! Chat templates: render messages to the text that a model was trained on.

use super::clock::Clock;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, ErrorKind, context};
use std::fmt::Write;

/// Limit on the work of one rendering: an instruction costs 1, and 64 bytes of text cost 1. Public
/// templates need some ten thousand for a long chat, in addition to its text; this is 64 MiB of
/// text, or a second. A template that needs more is broken or hostile.
const FUEL: u64 = 1 << 20;

/// The name of the template in minijinja's errors.
const NAME: &str = "chat_template";

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or any other role that the template knows.
    pub role: String,
    /// The content.
    pub content: String,
}

impl Message {
    /// A message with a given `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message { role: role.into(), content: content.into() }
    }

    /// A user message.
    pub fn user(content: impl Into<String>) -> Message {
        Message::new("user", content)
    }

    /// An answer by the model.
    pub fn assistant(content: impl Into<String>) -> Message {
        Message::new("assistant", content)
    }

    /// An instruction that precedes the chat.
    pub fn system(content: impl Into<String>) -> Message {
        Message::new("system", content)
    }
}

/// A chat template in Jinja, as model files carry it.
///
/// It is rendered as by the `transformers` package: blocks are trimmed, Python's string and
/// dictionary methods work, `raise_exception(text)` ends the rendering with that text,
/// `strftime_now(format)` gives the time (in UTC, at the moment when the template was created, so
/// that a chat that continues past midnight keeps its beginning) and `tojson` writes JSON like
/// Python. A template can read nothing but its messages, and its work is limited.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Parses a template. `bos` and `eos` are the names of the tokens that it may write; empty if
    /// the vocabulary has none.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<ChatTemplate> {
        let environment = environment().map_err(|e| failed(&e))?;
        let source = without_generation(source);
        environment.template_from_named_str(NAME, &source).map_err(|e| failed(&e))?;
        Ok(ChatTemplate { environment, source, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The template of a model file, or, for a file without one:
    ///
    /// - with the tokens `<|user|>` and `<|assistant|>`: each role token, a newline, the message
    ///   and EOS, each on lines of its own;
    /// - with the token `<|im_start|>`: ChatML;
    /// - else plain text, `User: …` and `Assistant: …` with an empty line between.
    pub fn for_tokenizer(source: Option<&str>, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        let is_token = |name| tokenizer.id_of(name).is_some_and(|id| tokenizer.is_special(id));
        let source = match source {
            Some(source) => source,
            None if is_token("<|user|>") && is_token("<|assistant|>") => ROLES,
            None if is_token("<|im_start|>") => CHATML,
            None => PLAIN,
        };
        let name = |id: Option<u32>| {
            let bytes = id.and_then(|id| tokenizer.token_bytes(id)).unwrap_or_default();
            String::from_utf8_lossy(bytes)
        };
        ChatTemplate::new(source, &name(tokenizer.bos()), &name(tokenizer.eos()))
    }

    /// The text of a chat; with `add_generation_prompt` it ends where the answer begins.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|m| context! { role => &m.role[..], content => &m.content[..] })
            .collect();
        let context = context! {
            messages => messages,
            add_generation_prompt => add_generation_prompt,
            bos_token => &self.bos[..],
            eos_token => &self.eos[..],
        };
        self.environment.render_named_str(NAME, &self.source, context).map_err(|e| failed(&e))
    }

    /// The source of the template, as rendered.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("source", &self.source).finish_non_exhaustive()
    }
}

const ROLES: &str = "{% for message in messages %}{{ '<|' + message.role + '|>\n' + \
    message.content + eos_token + '\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";

const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + \
    message.content + '<|im_end|>\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const PLAIN: &str = "{% for message in messages %}{{ message.role | capitalize + ': ' + \
    message.content + '\n\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

fn environment() -> std::result::Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    // What is rendered is a prompt, not a web page.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.add_function("raise_exception", |text: String| -> std::result::Result<Value, _> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, text))
    });
    let clock = Clock::now();
    environment.add_function("strftime_now", move |format: String| clock.format(&format));
    environment.add_filter("tojson", tojson);
    Ok(environment)
}

/// Replaces `{% generation %}`, with which `transformers` marks what a model is trained on, by a
/// block that is always taken: here nothing is trained.
fn without_generation(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        out.push_str(before);
        let end = tag.find("%}").unwrap_or(tag.len());
        let (inner, after) = tag.split_at(end);
        match inner.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '+')) {
            "generation" => out.push_str(&inner.replace("generation", "if true")),
            "endgeneration" => out.push_str(&inner.replace("endgeneration", "endif")),
            _ => out.push_str(inner),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The error in one sentence, with the line of the template.
fn failed(error: &minijinja::Error) -> Error {
    let mut text = match error.kind() {
        ErrorKind::OutOfFuel => format!("it exceeds the limit of {FUEL} units of work"),
        kind => error.detail().map_or_else(|| kind.to_string(), str::to_owned),
    };
    if let Some(line) = error.line() {
        // Writing to a string can't fail.
        let _ = write!(text, " (line {line})");
    }
    Error::Template(text)
}

/// Python's `json.dumps`, which `transformers` uses: spaces after commas and colons, no escapes for
/// HTML or for other alphabets. `indent` puts every item on its own line.
fn tojson(value: &Value, options: Kwargs) -> std::result::Result<Value, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let escape: bool = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    // Accepted for compatibility with Python; mappings are always in the order of their keys.
    let _: Option<Value> = options.get("separators")?;
    let _: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    // A template could ask for a line of spaces that fills all memory.
    let style = Style { indent: indent.map(|n| n.min(16)), escape };
    let mut text = String::new();
    style.value(value, 0, &mut text)?;
    Ok(Value::from_safe_string(text))
}

struct Style {
    indent: Option<usize>,
    escape: bool,
}

impl Style {
    fn value(
        &self,
        value: &Value,
        depth: usize,
        out: &mut String,
    ) -> std::result::Result<(), minijinja::Error> {
        /// No template intends deeper nesting, which would overflow the stack.
        const DEEPEST: usize = 64;
        if depth > DEEPEST {
            let text = format!("tojson: values are nested more than {DEEPEST} deep");
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, text));
        }
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&value.to_string()),
            ValueKind::Map => {
                out.push('{');
                let mut first = true;
                for key in value.try_iter()? {
                    self.line(&mut first, depth + 1, out);
                    self.string(&key.to_string(), out);
                    out.push_str(": ");
                    self.value(&value.get_item(&key)?, depth + 1, out)?;
                }
                self.end(first, depth, '}', out);
            }
            ValueKind::Seq | ValueKind::Iterable => {
                out.push('[');
                let mut first = true;
                for item in value.try_iter()? {
                    self.line(&mut first, depth + 1, out);
                    self.value(&item, depth + 1, out)?;
                }
                self.end(first, depth, ']', out);
            }
            _ => self.string(&value.to_string(), out),
        }
        Ok(())
    }

    fn line(&self, first: &mut bool, depth: usize, out: &mut String) {
        match (self.indent, std::mem::replace(first, false)) {
            (None, true) => {}
            (None, false) => out.push_str(", "),
            (Some(indent), first) => {
                out.push_str(if first { "\n" } else { ",\n" });
                out.extend(std::iter::repeat_n(' ', indent * depth));
            }
        }
    }

    fn end(&self, empty: bool, depth: usize, close: char, out: &mut String) {
        if let (Some(indent), false) = (self.indent, empty) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
        out.push(close);
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.escape && !c.is_ascii()) || c == '\u{7f}' && self.escape => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}
