//! Block formats of GGUF tensors: their layout, and the way to and from f32.
//!
//! A row of a matrix is a whole number of blocks. One file per format; the layouts are those of
//! ggml, little-endian, so that existing GGUF files can be read.

mod affine;
mod bf16;
mod block;
mod f16;
mod fit;
pub(crate) mod iq4_nl;
pub(crate) mod iq4_xs;
mod k_scales;
mod linear;
pub(crate) mod mxfp4;
mod names;
pub(crate) mod q2_k;
pub(crate) mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;

use crate::error::{Error, Result};
use block::{read_blocks, write_blocks};

#[cfg(feature = "gpu")]
pub(crate) use k_scales::k_scale_min;
pub use names::type_name;
pub(crate) use q4_0::quantize as quantize_q4_0;

/// Element type of a tensor, with its number in GGUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the field writes these names so")]
#[non_exhaustive]
pub enum DType {
    /// IEEE single precision.
    F32 = 0,
    /// IEEE half precision.
    F16 = 1,
    /// 32 values, 4 bits each, one f16 scale.
    Q4_0 = 2,
    /// 32 values, 4 bits each, f16 scale and f16 minimum.
    Q4_1 = 3,
    /// 32 values, 5 bits each, one f16 scale.
    Q5_0 = 6,
    /// 32 values, 5 bits each, f16 scale and f16 minimum.
    Q5_1 = 7,
    /// 32 values, 8 bits each, one f16 scale.
    Q8_0 = 8,
    /// 256 values, 2 bits each, sixteen 4-bit scales and minima under two f16.
    Q2_K = 10,
    /// 256 values, 3 bits each, sixteen 6-bit scales under one f16.
    Q3_K = 11,
    /// 256 values, 4 bits each, eight 6-bit scales and minima under two f16.
    Q4_K = 12,
    /// 256 values, 5 bits each, eight 6-bit scales and minima under two f16.
    Q5_K = 13,
    /// 256 values, 6 bits each, sixteen 8-bit scales under one f16.
    Q6_K = 14,
    /// 32 values, 4 bits each for one of sixteen levels, one f16 scale.
    IQ4_NL = 20,
    /// 256 values, 4 bits each for one of sixteen levels, eight 6-bit scales under one f16.
    IQ4_XS = 23,
    /// The upper half of an f32.
    BF16 = 30,
    /// 32 floats of 4 bits, one power of two.
    MXFP4 = 39,
}

impl DType {
    /// All types, in the order of their numbers.
    pub const ALL: [DType; 16] = [
        DType::F32,
        DType::F16,
        DType::Q4_0,
        DType::Q4_1,
        DType::Q5_0,
        DType::Q5_1,
        DType::Q8_0,
        DType::Q2_K,
        DType::Q3_K,
        DType::Q4_K,
        DType::Q5_K,
        DType::Q6_K,
        DType::IQ4_NL,
        DType::IQ4_XS,
        DType::BF16,
        DType::MXFP4,
    ];

    /// The type that GGUF numbers `id`, if this runtime reads it.
    pub fn from_id(id: u32) -> Option<DType> {
        Self::ALL.into_iter().find(|&t| t as u32 == id)
    }

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::Q4_0 => "Q4_0",
            DType::Q4_1 => "Q4_1",
            DType::Q5_0 => "Q5_0",
            DType::Q5_1 => "Q5_1",
            DType::Q8_0 => "Q8_0",
            DType::Q2_K => "Q2_K",
            DType::Q3_K => "Q3_K",
            DType::Q4_K => "Q4_K",
            DType::Q5_K => "Q5_K",
            DType::Q6_K => "Q6_K",
            DType::IQ4_NL => "IQ4_NL",
            DType::IQ4_XS => "IQ4_XS",
            DType::BF16 => "BF16",
            DType::MXFP4 => "MXFP4",
        }
    }

    /// Values in a block.
    pub const fn block_len(self) -> usize {
        match self {
            DType::F32 | DType::F16 | DType::BF16 => 1,
            DType::Q4_0 | DType::Q4_1 | DType::Q5_0 | DType::Q5_1 | DType::Q8_0 => 32,
            DType::IQ4_NL | DType::MXFP4 => 32,
            DType::Q2_K | DType::Q3_K | DType::Q4_K | DType::Q5_K | DType::Q6_K => 256,
            DType::IQ4_XS => 256,
        }
    }

    /// Bytes in a block.
    pub(crate) const fn block_bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q4_0 => 18,
            DType::Q4_1 => 20,
            DType::Q5_0 => 22,
            DType::Q5_1 => 24,
            DType::Q8_0 => 34,
            DType::Q2_K => 84,
            DType::Q3_K => 110,
            DType::Q4_K => 144,
            DType::Q5_K => 176,
            DType::Q6_K => 210,
            DType::IQ4_NL => 18,
            DType::IQ4_XS => 136,
            DType::MXFP4 => 17,
        }
    }

    /// Bytes of `len` values, or none if they don't fill whole blocks or the size overflows.
    pub fn bytes_of(self, len: usize) -> Option<usize> {
        len.is_multiple_of(self.block_len())
            .then(|| (len / self.block_len()).checked_mul(self.block_bytes()))?
    }

    /// Whether values are stored in blocks that share scales.
    pub(crate) fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Whether few files have this type: it is read, and little is done for its speed.
    pub(crate) const fn is_rare(self) -> bool {
        use DType::*;
        matches!(self, Q2_K | Q3_K | IQ4_XS | MXFP4)
    }

    /// Whether [`quantize`] writes this type; [`dequantize`] reads them all.
    pub const fn can_quantize(self) -> bool {
        !matches!(self, DType::Q5_0 | DType::Q5_1 | DType::Q2_K | DType::IQ4_XS | DType::MXFP4)
    }
}

impl std::str::FromStr for DType {
    type Err = Error;

    /// The type of a name such as `Q4_K`, case-insensitive.
    fn from_str(name: &str) -> Result<DType> {
        let mut all = Self::ALL.into_iter();
        all.find(|t| t.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            Error::argument(
                format!("{name:?}"),
                format!("is no type of tensors; they are {:?}", Self::ALL),
            )
        })
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads `out.len()` values from the blocks in `bytes`, which need no alignment.
///
/// The result is, to the last bit, that of `gguf.quants.dequantize` of the Python package `gguf`;
/// only which of the many NaNs represents a NaN is unspecified.
///
/// # Errors
/// [`Error::Argument`] if `out` is not a whole number of blocks or the length of `bytes` doesn't
/// match. `out` is then unchanged.
pub fn dequantize(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    check_lengths(dtype, out.len(), bytes.len())?;
    match dtype {
        DType::F32 => read_blocks(bytes, out, |b: &[u8; 4], v| *v = [f32::from_le_bytes(*b)]),
        DType::F16 => f16::dequantize(bytes, out),
        DType::BF16 => read_blocks(bytes, out, bf16::dequantize),
        DType::Q4_0 => read_blocks(bytes, out, q4_0::dequantize),
        DType::Q4_1 => read_blocks(bytes, out, q4_1::dequantize),
        DType::Q5_0 => read_blocks(bytes, out, q5_0::dequantize),
        DType::Q5_1 => read_blocks(bytes, out, q5_1::dequantize),
        DType::Q8_0 => read_blocks(bytes, out, q8_0::dequantize),
        DType::Q4_K => read_blocks(bytes, out, q4_k::dequantize),
        DType::Q5_K => read_blocks(bytes, out, q5_k::dequantize),
        DType::Q6_K => read_blocks(bytes, out, q6_k::dequantize),
        DType::Q2_K => read_blocks(bytes, out, q2_k::dequantize),
        DType::Q3_K => read_blocks(bytes, out, q3_k::dequantize),
        DType::IQ4_NL => read_blocks(bytes, out, iq4_nl::dequantize),
        DType::IQ4_XS => read_blocks(bytes, out, iq4_xs::dequantize),
        DType::MXFP4 => read_blocks(bytes, out, mxfp4::dequantize),
    }
    Ok(())
}

/// Writes `values` as blocks to `out`, which needs no alignment.
///
/// F16, BF16, Q8_0, Q4_0 and Q4_1 are, to the last bit, what `gguf.quants.quantize` of the Python
/// package `gguf` writes for finite values. Q3_K to Q6_K and IQ4_NL, which that package can't write,
/// search for the scales with the least weighted squared error.
///
/// A NaN or an infinity is never hidden: no value of a block that contains one comes back finite.
/// Finite values too large for a format's f16 scale become infinite in Q8_0, Q4_0 and Q4_1, and the
/// largest representable value in the others.
///
/// # Errors
/// [`Error::Argument`] if this type can only be read, if `values` is not a whole number of blocks, or
/// if the length of `out` doesn't match. `out` is then unchanged.
pub fn quantize(dtype: DType, values: &[f32], out: &mut [u8]) -> Result<()> {
    check_lengths(dtype, values.len(), out.len())?;
    match dtype {
        DType::F32 => write_blocks(values, out, |v: &[f32; 1], b| *b = v[0].to_le_bytes()),
        DType::F16 => f16::quantize(values, out),
        DType::BF16 => write_blocks(values, out, bf16::quantize),
        DType::Q4_0 => write_blocks(values, out, q4_0::quantize),
        DType::Q4_1 => write_blocks(values, out, q4_1::quantize),
        DType::Q8_0 => write_blocks(values, out, q8_0::quantize),
        DType::Q3_K => write_blocks(values, out, q3_k::quantize),
        DType::Q4_K => write_blocks(values, out, q4_k::quantize),
        DType::Q5_K => write_blocks(values, out, q5_k::quantize),
        DType::Q6_K => write_blocks(values, out, q6_k::quantize),
        DType::IQ4_NL => write_blocks(values, out, iq4_nl::quantize),
        _ => return Err(read_only(dtype)),
    }
    Ok(())
}

fn check_lengths(dtype: DType, values: usize, bytes: usize) -> Result<()> {
    let Some(needed) = dtype.bytes_of(values) else {
        return Err(Error::argument(
            format!("{dtype}"),
            format!(
                "holds blocks of {} values, which {values} values do not fill",
                dtype.block_len()
            ),
        ));
    };
    if needed != bytes {
        return Err(Error::argument(
            format!("{values} values of {dtype}"),
            format!("take {needed} bytes, not {bytes}"),
        ));
    }
    Ok(())
}

fn read_only(dtype: DType) -> Error {
    let writable: Vec<_> =
        DType::ALL.into_iter().filter(|t| t.can_quantize()).map(DType::name).collect();
    Error::argument(
        dtype.name(),
        format!("can only be read; {} can be written", writable.join(", ")),
    )
}

#[cfg(test)]
mod tests;
