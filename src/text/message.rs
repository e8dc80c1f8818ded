//! The messages of a chat, and the other variables of a template.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// One message of a chat.
///
/// One with more than a text, such as tool calls, is read from JSON: [`Message::from_json`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or any other role that the template knows.
    pub role: String,
    /// The content.
    pub content: String,
    /// All of it, if it was read from JSON: what the template sees instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<Map<String, Value>>,
}

impl Message {
    /// A message with a given `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message { role: role.into(), content: content.into(), json: None }
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

    /// A message in JSON, as the `transformers` package has it: an object with a `role`, a `content`
    /// (a text, a list of parts such as `{"type": "text", "text": "…"}`, or null), and whatever else
    /// the template reads, such as `tool_calls`, `tool_call_id`, `name` or `reasoning_content`.
    ///
    /// The template sees the object as it is. [`Message::content`] is its text, of a list the text of
    /// its parts one after the other.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn from_json(json: &str) -> Result<Message> {
        Message::of(parse(json, "the message")?, "the message")
    }

    /// A list of messages in JSON: an array of objects as in [`Message::from_json`].
    ///
    /// # Errors
    /// [`Error::Argument`], with the number of the message, from 0.
    pub fn list_from_json(json: &str) -> Result<Vec<Message>> {
        let list: Vec<Value> = parse(json, "the messages")?;
        let each = |(number, value)| Message::of(value, &format!("message {number}"));
        list.into_iter().enumerate().map(each).collect()
    }

    fn of(value: Value, what: &str) -> Result<Message> {
        let Value::Object(json) = value else {
            return Err(Error::argument(what, format!("is {}, not an object", kind(&value))));
        };
        let role = match json.get("role") {
            Some(Value::String(role)) => role.clone(),
            None => return Err(Error::argument(what, "has no role")),
            Some(other) => {
                return Err(Error::argument(what, format!("has a role that is {}", kind(other))));
            }
        };
        let content = match json.get("content") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|part| part["text"].as_str()).collect()
            }
            Some(other) => {
                let kind = kind(other);
                return Err(Error::argument(what, format!("has a content that is {kind}")));
            }
        };
        Ok(Message { role, content, json: Some(with_thoughts(json)) })
    }

    /// What the template sees, unless that is only role and content.
    pub(super) fn json(&self) -> Option<&Map<String, Value>> {
        self.json.as_ref()
    }

    /// Bytes of text, or of what is in its place.
    pub(crate) fn bytes(&self) -> usize {
        self.json.as_ref().map_or(self.role.len() + self.content.len(), bytes_of)
    }

    /// A message in which every text went through `mark`.
    pub(super) fn marked(&self, mark: &dyn Fn(&str) -> String) -> Message {
        let json = self.json.as_ref().map(|json| marked(json, mark));
        Message { role: self.role.clone(), content: mark(&self.content), json }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Message {
        Message::user(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Message {
        Message::user(text)
    }
}

/// A message whose thoughts are found under both names by which templates read them, as in
/// `transformers`, whatever they are called.
fn with_thoughts(message: Map<String, Value>) -> Map<String, Value> {
    let names = ["reasoning_content", "thinking", "reasoning"];
    let mut given = names.iter().filter_map(|name| message.get(*name));
    let Some(thoughts) = given.find(|value| !value.is_null()).cloned() else { return message };
    let mut whole = Map::new();
    whole.insert("thinking".into(), thoughts.clone());
    whole.extend(message);
    whole.insert("reasoning_content".into(), thoughts);
    whole
}

/// What a template gets in addition to the messages: tools, documents, switches.
#[derive(Clone, Debug, Default)]
pub struct Variables(Map<String, Value>);

impl Variables {
    /// Reads an object in JSON.
    pub fn from_json(json: &str) -> Result<Variables> {
        let variables: Map<String, Value> = parse(json, "the variables")?;
        let own = ["messages", "add_generation_prompt", "bos_token", "eos_token"];
        match own.iter().find(|name| variables.contains_key(**name)) {
            Some(name) => Err(Error::argument(
                format!("the variable {name:?}"),
                "can't be set: it comes from the chat or the model",
            )),
            None => Ok(Variables(variables)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    pub(super) fn bytes(&self) -> usize {
        bytes_of(&self.0)
    }

    /// The same with every text gone through `mark`.
    pub(super) fn marked(&self, mark: &dyn Fn(&str) -> String) -> Variables {
        let each = |(name, value): (&String, &Value)| (name.clone(), mark_value(value, mark));
        Variables(self.0.iter().map(each).collect())
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &str, what: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| Error::argument(what, format!("can't be read: {e}")))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The bytes of all texts, and 8 for each value.
fn bytes_of(map: &Map<String, Value>) -> usize {
    fn of(value: &Value) -> usize {
        8 + match value {
            Value::String(text) => text.len(),
            Value::Array(list) => list.iter().map(of).sum(),
            Value::Object(map) => bytes_of(map),
            _ => 0,
        }
    }
    map.iter().map(|(key, value)| key.len() + of(value)).sum()
}

fn marked(map: &Map<String, Value>, mark: &dyn Fn(&str) -> String) -> Map<String, Value> {
    map.iter().map(|(key, value)| (mark(key), mark_value(value, mark))).collect()
}

fn mark_value(value: &Value, mark: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => mark(text).into(),
        Value::Array(list) => list.iter().map(|item| mark_value(item, mark)).collect(),
        Value::Object(map) => marked(map, mark).into(),
        other => other.clone(),
    }
}
