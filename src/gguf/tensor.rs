//! Tensors of an open file.

use super::Gguf;
use super::source::Source;
use crate::error::{Error, Result};
use crate::quant::{DType, type_name};
use std::ops::Range;

/// One entry of the tensor table.
pub(super) struct TensorEntry {
    pub name: String,
    /// In file order.
    pub dims: Vec<u64>,
    pub type_id: u32,
    /// First byte, counted from the start of the tensor data.
    pub offset: u64,
    /// Byte range of the data within the file; none if the type is unknown.
    pub range: Option<Range<usize>>,
    /// The index of that file among those of the model.
    pub source: usize,
}

/// A tensor of an open file.
#[derive(Clone, Copy)]
pub struct Tensor<'a> {
    pub(super) gguf: &'a Gguf,
    pub(super) entry: &'a TensorEntry,
}

impl<'a> Tensor<'a> {
    /// Name as written in the file.
    pub fn name(self) -> &'a str {
        &self.entry.name
    }

    /// Dimensions in file order: the first is the length of a row.
    pub fn dims(self) -> &'a [u64] {
        &self.entry.dims
    }

    /// The id of the element type; [`DType::from_id`] knows those that can be read.
    pub fn type_id(self) -> u32 {
        self.entry.type_id
    }

    /// The element type.
    ///
    /// # Errors
    /// [`Error::Unsupported`], with the tensor's name, if this runtime can't read it.
    pub fn dtype(self) -> Result<DType> {
        DType::from_id(self.type_id()).ok_or_else(|| {
            let name = type_name(self.type_id());
            Error::unsupported(
                format!("tensor {}", self.name()),
                format!("has type {name}, which this runtime does not read: requantize it to Q4_K"),
            )
        })
    }

    /// Number of values.
    pub fn len(self) -> u64 {
        self.dims().iter().product()
    }

    /// Whether the tensor holds no value.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    fn source(self) -> &'a Source {
        &self.gguf.sources[self.entry.source]
    }

    /// The bytes of the values, row by row; empty if the type is unknown.
    pub fn data(self) -> &'a [u8] {
        let range = self.entry.range.clone();
        range.and_then(|range| self.source().bytes().get(range)).unwrap_or_default()
    }

    /// Advises the system that the pages of the tensor will not be needed soon, so that they no
    /// longer count as resident. They are read from the file again when touched. Does nothing for a
    /// file that was read into memory.
    pub fn release(self) {
        self.release_part(0..usize::MAX);
    }

    /// Like [`Tensor::release`], for the bytes `part` of the data; anything beyond the data is
    /// ignored.
    pub(crate) fn release_part(self, part: Range<usize>) {
        if let Some(range) = &self.entry.range {
            let place = |at: usize| range.start + at.min(range.len());
            self.source().release(place(part.start)..place(part.end));
        }
    }
}

impl std::fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, dims) = (self.name(), self.dims());
        write!(f, "{name} {dims:?} {}", type_name(self.type_id()))
    }
}

/// Number of values of a tensor, or what is wrong with its dimensions.
pub(super) fn values(dims: &[u64]) -> std::result::Result<u64, String> {
    dims.iter()
        .try_fold(1u64, |n, &d| n.checked_mul(d))
        .ok_or_else(|| format!("has dimensions {dims:?}, whose product overflows"))
}

/// Bytes of a tensor's data, or why no such tensor can exist.
pub(super) fn bytes(dims: &[u64], dtype: DType) -> std::result::Result<usize, String> {
    let values = values(dims)?;
    let (row, block) = (dims.first().copied().unwrap_or(1), dtype.block_len());
    if !row.is_multiple_of(block as u64) {
        return Err(format!("has rows of {row} values, {dtype} comes in blocks of {block}"));
    }
    let bytes = usize::try_from(values).ok().and_then(|values| dtype.bytes_of(values));
    bytes.ok_or_else(|| format!("has dimensions {dims:?}, too many bytes for any file"))
}
