//! Writes GGUF version 3. Tensor data streams through, so a file may be larger than memory.

use super::parse::{MAX_DIMS, MAX_KEY_BYTES, MAX_METADATA, MAX_NAME_BYTES, MAX_TENSORS};
use super::{Gguf, Tensor, ValueType, tensor};
use crate::error::{Error, Result};
use crate::quant::DType;
use crate::replace::{Kind, replace};
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

/// The default without `general.alignment`, so that key is never written.
const ALIGNMENT: u64 = 32;
const ALIGNMENT_KEY: &str = "general.alignment";

/// Collects metadata and the tensor table, then writes the file in one pass. The default has no
/// metadata.
#[derive(Default)]
pub struct Writer {
    /// Key, then type number with payload.
    metadata: Vec<(String, Vec<u8>)>,
    tensors: Vec<Planned>,
    names: HashSet<String>,
    /// Bytes of the tensors' data, including padding.
    end: u64,
}

struct Planned {
    name: String,
    /// Dimensions in file order.
    dims: Vec<u64>,
    dtype: DType,
    bytes: u64,
    /// From the start of the tensor data.
    offset: u64,
}

impl Writer {
    /// A file of the given `general.architecture`.
    pub fn new(architecture: &str) -> Writer {
        let mut w = Writer::default();
        w.set("general.architecture", architecture);
        w
    }

    /// Copies those keys of `from` for which `wanted` returns true.
    pub fn copy_metadata(&mut self, from: &Gguf, wanted: impl Fn(&str) -> bool) {
        for (key, _) in from.metadata() {
            if wanted(key)
                && let Some(raw) = from.raw(key)
            {
                self.put(key, raw.to_vec());
            }
        }
    }

    /// Sets a key: to a boolean, a number, a string, or a slice of numbers or strings. A key that is
    /// set twice keeps its place and takes the new value; `general.alignment` is ignored, since data
    /// is laid out from scratch.
    pub fn set(&mut self, key: &str, value: impl Into<Entry>) {
        self.put(key, value.into().0);
    }

    fn put(&mut self, key: &str, raw: Vec<u8>) {
        if key == ALIGNMENT_KEY {
            return;
        }
        match self.metadata.iter_mut().find(|(k, _)| k == key) {
            Some(entry) => entry.1 = raw,
            None => self.metadata.push((key.to_owned(), raw)),
        }
    }

    /// Declares a tensor with the name, the shape and the type of `tensor` from another file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if its type is unknown, [`Error::Gguf`] as for [`Writer::tensor`].
    pub fn tensor_like(&mut self, tensor: Tensor<'_>) -> Result<()> {
        self.announce(tensor.name(), tensor.dims().to_vec(), tensor.dtype()?)
    }

    /// Declares a tensor of `shape` (rows first, as in the model's documentation). Data is
    /// requested in the order of these calls.
    ///
    /// # Errors
    /// [`Error::Gguf`] if no reader would accept it: a row that is not a whole number of blocks of
    /// `dtype`, more than 4 dimensions, a size that overflows, a name longer than 256 bytes or one
    /// already in use.
    pub fn tensor(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<()> {
        self.announce(name, shape.iter().rev().map(|&d| d as u64).collect(), dtype)
    }

    fn announce(&mut self, name: &str, dims: Vec<u64>, dtype: DType) -> Result<()> {
        let refuse = |text: String| Error::gguf(format!("tensor {name}"), text);
        if name.len() > MAX_NAME_BYTES {
            let bytes = name.len();
            return Err(Error::gguf(
                "the name of a tensor",
                format!("has {bytes} bytes; the cap is {MAX_NAME_BYTES}"),
            ));
        }
        if dims.len() > MAX_DIMS as usize {
            return Err(refuse(format!("has {} dimensions; the cap is {MAX_DIMS}", dims.len())));
        }
        if self.names.contains(name) {
            return Err(refuse("occurs twice".into()));
        }
        let bytes = tensor::bytes(&dims, dtype).map_err(refuse)? as u64;
        let padded = bytes.checked_next_multiple_of(ALIGNMENT);
        let Some(end) = padded.and_then(|padded| self.end.checked_add(padded)) else {
            return Err(refuse(format!("of {bytes} bytes makes the file larger than any")));
        };
        self.names.insert(name.to_owned());
        self.tensors.push(Planned { name: name.to_owned(), dims, dtype, bytes, offset: self.end });
        self.end = end;
        Ok(())
    }

    /// Writes everything to `out`. `fill(index, sink)` is called once per tensor, in the order in
    /// which they were declared, and must write exactly that tensor's bytes.
    ///
    /// # Errors
    /// Those of `out` and of `fill`; also if the data is not as long as declared, or if there are
    /// more tensors or entries, or longer keys, than readers accept.
    pub fn write(
        &self,
        out: &mut dyn Write,
        mut fill: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check()?;
        let mut out = Counted { inner: out, written: 0 };
        out.write_all(b"GGUF")?;
        out.write_all(&3u32.to_le_bytes())?;
        out.write_all(&(self.tensors.len() as u64).to_le_bytes())?;
        out.write_all(&(self.metadata.len() as u64).to_le_bytes())?;
        for (key, raw) in &self.metadata {
            out.write_all(&string(key))?;
            out.write_all(raw)?;
        }
        for t in &self.tensors {
            out.write_all(&string(&t.name))?;
            out.write_all(&(t.dims.len() as u32).to_le_bytes())?;
            for d in &t.dims {
                out.write_all(&d.to_le_bytes())?;
            }
            out.write_all(&(t.dtype as u32).to_le_bytes())?;
            out.write_all(&t.offset.to_le_bytes())?;
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

    /// Enforces the limits of readers.
    fn check(&self) -> io::Result<()> {
        let longest = self.metadata.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        for (number, most, what) in [
            (self.tensors.len() as u64, MAX_TENSORS, "tensors"),
            (self.metadata.len() as u64, MAX_METADATA, "metadata entries"),
            (longest as u64, MAX_KEY_BYTES as u64, "bytes of a key"),
        ] {
            if number > most {
                let text = format!("{number} {what}; the cap is {most}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        Ok(())
    }

    /// Writes the file at `path` by way of a temporary file next to it, so that an existing file
    /// stays intact until the new one is complete. Links are followed, permissions are kept.
    ///
    /// # Errors
    /// [`Error::Io`], in the cases of [`Writer::write`] and if there is something else than a regular
    /// file.
    pub fn write_file(
        &self,
        path: impl AsRef<Path>,
        fill: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        const ANY: Kind = Kind { over: None, mode: 0o666 };
        replace(path.as_ref(), &ANY, |out| self.write(out, fill).map_err(Into::into)).map(drop)
    }
}

/// A metadata value to write: see [`Writer::set`].
pub struct Entry(Vec<u8>);

/// An entry for values of one type, and one for slices of them.
macro_rules! entries {
    ($($type:ty, $kind:ident, $bytes:expr;)*) => { $(
        impl From<$type> for Entry {
            fn from(value: $type) -> Entry {
                let bytes: fn($type) -> Vec<u8> = $bytes;
                Entry(typed(ValueType::$kind, &bytes(value)))
            }
        }

        impl From<&[$type]> for Entry {
            fn from(values: &[$type]) -> Entry {
                let bytes: fn($type) -> Vec<u8> = $bytes;
                let mut raw = typed(ValueType::Array, &(ValueType::$kind as u32).to_le_bytes());
                raw.extend((values.len() as u64).to_le_bytes());
                raw.extend(values.iter().flat_map(|value| bytes(*value)));
                Entry(raw)
            }
        }

        impl<const N: usize> From<&[$type; N]> for Entry {
            fn from(values: &[$type; N]) -> Entry {
                values.as_slice().into()
            }
        }
    )* };
}

entries! {
    bool, Bool, |value| vec![value.into()];
    u32, U32, |value| value.to_le_bytes().to_vec();
    f32, F32, |value| value.to_le_bytes().to_vec();
    &str, String, string;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    proptest! {
        /// Whatever is declared, the writer either rejects it or writes a file that reads back the
        /// same.
        #[test]
        fn what_is_declared_is_rejected_or_read_back(
            entries in prop::collection::vec((".{0,20}|general\\.alignment|k{65534,65537}", any::<u32>()), 0..6),
            tensors in prop::collection::vec(
                (
                    "[a-c]|.{0,20}|n{254,260}",
                    prop::collection::vec(
                        prop_oneof![0..9usize, select(&[32, 64, 256, 1 << 31, 1 << 40, usize::MAX][..])],
                        0..6,
                    ),
                    select(&DType::ALL[..]),
                ),
                0..6,
            ),
            extra in prop_oneof![9 => Just(0usize), 1 => Just(1)],
        ) {
            let mut writer = Writer::new("test");
            entries.iter().for_each(|(key, value)| writer.set(key, *value));
            let mut taken = Vec::new();
            for (name, shape, dtype) in &tensors {
                if writer.tensor(name, shape, *dtype).is_ok() {
                    taken.push((name, shape, *dtype));
                }
            }
            // What is too large for a test is only declared.
            if writer.end > 1 << 20 {
                return Ok(());
            }
            let mut out = Vec::new();
            let written = writer.write(&mut out, |index, sink| {
                let bytes = writer.tensors[index].bytes as usize + extra;
                sink.write_all(&vec![index as u8; bytes])
            });
            let too_long = entries.iter().any(|(key, _)| key.len() > MAX_KEY_BYTES);
            prop_assert_eq!(written.is_ok(), !too_long && (extra == 0 || taken.is_empty()));
            if written.is_err() {
                return Ok(());
            }
            let read = Gguf::from_bytes(out).unwrap();
            for (key, _) in &entries {
                let last = entries.iter().rfind(|(other, _)| other == key).map(|(_, value)| *value);
                let expected = if key == ALIGNMENT_KEY { None } else { last };
                prop_assert_eq!(read.u32(key).unwrap(), expected);
            }
            prop_assert_eq!(read.tensors().len(), taken.len());
            for (tensor, (name, shape, dtype)) in read.tensors().zip(taken) {
                prop_assert_eq!(tensor.name(), name);
                let dims: Vec<_> = tensor.dims().iter().rev().map(|&d| d as usize).collect();
                prop_assert_eq!(&dims, shape);
                prop_assert_eq!(tensor.dtype().unwrap(), dtype);
                let index = read.tensor_index(name).unwrap() as u8;
                prop_assert!(tensor.data().iter().all(|&byte| byte == index));
            }
        }
    }

    #[test]
    fn a_row_that_fills_no_blocks_is_an_error() {
        let mut writer = Writer::new("test");
        let message = writer.tensor("a", &[2, 31], DType::Q8_0).unwrap_err().to_string();
        assert!(message.contains("tensor a has rows of 31 values"), "{message}");
        let message = writer.tensor("b", &[usize::MAX, 2], DType::F32).unwrap_err().to_string();
        assert!(message.contains("overflows"), "{message}");
    }
}
