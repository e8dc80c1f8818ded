//! Reads the tables of a GGUF. Every count, length and offset comes from an untrusted file: each is
//! checked against a cap and against the remaining bytes before anything is allocated.

use super::source::Source;
use super::tensor::{self, TensorEntry};
use super::value::{Array, Value, ValueType};
use super::{Gguf, Located};
use crate::error::{Error, Result};
use crate::quant::DType;
use std::collections::HashMap;

/// The largest public models have some 3,000 tensors and 100 metadata entries; the caps keep the
/// tables of a hostile file within a few megabytes.
pub(super) const MAX_TENSORS: u64 = 1 << 16;
pub(super) const MAX_METADATA: u64 = 1 << 16;
/// GGUF's own limit on the length of a key.
pub(super) const MAX_KEY_BYTES: usize = (1 << 16) - 1;
/// GGUF specifies 64; this leaves room for writers that are less strict.
pub(super) const MAX_NAME_BYTES: usize = 256;
/// GGUF's current limit.
pub(super) const MAX_DIMS: u32 = 4;
/// GGUF's default when `general.alignment` is absent.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Alignment is for memory maps; nothing is gained beyond the largest page size in use.
const MAX_ALIGNMENT: u64 = 1 << 16;
/// Arrays of arrays are legal but nobody uses them; the depth is bounded because reading recurses.
const MAX_ARRAY_DEPTH: u32 = 4;

impl Gguf {
    pub(super) fn parse(source: Source) -> Result<Gguf> {
        let bytes = source.bytes();
        let mut cursor = Cursor::new(bytes);
        if cursor.take(4)? != b"GGUF" {
            return Err(Error::gguf("the file", "does not begin with the letters GGUF"));
        }
        let version = cursor.u32()?;
        match version {
            2 | 3 => {}
            _ if matches!(version.swap_bytes(), 1..=3) => {
                return Err(Error::gguf("the file", "is big-endian; only little-endian is read"));
            }
            _ => {
                return Err(Error::gguf(
                    "version",
                    format!("{version}; versions 2 and 3 are read"),
                ));
            }
        }
        let tensor_count = cursor.count("tensors", MAX_TENSORS, 24)?;
        let metadata_count = cursor.count("metadata entries", MAX_METADATA, 13)?;

        let mut metadata = Vec::with_capacity(metadata_count);
        let mut by_key = HashMap::with_capacity(metadata_count);
        for index in 0..metadata_count {
            let key = cursor.name("metadata key", MAX_KEY_BYTES)?;
            let start = cursor.at;
            let kind = cursor.value_type()?;
            cursor
                .value(kind)
                .map_err(|e| Error::gguf(format!("metadata key {key}"), problem(e)))?;
            if by_key.insert(key.clone(), index).is_some() {
                return Err(Error::gguf(format!("metadata key {key}"), "occurs twice"));
            }
            metadata.push(Located { key, raw: start..cursor.at });
        }

        let alignment = match by_key.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(&index) => {
                let raw: &Located = &metadata[index];
                let value = super::value::decode(&bytes[raw.raw.clone()]);
                let found = value.and_then(Value::as_i128).and_then(|x| u64::try_from(x).ok());
                match found {
                    Some(a) if a.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&a) => a,
                    _ => {
                        let found = value.map_or("nothing".into(), |v| v.kind());
                        return Err(Error::gguf(
                            "general.alignment",
                            format!(
                                "is {found}; a power of two from 8 to {MAX_ALIGNMENT} is expected"
                            ),
                        ));
                    }
                }
            }
        };

        let mut tensors = Vec::with_capacity(tensor_count);
        let mut by_name = HashMap::with_capacity(tensor_count);
        for index in 0..tensor_count {
            let tensor = cursor.tensor_info()?;
            if by_name.insert(tensor.name.clone(), index).is_some() {
                return Err(Error::gguf(format!("tensor {}", tensor.name), "occurs twice"));
            }
            tensors.push(tensor);
        }

        let data_start = (cursor.at as u64).next_multiple_of(alignment);
        let data_bytes = (bytes.len() as u64).saturating_sub(data_start);
        for tensor in &mut tensors {
            locate(tensor, data_start, data_bytes, alignment)?;
        }
        Ok(Gguf { version, metadata, by_key, tensors, by_name, sources: vec![source] })
    }
}

/// Checks that the data of `tensor` is within the file, and records where.
fn locate(tensor: &mut TensorEntry, start: u64, available: u64, alignment: u64) -> Result<()> {
    let name = &tensor.name;
    let refuse = |text: String| Err(Error::gguf(format!("tensor {name}"), text));
    if !tensor.offset.is_multiple_of(alignment) {
        return refuse(format!(
            "begins at offset {}, which is not a multiple of the alignment {alignment}",
            tensor.offset
        ));
    }
    if let Err(text) = tensor::values(&tensor.dims) {
        return refuse(text);
    }
    // An unsupported type is an error only once a model needs the tensor.
    let Some(dtype) = DType::from_id(tensor.type_id) else { return Ok(()) };
    let bytes = match tensor::bytes(&tensor.dims, dtype) {
        Ok(bytes) => bytes,
        Err(text) => return refuse(text),
    };
    match tensor.offset.checked_add(bytes as u64) {
        Some(end) if end <= available => {
            // Both fit usize, since the whole file does.
            let first = (start + tensor.offset) as usize;
            tensor.range = Some(first..first + bytes);
            Ok(())
        }
        Some(end) => refuse(format!(
            "ends at byte {end} of the tensor data, of which the file holds {available}: \
             it is cut short"
        )),
        None => refuse(format!("of {bytes} bytes begins at offset {}", tensor.offset)),
    }
}

fn problem(e: Error) -> String {
    match e {
        Error::Gguf { detail, .. } => format!("has a value that can't be read: {detail}"),
        other => other.to_string(),
    }
}

/// A position in untrusted bytes.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..n).ok_or_else(|| {
            Error::gguf(
                format!("{n} bytes"),
                format!(
                    "are expected at byte {}, the file ends at byte {}: it is cut short",
                    self.at,
                    self.bytes.len()
                ),
            )
        })?;
        self.at += n;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// A count of items of at least `least` bytes each, which must fit in the remaining bytes.
    fn count(&mut self, what: &str, cap: u64, least: usize) -> Result<usize> {
        let n = self.u64()?;
        let room = (self.left() / least) as u64;
        if n > cap.min(room) {
            return Err(Error::gguf(
                format!("{n} {what}"),
                match cap {
                    u64::MAX => format!("are declared; the file has room for {room}"),
                    _ => format!("are declared; the cap is {cap} and the file has room for {room}"),
                },
            ));
        }
        Ok(n as usize)
    }

    fn string(&mut self) -> Result<&'a [u8]> {
        let n = self.count("bytes of a string", u64::MAX, 1)?;
        self.take(n)
    }

    fn name(&mut self, what: &str, cap: usize) -> Result<String> {
        let raw = self.string()?;
        if raw.len() > cap {
            return Err(Error::gguf(
                format!("a {what}"),
                format!("has {} bytes; the cap is {cap}", raw.len()),
            ));
        }
        String::from_utf8(raw.to_vec())
            .map_err(|_| Error::gguf(format!("a {what} before byte {}", self.at), "is not UTF-8"))
    }

    pub(super) fn value_type(&mut self) -> Result<ValueType> {
        let id = self.u32()?;
        ValueType::from_id(id).ok_or_else(|| {
            Error::gguf("the type of a metadata value", format!("is {id}, which is unknown"))
        })
    }

    pub(super) fn value(&mut self, kind: ValueType) -> Result<Value<'a>> {
        self.value_within(kind, MAX_ARRAY_DEPTH)
    }

    fn value_within(&mut self, kind: ValueType, depth: u32) -> Result<Value<'a>> {
        Ok(match kind {
            ValueType::U8 => Value::Int(u8::from_le_bytes(self.array()?).into()),
            ValueType::I8 => Value::Int(i8::from_le_bytes(self.array()?).into()),
            ValueType::U16 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            ValueType::I16 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            ValueType::U32 => Value::Int(self.u32()?.into()),
            ValueType::I32 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            ValueType::U64 => Value::Int(self.u64()?.into()),
            ValueType::I64 => Value::Int(i64::from_le_bytes(self.array()?).into()),
            ValueType::F32 => Value::F32(f32::from_le_bytes(self.array()?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(self.array()?)),
            ValueType::Bool => match self.take(1)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                other => {
                    return Err(Error::gguf("a boolean", format!("is {}", other[0])));
                }
            },
            ValueType::String => Value::String(self.string()?),
            ValueType::Array => {
                if depth == 0 {
                    return Err(Error::gguf(
                        "",
                        format!("arrays nested more than {MAX_ARRAY_DEPTH} deep"),
                    ));
                }
                let element = self.value_type()?;
                let len = self.count("array elements", u64::MAX, element.least_bytes())?;
                let start = self.at;
                match element.fixed_bytes() {
                    Some(size) if element != ValueType::Bool => {
                        self.take(len * size)?;
                    }
                    _ => {
                        for _ in 0..len {
                            self.value_within(element, depth - 1)?;
                        }
                    }
                }
                Value::Array(Array { element, len, bytes: &self.bytes[start..self.at] })
            }
        })
    }

    fn tensor_info(&mut self) -> Result<TensorEntry> {
        let name = self.name("tensor name", MAX_NAME_BYTES)?;
        let dims = self.u32()?;
        if dims > MAX_DIMS {
            return Err(Error::gguf(
                format!("tensor {name}"),
                format!("has {dims} dimensions; the cap is {MAX_DIMS}"),
            ));
        }
        let dims = (0..dims).map(|_| self.u64()).collect::<Result<Vec<_>>>()?;
        let type_id = self.u32()?;
        let offset = self.u64()?;
        Ok(TensorEntry { name, dims, type_id, offset, range: None, source: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Writer;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let mut w = Writer::new("test");
        w.set("test.block_count", 3);
        w.set("general.name", "sample");
        w.set("tokens", &["a", "bc", ""]);
        w.set("flag", true);
        w.tensor("odd", &[3], DType::F32).unwrap();
        w.tensor("quants", &[2, 64], DType::Q8_0).unwrap();
        let mut out = Vec::new();
        w.write(&mut out, |index, sink| {
            let bytes: Vec<u8> = if index == 0 {
                [1f32, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect()
            } else {
                vec![7; 2 * 2 * 34]
            };
            sink.write_all(&bytes)
        })
        .unwrap();
        out
    }

    #[test]
    fn reads_back_what_was_written() {
        let g = Gguf::from_bytes(sample()).unwrap();
        assert_eq!(g.version(), 3);
        assert_eq!(g.u32("test.block_count").unwrap(), Some(3));
        assert_eq!(g.str("general.name").unwrap(), Some("sample"));
        assert_eq!(g.strs("tokens").unwrap(), Some(vec!["a", "bc", ""]));
        assert_eq!(g.bool("flag").unwrap(), Some(true));
        let t = g.tensor("quants").unwrap();
        assert_eq!(t.dims(), [64, 2]);
        assert_eq!(t.data(), &[7; 136]);
        assert_eq!(&g.tensor("odd").unwrap().data()[4..8], &2f32.to_le_bytes());
    }

    #[test]
    fn version_2_has_the_same_layout() {
        let mut bytes = sample();
        bytes[4] = 2;
        assert_eq!(Gguf::from_bytes(bytes).unwrap().version(), 2);
    }

    #[test]
    fn big_endian_and_unknown_versions_are_refused_by_name() {
        let mut bytes = sample();
        bytes[4..8].copy_from_slice(&3u32.to_be_bytes());
        assert!(Gguf::from_bytes(bytes.clone()).unwrap_err().to_string().contains("big-endian"));
        bytes[4..8].copy_from_slice(&9u32.to_le_bytes());
        assert!(Gguf::from_bytes(bytes).unwrap_err().to_string().contains("version 9"));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = sample();
        // The last tensor has 136 bytes; the padding up to 160 is unused.
        for n in 0..whole.len() - 24 {
            assert!(Gguf::from_bytes(whole[..n].to_vec()).is_err(), "cut to {n} bytes");
        }
    }

    #[test]
    fn absurd_counts_are_refused_before_allocation() {
        for at in [8, 16] {
            let mut bytes = sample();
            bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
            let text = Gguf::from_bytes(bytes).unwrap_err().to_string();
            assert!(text.contains("18446744073709551615"), "{text}");
        }
    }

    #[test]
    fn a_gguf_inside_another_file_is_aligned_to_itself() {
        let mut file = tempfile::tempfile().unwrap();
        let body = sample();
        std::io::Write::write_all(&mut file, b"seven..").unwrap();
        std::io::Write::write_all(&mut file, &body).unwrap();
        std::io::Write::write_all(&mut file, b"tail").unwrap();
        let length = Some(body.len() as u64);
        // SAFETY: nobody else has the file.
        for g in [unsafe { Gguf::map_file(&file, 7, length) }, Gguf::read_file(&file, 7, length)] {
            let g = g.unwrap();
            let quants = g.tensor("quants").unwrap();
            assert_eq!(quants.data(), &[7; 136]);
            quants.release();
            quants.release_part(100..usize::MAX);
            quants.release_part(std::ops::Range { start: usize::MAX, end: 100 });
            assert_eq!(quants.data(), &[7; 136]);
        }
        for (offset, length) in [(7, 1 << 40), (u64::MAX, 2), (0, u64::MAX)] {
            // SAFETY: as above.
            assert!(unsafe { Gguf::map_file(&file, offset, Some(length)) }.is_err());
            assert!(Gguf::read_file(&file, offset, Some(length)).is_err());
        }
    }

    proptest! {
        #[test]
        fn flipped_bytes_never_panic(at in 0usize..600, with: u8) {
            let mut bytes = sample();
            let at = at % bytes.len();
            bytes[at] ^= with;
            if let Ok(g) = Gguf::from_bytes(bytes) {
                for (_, value) in g.metadata() {
                    let _ = value.to_string();
                }
                for t in g.tensors() {
                    let _ = t.data().len();
                }
            }
        }

        #[test]
        fn arbitrary_tails_never_panic(tail: Vec<u8>) {
            let mut bytes = b"GGUF\x03\0\0\0".to_vec();
            bytes.extend(tail);
            let _ = Gguf::from_bytes(bytes);
        }
    }
}
