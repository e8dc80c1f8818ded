//! The container: any bytes are either a GGUF whose every value and tensor can be read, or an error.

#![no_main]

use attamba::gguf::{Gguf, Value};
use attamba::quant;
use libfuzzer_sys::fuzz_target;

/// Number of values decoded per tensor: a block's contents do not depend on its position.
const DECODED: usize = 4096;

fn walk(value: Value<'_>) {
    let _ = (value.as_i128(), value.as_f64(), value.as_str(), value.to_string());
    if let Value::Array(array) = value {
        assert_eq!(array.iter().count(), array.len);
        array.iter().for_each(walk);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let gguf = match Gguf::from_bytes(bytes.to_vec()) {
        Ok(gguf) => gguf,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            return;
        }
    };
    for (key, value) in gguf.metadata() {
        walk(value);
        assert_eq!(gguf.get(key).map(|v| v.to_string()), Some(value.to_string()));
    }
    for tensor in gguf.tensors() {
        let data = tensor.data();
        let Ok(dtype) = tensor.dtype() else { continue };
        assert_eq!(Some(data.len()), dtype.bytes_of(tensor.len() as usize));
        let bytes = dtype.bytes_of(dtype.block_len()).unwrap();
        let blocks = (data.len() / bytes).min(DECODED / dtype.block_len());
        let mut values = vec![0.0; blocks * dtype.block_len()];
        quant::dequantize(dtype, &data[..blocks * bytes], &mut values).unwrap();
    }
});
