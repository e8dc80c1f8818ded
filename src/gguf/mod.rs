//! The GGUF container: header, metadata and tensor table over a memory map, and a writer.
//!
//! Nothing here knows what a model is. Strings and arrays stay where they lie in the file and are
//! decoded when asked for, so opening a file costs a few kilobytes whatever its vocabulary.
//!
//! Source: the GGUF specification, versions 2 and 3, little-endian.

mod fingerprint;
mod parse;
mod source;
mod value;
mod write;

pub use value::{Array, Value, ValueType};
pub use write::Writer;

use crate::error::{Error, Result};
use crate::quant::DType;
use source::Source;
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// One entry of the tensor table.
#[derive(Clone, Debug)]
pub struct TensorInfo {
    /// Name as written in the file.
    pub name: String,
    /// Dimensions in file order: the first is the length of a row.
    pub dims: Vec<u64>,
    /// The number of the element type; [`DType::from_id`] knows those that can be read.
    pub type_id: u32,
    /// First byte, counted from the start of the tensor data.
    pub offset: u64,
    /// Bytes of the data within the file; nothing if the type is unknown.
    range: Option<Range<usize>>,
}

impl TensorInfo {
    /// The element type, or an error that names the tensor.
    pub fn dtype(&self) -> Result<DType> {
        DType::from_id(self.type_id).ok_or_else(|| {
            Error::Unsupported(format!(
                "tensor {} has GGUF type {}, which this runtime does not read",
                self.name, self.type_id
            ))
        })
    }

    /// Number of values.
    pub fn len(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Whether the tensor holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the data in the file; 0 where the type is unknown.
    pub fn bytes(&self) -> usize {
        self.range.as_ref().map_or(0, ExactSizeIterator::len)
    }
}

/// An open GGUF file. Cheap to keep: the data stays in the page cache.
///
/// The file must not be shortened while it is open: like every memory map, the process would be
/// killed by the system on the next touch of a page that is gone.
pub struct Gguf {
    source: Source,
    version: u32,
    alignment: u64,
    metadata: Vec<Entry>,
    by_key: HashMap<String, usize>,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
}

/// One metadata entry: where its value (type number included) lies in the file.
struct Entry {
    key: String,
    raw: Range<usize>,
}

impl Gguf {
    /// Maps the file at `path` and reads its tables.
    pub fn open(path: &Path) -> Result<Gguf> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(Error::Gguf(format!("{} is a directory", path.display())));
        }
        Self::from_file(&file, 0, None).map_err(|e| match e {
            Error::Io { source, .. } => io(source),
            Error::Gguf(text) => Error::Gguf(format!("{}: {text}", path.display())),
            other => other,
        })
    }

    /// Maps `length` bytes (by default all that follow) of an open file from byte `offset` on:
    /// for a GGUF that lies inside another file, such as an Android asset. Alignment counts from
    /// the start of the GGUF, so any offset will do. The file may be closed afterwards.
    pub fn from_file(file: &File, offset: u64, length: Option<u64>) -> Result<Gguf> {
        Self::parse(Source::map(file, offset, length)?)
    }

    /// Reads a GGUF that lies in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Gguf> {
        Self::parse(Source::Owned(bytes))
    }

    /// Version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Alignment of tensor data, in bytes.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Size of the whole file, in bytes.
    pub fn file_bytes(&self) -> usize {
        self.source.bytes().len()
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.source.bytes()
    }

    /// The metadata in file order.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.metadata.iter().filter_map(|e| Some((e.key.as_str(), self.decode(e)?)))
    }

    /// The value of `key`, if it is there.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.decode(&self.metadata[*self.by_key.get(key)?])
    }

    /// An integer of any width that fits u32.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "an unsigned 32-bit integer", |v| u32::try_from(v.as_i128()?).ok())
    }

    /// A real or an integer.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a number", |v| v.as_f64().map(|x| x as f32))
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a truth value", |v| match v {
            Value::Bool(b) => Some(b),
            _ => None,
        })
    }

    /// A string in UTF-8.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a UTF-8 string", |v| v.as_str())
    }

    /// An array of integers of any width that fit u32.
    pub fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>> {
        self.array(key, "an array of unsigned 32-bit integers", |v| {
            u32::try_from(v.as_i128()?).ok()
        })
    }

    /// An array of integers of any width that fit i32.
    pub fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.array(key, "an array of 32-bit integers", |v| i32::try_from(v.as_i128()?).ok())
    }

    /// An array of reals or integers.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.array(key, "an array of numbers", |v| v.as_f64().map(|x| x as f32))
    }

    /// An array of UTF-8 strings, borrowed from the file.
    pub fn strs(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.array(key, "an array of UTF-8 strings", |v| v.as_str())
    }

    /// The tensors in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`, if it is there.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        Some(&self.tensors[self.tensor_index(name)?])
    }

    /// Where the tensor called `name` stands in [`Gguf::tensors`].
    pub(crate) fn tensor_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The bytes of a tensor of this file; empty if its type is unknown.
    pub fn data(&self, tensor: &TensorInfo) -> &[u8] {
        tensor.range.clone().and_then(|r| self.source.bytes().get(r)).unwrap_or_default()
    }

    /// Tells the system that the pages of `tensor` will not be needed soon, so that they no longer
    /// count as resident. They come back from the file when touched.
    pub fn release(&self, tensor: &TensorInfo) {
        self.release_part(tensor, 0..tensor.bytes());
    }

    /// As [`Gguf::release`], for the bytes `part` of the tensor's data.
    pub fn release_part(&self, tensor: &TensorInfo, part: Range<usize>) {
        if let Some(range) = &tensor.range {
            let place = |at: usize| range.start + at.min(range.len());
            self.source.release(place(part.start)..place(part.end));
        }
    }

    fn decode(&self, entry: &Entry) -> Option<Value<'_>> {
        value::decode(self.source.bytes().get(entry.raw.clone())?)
    }

    /// The type number and payload of a value, for copying it to another file.
    fn raw(&self, key: &str) -> Option<&[u8]> {
        self.source.bytes().get(self.metadata[*self.by_key.get(key)?].raw.clone())
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = value.kind();
        convert(value).map(Some).ok_or_else(|| {
            Error::Model(format!("metadata key {key} should be {expected}, found {found}"))
        })
    }

    fn array<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        self.typed(key, expected, |v| match v {
            Value::Array(array) => array.iter().map(&convert).collect(),
            _ => None,
        })
    }
}

impl std::fmt::Debug for Gguf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gguf")
            .field("version", &self.version)
            .field("metadata", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .finish()
    }
}
