//! The filter `tojson`, as `transformers` has it.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use std::fmt::Write;

/// Python's `json.dumps`, which `transformers` uses: spaces after commas and colons, no escapes for
/// HTML or for other alphabets. `indent` puts every item on its own line.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
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
    fn value(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        /// No template intends deeper nesting, which would overflow the stack.
        const DEEPEST: usize = 64;
        if depth > DEEPEST {
            let text = format!("tojson: values are nested more than {DEEPEST} deep");
            return Err(Error::new(ErrorKind::InvalidOperation, text));
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
