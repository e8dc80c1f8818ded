//! The filter `tojson`, as `transformers` has it.

use super::super::marks::MARK;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use std::fmt::Write;

/// Python's `json.dumps`, which `transformers` uses: spaces after commas and colons, no escapes for
/// HTML or for other alphabets. `indent` puts every item on its own line.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let escape: bool = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort: bool = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let separators: Option<Vec<String>> = options.get("separators")?;
    options.assert_all_used()?;
    // A template could ask for a line of spaces that fills all memory.
    let indent = indent.map(|n| n.min(16));
    let (comma, colon) = match separators.as_deref() {
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
        Some([comma, colon]) if comma.len() + colon.len() <= 16 => (comma.clone(), colon.clone()),
        Some(_) => {
            let text = "tojson: the separators are two texts of at most 16 bytes";
            return Err(Error::new(ErrorKind::InvalidOperation, text));
        }
    };
    let style = Style { indent, escape, sort, comma, colon };
    let mut text = String::new();
    style.value(value, 0, &mut text)?;
    Ok(Value::from_safe_string(text))
}

struct Style {
    indent: Option<usize>,
    escape: bool,
    sort: bool,
    comma: String,
    colon: String,
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
            ValueKind::Number => match f64::try_from(value.clone()) {
                Ok(number) if !value.is_integer() => float(number, out),
                _ => out.push_str(&value.to_string()),
            },
            ValueKind::Map => {
                out.push('{');
                let mut first = true;
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort {
                    keys.sort();
                }
                for key in keys {
                    self.line(&mut first, depth + 1, out);
                    self.string(&key.to_string(), out);
                    out.push_str(&self.colon);
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
            (None, false) => out.push_str(&self.comma),
            (Some(indent), first) => {
                out.push_str(if first { "" } else { &self.comma });
                out.push('\n');
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
                // Marks stay what they are.
                MARK => out.push(MARK),
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

/// As Python writes it.
fn float(number: f64, out: &mut String) {
    // Writing to a string can't fail.
    let _ = match format!("{number:e}").split_once('e') {
        _ if number.is_nan() => write!(out, "NaN"),
        Some((digits, exponent)) => match exponent.parse::<i32>() {
            Ok(exponent) if !(-4..16).contains(&exponent) => {
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(out, "{digits}e{sign}{:02}", exponent.abs())
            }
            _ => write!(out, "{number:?}"),
        },
        None => write!(out, "{}Infinity", if number < 0.0 { "-" } else { "" }),
    };
}
