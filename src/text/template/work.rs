//! Counting the work of a template, beyond what its engine counts: filters that
//! [`guard`](super::guard) inserts, and limits in proportion to the messages.

use super::Message;
use minijinja::value::{Enumerator, Object, ObjectRepr, Tuple, Value};
use minijinja::{Error, ErrorKind, State};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Passes a value on if it is not too large or too deep, for the work of going through it.
pub(super) const COUNTED: &str = "|attamba_counted ";
/// Passes on what contains no other values.
pub(super) const SCALAR: &str = "|attamba_scalar ";
/// As [`COUNTED`], and the value may be kept in a namespace: it contains none.
pub(super) const DATA: &str = "|attamba_data ";

/// Values within values within values: what a value may be, so that printing, comparing and
/// dropping it fits any stack.
const DEEPEST: usize = 64;

/// What one rendering may cost. An instruction of the engine costs 1, as do 64 bytes of text and
/// two values that are gone through. Public templates need some ten thousand for a start and a
/// hundred for a message, so that whatever reaches these limits is broken or hostile.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Units of work.
    pub fuel: u64,
    /// Values that a value may contain, its strings by the 64 bytes.
    weight: usize,
    time: Duration,
}

impl Limits {
    /// For `messages`.
    pub fn of(messages: &[Message]) -> Limits {
        let count = messages.len();
        let bytes: usize = messages.iter().map(|m| m.role.len() + m.content.len()).sum();
        Limits {
            fuel: (1 << 20) + 1024 * count as u64 + bytes as u64,
            weight: (1 << 14) + 8 * count + 2 * bytes,
            time: Duration::from_secs(1) + Duration::from_micros(20) * count as u32,
        }
    }
}

thread_local! {
    /// Of the rendering on this thread: the weight, and the end of the time.
    static CURRENT: Cell<Option<(usize, Instant)>> = const { Cell::new(None) };
}

/// Begins a rendering on this thread, which is its own.
pub(super) fn begin(limits: Limits) {
    CURRENT.set(Instant::now().checked_add(limits.time).map(|end| (limits.weight, end)));
}

fn refused(text: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, text)
}

/// The filter [`COUNTED`].
pub(super) fn counted(state: &State, value: Value) -> Result<Value, Error> {
    count(state, &value)?;
    Ok(value)
}

/// The filter [`DATA`].
pub(super) fn data(state: &State, value: Value) -> Result<Value, Error> {
    count(state, &value)?;
    settled(&value)
}

/// A copy of `value` in which nothing is computed when it is asked for: that could come to contain
/// itself. The value has been counted, so this is not deep.
fn settled(value: &Value) -> Result<Value, Error> {
    let Some(object) = value.as_object() else { return Ok(value.clone()) };
    for kind in ["Namespace", "Macro"] {
        if object.type_name().ends_with(kind) {
            let kind = kind.to_lowercase();
            return Err(refused(format!("a {kind} can't be kept in a namespace")));
        }
    }
    if object.downcast_ref::<Entry>().is_some() {
        return Ok(value.clone());
    }
    let Some(pairs) = object.try_iter_pairs() else { return Ok(value.clone()) };
    if object.repr() == ObjectRepr::Map {
        let pairs = pairs.map(|(key, value)| Ok((settled(&key)?, settled(&value)?)));
        return Ok(Value::from_object(pairs.collect::<Result<BTreeMap<_, _>, Error>>()?));
    }
    let items = pairs.map(|(_, item)| settled(&item)).collect::<Result<Vec<_>, Error>>()?;
    Ok(if value.is_tuple() { Tuple::from(items).into() } else { items.into() })
}

/// The filter [`SCALAR`].
pub(super) fn scalar(value: Value) -> Result<Value, Error> {
    match value.as_object() {
        None => Ok(value),
        Some(_) => Err(refused("only numbers and strings can be multiplied".into())),
    }
}

/// Goes through `value`, for its cost.
pub(super) fn count(state: &State, value: &Value) -> Result<(), Error> {
    let Some((most, end)) = CURRENT.get() else { return Ok(()) };
    if Instant::now() > end {
        return Err(refused("it takes too long".into()));
    }
    if value.as_object().is_none() {
        return match value.as_str() {
            Some(text) if text.len() >= 64 => state.consume_fuel(text.len() as u64 / 64),
            _ => Ok(()),
        };
    }
    let mut weight = 0;
    // Of each value that contains the next one: the rest of its keys and values.
    let mut path: Vec<Box<dyn Iterator<Item = Value>>> = Vec::new();
    let mut next = Some(value.clone());
    loop {
        if let Some(value) = next.take() {
            weight += value.as_str().map_or(1, |text| 1 + text.len() / 64);
            if let Some(entry) = value.downcast_object_ref::<Entry>() {
                weight += entry.weight;
            } else if let Some(object) = value.as_object() {
                match object.try_iter_pairs() {
                    None => {}
                    Some(pairs) if object.repr() == ObjectRepr::Map => {
                        path.push(Box::new(pairs.flat_map(|(key, value)| [key, value])));
                    }
                    Some(pairs) => path.push(Box::new(pairs.map(|(_, value)| value))),
                }
            }
            if path.len() > DEEPEST {
                return Err(refused(format!("values are nested more than {DEEPEST} deep")));
            }
            if weight > most {
                let text = format!("a value contains more than {most} others, or as much text");
                return Err(refused(text));
            }
        }
        match path.last_mut().map(Iterator::next) {
            None => break,
            Some(None) => drop(path.pop()),
            Some(inner) => next = inner,
        }
    }
    state.consume_fuel(weight as u64 / 2)
}

/// A message, as templates see it: a mapping whose weight is known.
#[derive(Debug)]
pub(super) struct Entry {
    role: Value,
    content: Value,
    weight: usize,
}

impl Entry {
    pub fn new(message: &Message) -> Entry {
        Entry {
            role: Value::from(&message.role[..]),
            content: Value::from(&message.content[..]),
            weight: 4 + (message.role.len() + message.content.len()) / 64,
        }
    }
}

impl Object for Entry {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "role" => Some(self.role.clone()),
            "content" => Some(self.content.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["role", "content"])
    }
}
