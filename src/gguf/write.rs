//! Writes GGUF version 3. Tensor data streams through, so a file may be larger than memory.

use super::{Gguf, TensorInfo, ValueType};
use crate::error::Result;
use crate::quant::DType;
use std::io::{self, Write};
use std::path::Path;

const ALIGNMENT: u64 = 32;

/// Collects metadata and the tensor table, then writes the file in one pass.
#[derive(Default)]
pub struct Writer {
    /// Key, and type number with payload.
    metadata: Vec<(String, Vec<u8>)>,
    tensors: Vec<Planned>,
}

struct Planned {
    name: String,
    /// Dimensions in file order.
    dims: Vec<u64>,
    dtype: DType,
    bytes: u64,
}

impl Writer {
    /// A file of the given `general.architecture`.
    pub fn new(architecture: &str) -> Writer {
        let mut w = Writer::default();
        w.set_str("general.architecture", architecture);
        w
    }

    /// A file with all the metadata of `from`.
    pub fn with_metadata_of(from: &Gguf) -> Writer {
        let mut w = Writer::default();
        w.copy_metadata(from, |_| true);
        w
    }

    /// Sets the keys of `from` that `wanted` says yes to, to the values that they have there.
    pub fn copy_metadata(&mut self, from: &Gguf, wanted: impl Fn(&str) -> bool) {
        for (key, _) in from.metadata() {
            // Data is laid out anew.
            if key != "general.alignment"
                && wanted(key)
                && let Some(raw) = from.raw(key)
            {
                self.put(key, raw.to_vec());
            }
        }
    }

    /// Sets an unsigned integer.
    pub fn set_u32(&mut self, key: &str, value: u32) {
        self.put(key, typed(ValueType::U32, &value.to_le_bytes()));
    }

    /// Sets a real.
    pub fn set_f32(&mut self, key: &str, value: f32) {
        self.put(key, typed(ValueType::F32, &value.to_le_bytes()));
    }

    /// Sets a truth value.
    pub fn set_bool(&mut self, key: &str, value: bool) {
        self.put(key, typed(ValueType::Bool, &[value.into()]));
    }

    /// Sets a string.
    pub fn set_str(&mut self, key: &str, value: &str) {
        self.put(key, typed(ValueType::String, &string(value)));
    }

    /// Sets an array of unsigned integers.
    pub fn set_u32s(&mut self, key: &str, values: &[u32]) {
        let payload = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.put_array(key, ValueType::U32, values.len(), payload);
    }

    /// Sets an array of strings.
    pub fn set_strs(&mut self, key: &str, values: &[&str]) {
        let payload = values.iter().flat_map(|v| string(v)).collect();
        self.put_array(key, ValueType::String, values.len(), payload);
    }

    fn put_array(&mut self, key: &str, element: ValueType, len: usize, payload: Vec<u8>) {
        let mut raw = typed(ValueType::Array, &(element as u32).to_le_bytes());
        raw.extend((len as u64).to_le_bytes());
        raw.extend(payload);
        self.put(key, raw);
    }

    /// A key set twice keeps its place and takes the new value.
    fn put(&mut self, key: &str, raw: Vec<u8>) {
        match self.metadata.iter_mut().find(|(k, _)| k == key) {
            Some(entry) => entry.1 = raw,
            None => self.metadata.push((key.to_owned(), raw)),
        }
    }

    /// Announces a tensor with the name, the shape and the type of `tensor` of another file.
    ///
    /// # Errors
    /// If it is of a type that isn't known here.
    pub fn tensor_like(&mut self, tensor: &TensorInfo) -> Result<()> {
        self.tensors.push(Planned {
            name: tensor.name.clone(),
            dims: tensor.dims.clone(),
            dtype: tensor.dtype()?,
            bytes: tensor.bytes() as u64,
        });
        Ok(())
    }

    /// Announces a tensor of `shape` (rows first, as the model's documentation writes shapes). Its
    /// data is asked for in the order of these calls.
    ///
    /// # Panics
    /// If a row is not a whole number of blocks of `dtype`: the caller chose both.
    pub fn tensor(&mut self, name: &str, shape: &[usize], dtype: DType) {
        let row = shape.last().copied().unwrap_or(1);
        let rows: usize = shape.iter().rev().skip(1).product();
        let row_bytes = dtype.bytes_of(row);
        assert!(row_bytes.is_some(), "tensor {name}: rows of {row} values in {dtype}");
        self.tensors.push(Planned {
            name: name.to_owned(),
            dims: shape.iter().rev().map(|&d| d as u64).collect(),
            dtype,
            bytes: row_bytes.unwrap_or(0) as u64 * rows as u64,
        });
    }

    /// Writes everything to `out`. `fill(index, sink)` is called once a tensor, in the order in
    /// which they were announced, and must write exactly its bytes.
    pub fn write(
        &self,
        out: &mut dyn Write,
        mut fill: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut out = Counted { inner: out, written: 0 };
        out.write_all(b"GGUF")?;
        out.write_all(&3u32.to_le_bytes())?;
        out.write_all(&(self.tensors.len() as u64).to_le_bytes())?;
        out.write_all(&(self.metadata.len() as u64).to_le_bytes())?;
        for (key, raw) in &self.metadata {
            out.write_all(&string(key))?;
            out.write_all(raw)?;
        }
        let mut offset = 0u64;
        for t in &self.tensors {
            out.write_all(&string(&t.name))?;
            out.write_all(&(t.dims.len() as u32).to_le_bytes())?;
            for d in &t.dims {
                out.write_all(&d.to_le_bytes())?;
            }
            out.write_all(&(t.dtype as u32).to_le_bytes())?;
            out.write_all(&offset.to_le_bytes())?;
            offset += t.bytes.next_multiple_of(ALIGNMENT);
        }
        out.pad()?;
        for (index, t) in self.tensors.iter().enumerate() {
            let start = out.written;
            fill(index, &mut out)?;
            let written = out.written - start;
            if written != t.bytes {
                return Err(io::Error::other(format!(
                    "tensor {} was given {written} bytes, its shape has {}",
                    t.name, t.bytes
                )));
            }
            out.pad()?;
        }
        out.flush()
    }

    /// Writes the file at `path` by way of a temporary neighbour, so that the old file, if there is
    /// one, stays whole until the new one is.
    pub fn write_file(
        &self,
        path: &Path,
        fill: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        crate::replace::replace(path, |out| self.write(out, fill).map_err(Into::into))
    }
}

fn typed(kind: ValueType, payload: &[u8]) -> Vec<u8> {
    let mut raw = (kind as u32).to_le_bytes().to_vec();
    raw.extend(payload);
    raw
}

fn string(s: &str) -> Vec<u8> {
    let mut raw = (s.len() as u64).to_le_bytes().to_vec();
    raw.extend(s.as_bytes());
    raw
}

struct Counted<'a> {
    inner: &'a mut dyn Write,
    written: u64,
}

impl Counted<'_> {
    fn pad(&mut self) -> io::Result<()> {
        let padding = self.written.next_multiple_of(ALIGNMENT) - self.written;
        self.write_all(&[0; ALIGNMENT as usize][..padding as usize])
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
