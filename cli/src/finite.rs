//! Values that are not numbers, in the weights of a file.

use anyhow::Result;
use attamba::gguf::Tensor;
use attamba::quant;

/// The first value of `tensor` that is NaN or infinite.
pub fn first_that_is_not(tensor: Tensor) -> Result<Option<f32>> {
    /// Values that are looked at together: whole blocks of every format.
    const PART: usize = 1 << 16;
    let dtype = tensor.dtype()?;
    let Some(part) = dtype.bytes_of(PART).filter(|&bytes| bytes > 0) else { return Ok(None) };
    let mut values = vec![0.0; PART];
    for bytes in tensor.data().chunks(part) {
        let count = bytes.len() * PART / part;
        quant::dequantize(dtype, bytes, &mut values[..count])?;
        if let Some(&value) = values[..count].iter().find(|value| !value.is_finite()) {
            return Ok(Some(value));
        }
    }
    tensor.release();
    Ok(None)
}
