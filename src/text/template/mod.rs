//! Chat templates: render messages to the text that a model was trained on.

mod guard;
mod json;
mod work;

use super::apart::apart;
use super::clock::Clock;
use super::message::{Message, Variables};
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, ErrorKind, State};
use std::fmt::Write;
use work::{Entry, Limits, Pairs, value};

/// The name of the template in minijinja's errors.
const NAME: &str = "chat_template";

/// A chat template in Jinja, as model files carry it: see [`Language::with_template`].
///
/// [`Language::with_template`]: super::Language::with_template
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    /// The source with its work counted.
    guarded: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Parses a template. `bos` and `eos` are the names of the tokens that it may write; empty if
    /// the vocabulary has none.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<ChatTemplate> {
        let source = without_generation(&source.replace("\r\n", "\n").replace('\r', "\n"));
        let parsed = apart(|| {
            let environment = environment()?;
            let guarded = guard::guarded(&source, environment.syntax())?;
            environment.template_from_named_str(NAME, &guarded)?;
            Ok((environment, guarded))
        });
        let (environment, guarded) = parsed?.ok_or_else(broken)?.map_err(|e| failed(&e))?;
        let (bos, eos) = (bos.to_owned(), eos.to_owned());
        Ok(ChatTemplate { environment, source, guarded, bos, eos })
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
    #[cfg(feature = "internals")]
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        self.render_with(messages, add_generation_prompt, &Variables::default())
    }

    /// The text of a chat for a template with further variables; with `add_generation_prompt` it ends where the
    /// answer begins.
    pub fn render_with(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        variables: &Variables,
    ) -> Result<String> {
        let limits = Limits::of(messages, variables);
        let rendered = apart(|| {
            work::begin(limits);
            let messages: Vec<Value> =
                messages.iter().map(Entry::of).collect::<std::result::Result<_, _>>()?;
            let mut context = Pairs::from([
                ("messages".into(), messages.into()),
                ("add_generation_prompt".into(), add_generation_prompt.into()),
                ("bos_token".into(), self.bos[..].into()),
                ("eos_token".into(), self.eos[..].into()),
                // As in `transformers`, where these two are always there.
                ("tools".into(), ().into()),
                ("documents".into(), ().into()),
            ]);
            for (name, variable) in variables.iter() {
                context.insert(name[..].into(), value(variable)?);
            }
            let mut environment = self.environment.clone();
            environment.set_fuel(Some(limits.fuel));
            environment.render_named_str(NAME, &self.guarded, Value::from_object(context))
        });
        rendered?.ok_or_else(broken)?.map_err(|e| failed(&e))
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
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        // A method goes through the value and through what it is called with.
        if value.as_str().is_some() || method == "count" {
            work::count(state, value)?;
        }
        arguments.iter().try_for_each(|argument| work::count(state, argument))?;
        minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
    });
    // What is rendered is a prompt, not a web page.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.add_function("raise_exception", |text: String| -> std::result::Result<Value, _> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, text))
    });
    let clock = Clock::now();
    environment.add_function("strftime_now", move |format: String| clock.format(&format));
    environment.add_function("namespace", |state: &State, values: Option<ValueOrKwargs>| {
        values.iter().try_for_each(|values| work::data(state, Value::clone(values)).map(drop))?;
        minijinja::functions::namespace(values)
    });
    environment.remove_global("debug");
    // In Python whatever has a length and items: texts and mappings too.
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map)
    });
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("attamba_counted", work::counted);
    environment.add_filter("attamba_data", work::data);
    environment.add_filter("attamba_scalar", work::scalar);
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

/// The template made the engine panic.
fn broken() -> Error {
    Error::template("", "it contradicts itself")
}

/// The error in one sentence, with the line of the template.
fn failed(error: &minijinja::Error) -> Error {
    let mut text = match error.kind() {
        ErrorKind::OutOfFuel => "it asks for more work than the messages warrant".to_owned(),
        kind => error.detail().map_or_else(|| kind.to_string(), str::to_owned),
    };
    if let Some(line) = error.line() {
        // Writing to a string can't fail.
        let _ = write!(text, " (line {line})");
    }
    Error::template("", text)
}
