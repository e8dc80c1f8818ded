//! Counting the work of a template, beyond what its engine counts: filters that
//! [`guard`](super::guard) inserts, and limits in proportion to the messages.

use super::super::message::{Message, Variables};
use indexmap::IndexMap;
use minijinja::value::{Enumerator, Object, ObjectRepr, Tuple, Value};
use minijinja::{Error, ErrorKind, State};
use serde_json::{Map, Value as Json};
use std::cell::Cell;
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
    /// For `messages` and `variables`.
    pub fn of(messages: &[Message], variables: &Variables) -> Limits {
        let count = messages.len();
        let bytes = messages.iter().map(Message::bytes).sum::<usize>() + variables.bytes();
        Limits {
            fuel: (1 << 20) + 1024 * count as u64 + 16 * variables.bytes() as u64 + bytes as u64,
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
        return Ok(Value::from_object(pairs.collect::<Result<Pairs, Error>>()?));
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

/// A mapping in the order in which it was written.
pub(super) type Pairs = IndexMap<Value, Value>;

/// A value of JSON. Not deeper than a message or a variable may be.
pub(super) fn value(json: &Json) -> Result<Value, Error> {
    at_depth(json, 0)
}

fn at_depth(json: &Json, depth: usize) -> Result<Value, Error> {
    /// Public schemas of tools need some ten.
    const DEEPEST: usize = 32;
    if depth > DEEPEST {
        return Err(refused(format!("a message or variable is more than {DEEPEST} deep")));
    }
    Ok(match json {
        Json::Null => Value::from(()),
        Json::Bool(yes) => Value::from(*yes),
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(n), _, _) => Value::from(n),
            (_, Some(n), _) => Value::from(n),
            (_, _, n) => Value::from(n),
        },
        Json::String(text) => Value::from(&text[..]),
        Json::Array(list) => {
            let items = list.iter().map(|item| at_depth(item, depth + 1));
            Value::from(items.collect::<Result<Vec<_>, _>>()?)
        }
        Json::Object(map) => map_at_depth(map, depth)?,
    })
}

fn map_at_depth(map: &Map<String, Json>, depth: usize) -> Result<Value, Error> {
    let pair =
        |(key, value): (&String, &Json)| Ok((Value::from(&key[..]), at_depth(value, depth + 1)?));
    Ok(Value::from_object(map.iter().map(pair).collect::<Result<Pairs, Error>>()?))
}

/// A message, as templates see it: a mapping whose weight is known.
#[derive(Debug)]
pub(super) struct Entry {
    message: Value,
    weight: usize,
}

impl Entry {
    pub fn of(message: &Message) -> Result<Value, Error> {
        let weight = 4 + message.bytes() / 8;
        let message = match message.json() {
            Some(json) => map_at_depth(json, 0)?,
            None => Value::from_object(Pairs::from([
                ("role".into(), message.role[..].into()),
                ("content".into(), message.content[..].into()),
            ])),
        };
        Ok(Value::from_object(Entry { message, weight }))
    }
}

impl Object for Entry {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.message.get_item(key).ok().filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.message.try_iter() {
            Ok(keys) => Enumerator::Values(keys.collect()),
            Err(_) => Enumerator::Empty,
        }
    }
}
