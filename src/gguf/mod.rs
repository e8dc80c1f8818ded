//! The GGUF container: header, metadata and tensor table over a memory map, and a writer.
//!
//! Nothing here knows what a model is. Strings and arrays stay in the file and are decoded on
//! demand, so opening a file costs a few kilobytes whatever its vocabulary.
//!
//! Source: the GGUF specification, versions 2 and 3, little-endian.

mod fingerprint;
mod parse;
mod source;
mod split;
mod tensor;
mod value;
mod write;

pub use tensor::Tensor;
use value::ValueType;
pub use value::{Array, Value};
pub use write::{Entry, Writer};

use crate::error::{Error, Result};
use source::Source;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use tensor::TensorEntry;

/// An open GGUF file: memory-mapped, or a copy in memory. A model in several files,
/// `NAME-00001-of-00003.gguf` and so on, is opened by the path of the first, as one.
///
/// A map ([`Gguf::map`], [`Gguf::map_file`]) costs nothing to open and little to keep: its pages
/// are read when they are touched, shared with every process that maps the same file, and dropped
/// by the system when memory is short. It is `unsafe` because the file must not change meanwhile. A
/// copy ([`Gguf::read`], [`Gguf::read_file`]) needs no such promise, but costs the time and the
/// memory of reading the whole file.
pub struct Gguf {
    /// The file, and if it is the first of several parts of a model, the others.
    sources: Vec<Source>,
    version: u32,
    metadata: Vec<Located>,
    by_key: HashMap<String, usize>,
    tensors: Vec<TensorEntry>,
    by_name: HashMap<String, usize>,
}

/// One metadata entry: where its value (including the type number) is in the file.
struct Located {
    key: String,
    raw: Range<usize>,
}

impl Gguf {
    /// Maps the file at `path`.
    ///
    /// # Safety
    /// As long as this value lives, no process, this one included, may write to the file or shorten
    /// it: bytes that Rust assumes constant would change, which is undefined behavior, and touching
    /// a page that is gone kills the process. Deleting the file, or replacing it with another under
    /// the same name (as [`Writer::write_file`] does), is safe.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be opened or mapped, [`Error::Gguf`] if it is not a valid
    /// GGUF file.
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Gguf> {
        // SAFETY: passed on to the caller.
        at_path(path.as_ref(), &|file| unsafe { Gguf::map_file(file, 0, None) })
    }

    /// Maps `length` bytes (by default all that follow) of an open file, starting at byte `offset`:
    /// for a GGUF embedded in another file, such as an Android asset. Alignment counts from the
    /// start of the GGUF, so any offset will do. The file may be closed afterwards.
    ///
    /// # Safety
    /// As [`Gguf::map`], for this part of the file.
    ///
    /// # Errors
    /// As [`Gguf::map`]; and [`Error::Gguf`] if the range is not within the file.
    pub unsafe fn map_file(file: &File, offset: u64, length: Option<u64>) -> Result<Gguf> {
        // SAFETY: passed on to the caller.
        Self::parse(unsafe { Source::map(file, offset, length) }?)
    }

    /// Reads the file at `path` into memory.
    ///
    /// # Errors
    /// As [`Gguf::map`]; and [`Error::OutOfMemory`].
    pub fn read(path: impl AsRef<Path>) -> Result<Gguf> {
        Gguf::read_with(path, &mut |_, _| true)
    }

    /// As [`Gguf::read`], with the progress in bytes, done and all, after each few megabytes: `false`
    /// cancels. Of a model in several files it is that of one after the other.
    ///
    /// # Errors
    /// As [`Gguf::read`]; and [`Error::Cancelled`].
    pub fn read_with(
        path: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Gguf> {
        let progress = RefCell::new(progress);
        at_path(path.as_ref(), &|file| {
            Gguf::read_file_with(file, 0, None, &mut **progress.borrow_mut())
        })
    }

    /// Reads a part of an open file into memory; arguments as for [`Gguf::map_file`].
    ///
    /// # Errors
    /// As [`Gguf::map_file`]; and [`Error::OutOfMemory`].
    pub fn read_file(file: &File, offset: u64, length: Option<u64>) -> Result<Gguf> {
        Gguf::read_file_with(file, offset, length, &mut |_, _| true)
    }

    /// As [`Gguf::read_file`], with the progress as [`Gguf::read_with`] has it.
    ///
    /// # Errors
    /// As [`Gguf::read_file`]; and [`Error::Cancelled`].
    pub fn read_file_with(
        file: &File,
        offset: u64,
        length: Option<u64>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Gguf> {
        Self::parse(Source::read(file, offset, length, progress)?)
    }

    /// Takes a GGUF that is already in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Gguf> {
        Self::parse(Source::Owned(bytes))
    }

    /// Version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the file is mapped rather than copied into memory.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.sources[0], Source::Map(_))
    }

    /// Size of the whole file, or of all files of a model in several, in bytes.
    pub fn file_bytes(&self) -> usize {
        self.files().map(<[u8]>::len).sum()
    }

    /// The whole file; of a model in several, all of them.
    pub(crate) fn files(&self) -> impl Iterator<Item = &[u8]> {
        self.sources.iter().map(Source::bytes)
    }

    /// The file with the metadata.
    fn bytes(&self) -> &[u8] {
        self.sources[0].bytes()
    }

    /// The metadata in file order.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.metadata.iter().filter_map(|e| Some((e.key.as_str(), self.decode(e)?)))
    }

    /// The value of `key`, if present.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.decode(&self.metadata[*self.by_key.get(key)?])
    }

    /// An integer of any width that fits u32, or an array of the same one.
    pub(crate) fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.single(key, "an unsigned 32-bit integer", |v| u32::try_from(v.as_i128()?).ok())
    }

    /// A float or an integer, or an array of the same one.
    pub(crate) fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.single(key, "a number", |v| v.as_f64().map(|x| x as f32))
    }

    /// A boolean.
    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a boolean", |v| match v {
            Value::Bool(b) => Some(b),
            _ => None,
        })
    }

    /// A string in UTF-8.
    pub(crate) fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a UTF-8 string", |v| v.as_str())
    }

    /// An array of integers of any width that fit u32.
    pub(crate) fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>> {
        self.array(key, "an array of unsigned 32-bit integers", |v| {
            u32::try_from(v.as_i128()?).ok()
        })
    }

    /// An array of integers of any width that fit i32.
    #[cfg(feature = "text")]
    pub(crate) fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.array(key, "an array of 32-bit integers", |v| i32::try_from(v.as_i128()?).ok())
    }

    /// An array of floats or integers.
    pub(crate) fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.array(key, "an array of numbers", |v| v.as_f64().map(|x| x as f32))
    }

    /// An array of UTF-8 strings, borrowed from the file.
    #[cfg(feature = "text")]
    pub(crate) fn strs(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.array(key, "an array of UTF-8 strings", |v| v.as_str())
    }

    /// The tensors in file order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_>> {
        (0..self.tensors.len()).map(|index| self.tensor_at(index))
    }

    /// The tensor called `name`, if present.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        Some(self.tensor_at(self.tensor_index(name)?))
    }

    /// The index of the tensor called `name` in [`Gguf::tensors`].
    pub(crate) fn tensor_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The tensor at an index from [`Gguf::tensor_index`] of this file.
    pub(crate) fn tensor_at(&self, index: usize) -> Tensor<'_> {
        Tensor { gguf: self, entry: &self.tensors[index] }
    }

    fn decode(&self, entry: &Located) -> Option<Value<'_>> {
        value::decode(self.bytes().get(entry.raw.clone())?)
    }

    /// The type number and payload of a value, to copy it to another file.
    fn raw(&self, key: &str) -> Option<&[u8]> {
        self.bytes().get(self.metadata[*self.by_key.get(key)?].raw.clone())
    }

    /// As [`Gguf::typed`], for a number that some converters repeat for every layer.
    fn single<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(Value::Array(array)) = self.get(key) else {
            return self.typed(key, expected, convert);
        };
        let Some(first) = array.iter().next().filter(|first| first.as_f64().is_some()) else {
            return self.typed(key, expected, convert);
        };
        match array.iter().find(|other| *other != first) {
            Some(other) => Err(Error::model(
                format!("metadata key {key}"),
                format!("should be {expected}, found an array with {first} and {other}"),
            )),
            None => self.typed(key, expected, |_| convert(first)),
        }
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
            Error::model(
                format!("metadata key {key}"),
                format!("should be {expected}, found {found}"),
            )
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

/// Opens the file at `path` for `open`, and the other parts of its model; errors name the file.
fn at_path(path: &Path, open: &dyn Fn(&File) -> Result<Gguf>) -> Result<Gguf> {
    one_at_path(path, open)?.with_parts(path, &|path| one_at_path(path, open))
}

fn one_at_path(path: &Path, open: &dyn Fn(&File) -> Result<Gguf>) -> Result<Gguf> {
    let io = |error| Error::Io { path: path.to_path_buf(), error };
    let file = File::open(path).map_err(io)?;
    if let Some(kind) = source::other_kind(file.metadata().map_err(io)?.file_type()) {
        return Err(Error::gguf(path.display().to_string(), format!("is {kind}")));
    }
    open(&file).map_err(|e| match e {
        Error::Io { error, .. } => io(error),
        Error::Gguf { detail, .. } => Error::Gguf { path: Some(path.to_path_buf()), detail },
        other => other,
    })
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
