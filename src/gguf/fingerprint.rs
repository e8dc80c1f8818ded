//! A number that distinguishes files without reading all of them.

use super::Gguf;
use xxhash_rust::xxh3::Xxh3;

/// Bytes sampled from the beginning and from the end of each tensor. Two training runs of one model
/// differ everywhere; a page or two per tensor are enough to see it, and to stay fast on a phone.
const SAMPLE: usize = 256;

impl Gguf {
    /// A fingerprint of metadata, tensor table and weights, the same on every machine. The weights
    /// are sampled: 512 bytes of each tensor.
    pub(crate) fn fingerprint(&self) -> u128 {
        let mut hash = Xxh3::new();
        for entry in &self.metadata {
            hash.update(&(entry.key.len() as u64).to_le_bytes());
            hash.update(entry.key.as_bytes());
            hash.update(self.bytes().get(entry.raw.clone()).unwrap_or_default());
        }
        for tensor in self.tensors() {
            let data = tensor.data();
            hash.update(&(tensor.name().len() as u64).to_le_bytes());
            hash.update(tensor.name().as_bytes());
            for number in [u64::from(tensor.type_id()), tensor.dims().len() as u64] {
                hash.update(&number.to_le_bytes());
            }
            for dim in tensor.dims() {
                hash.update(&dim.to_le_bytes());
            }
            let sample = SAMPLE.min(data.len());
            hash.update(&data[..sample]);
            hash.update(&data[data.len() - sample..]);
        }
        hash.digest128()
    }
}

#[cfg(test)]
mod tests {
    use crate::gguf::{Gguf, Writer};
    use crate::quant::DType;

    fn file(name: &str, value: f32) -> u128 {
        let mut writer = Writer::new("attamba");
        writer.set("general.name", name);
        writer.tensor("a.weight", &[2, 1000], DType::F32).unwrap();
        let mut bytes = std::io::Cursor::new(Vec::new());
        let data: Vec<u8> = [value; 2000].iter().flat_map(|x| x.to_le_bytes()).collect();
        writer.write(&mut bytes, |_, out| out.write_all(&data)).unwrap();
        Gguf::from_bytes(bytes.into_inner()).unwrap().fingerprint()
    }

    #[test]
    fn it_changes_with_weights_and_with_metadata_alone() {
        assert_eq!(file("one", 1.0), file("one", 1.0));
        assert_ne!(file("one", 1.0), file("one", 2.0));
        assert_ne!(file("one", 1.0), file("two", 1.0));
    }
}
