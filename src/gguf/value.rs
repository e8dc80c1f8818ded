//! Metadata values, borrowed from the file.

use super::parse::Cursor;
use std::fmt;

/// Type number of a metadata value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    pub(super) fn from_id(id: u32) -> Option<ValueType> {
        use ValueType::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64]
            .into_iter()
            .find(|&t| t as u32 == id)
    }

    /// Bytes of a value, for types of fixed size.
    pub(super) fn fixed_bytes(self) -> Option<usize> {
        use ValueType::*;
        match self {
            U8 | I8 | Bool => Some(1),
            U16 | I16 => Some(2),
            U32 | I32 | F32 => Some(4),
            U64 | I64 | F64 => Some(8),
            String | Array => None,
        }
    }

    /// Bytes of the smallest value: a string stores its length, an array its type and length.
    pub(super) fn least_bytes(self) -> usize {
        match self {
            ValueType::String => 8,
            ValueType::Array => 12,
            fixed => fixed.fixed_bytes().unwrap_or(1),
        }
    }
}

/// A metadata value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it all")]
#[non_exhaustive]
pub enum Value<'a> {
    /// Of any integer type.
    Int(i128),
    F32(f32),
    F64(f64),
    Bool(bool),
    /// Bytes that should be UTF-8, which is checked only by [`Value::as_str`].
    String(&'a [u8]),
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// The value of any integer type.
    pub fn as_i128(self) -> Option<i128> {
        match self {
            Value::Int(x) => Some(x),
            _ => None,
        }
    }

    /// The value of any float or integer type.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Value::F32(x) => Some(x.into()),
            Value::F64(x) => Some(x),
            other => other.as_i128().map(|x| x as f64),
        }
    }

    /// A string, if it is UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Value::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Describes the value for an error message.
    pub(super) fn kind(&self) -> String {
        match self {
            Value::String(bytes) => format!("a string of {} bytes", bytes.len()),
            Value::Array(a) => format!("an array of {} {:?}", a.len, a.element),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(x) => write!(f, "{x}"),
            Value::F32(x) => write!(f, "{x}"),
            Value::Bool(x) => write!(f, "{x}"),
            Value::String(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Value::Array(array) => array.fmt(f),
            Value::F64(x) => write!(f, "{x}"),
        }
    }
}

/// An array of metadata values, decoded during iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    pub(super) element: ValueType,
    /// Number of elements.
    pub len: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// The elements in order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut cursor = Cursor::new(self.bytes);
        (0..self.len).map_while(move |_| cursor.value(self.element).ok())
    }
}

impl fmt::Display for Array<'_> {
    /// At most eight elements: a vocabulary would fill the screen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        f.write_str("[")?;
        for (i, value) in self.iter().take(SHOWN).enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match value {
                Value::String(s) => write!(f, "{:?}", String::from_utf8_lossy(s))?,
                other => write!(f, "{other}")?,
            }
        }
        if self.len > SHOWN {
            write!(f, ", … {} in all", self.len)?;
        }
        f.write_str("]")
    }
}

/// Decodes a value from its type number and payload, which the parser has checked.
pub(super) fn decode(raw: &[u8]) -> Option<Value<'_>> {
    let mut cursor = Cursor::new(raw);
    let kind = cursor.value_type().ok()?;
    cursor.value(kind).ok()
}
