//! Block formats of GGUF tensors: their layout, and the way to and from f32.
//!
//! A row of a matrix is a whole number of blocks. One file a format; the layouts are those of
//! ggml, little-endian, so that every GGUF file of the field can be read.

use crate::error::{Error, Result};

/// Element type of a tensor, with the number GGUF gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the field writes these names so")]
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
    /// 256 values, 4 bits each, eight 6-bit scales and minima under two f16.
    Q4_K = 12,
    /// 256 values, 5 bits each, eight 6-bit scales and minima under two f16.
    Q5_K = 13,
    /// 256 values, 6 bits each, sixteen 8-bit scales under one f16.
    Q6_K = 14,
    /// The upper half of a single.
    BF16 = 30,
}

impl DType {
    /// All the types, in the order of their numbers.
    pub const ALL: [DType; 11] = [
        DType::F32,
        DType::F16,
        DType::Q4_0,
        DType::Q4_1,
        DType::Q5_0,
        DType::Q5_1,
        DType::Q8_0,
        DType::Q4_K,
        DType::Q5_K,
        DType::Q6_K,
        DType::BF16,
    ];

    /// The type that GGUF numbers `id`, if this runtime reads it.
    pub fn from_id(id: u32) -> Option<DType> {
        Self::ALL.into_iter().find(|&t| t as u32 == id)
    }

    /// The type called `name` (`Q4_K`, in any case).
    pub fn from_name(name: &str) -> Option<DType> {
        Self::ALL.into_iter().find(|t| t.name().eq_ignore_ascii_case(name))
    }

    /// The name the field uses.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::Q4_0 => "Q4_0",
            DType::Q4_1 => "Q4_1",
            DType::Q5_0 => "Q5_0",
            DType::Q5_1 => "Q5_1",
            DType::Q8_0 => "Q8_0",
            DType::Q4_K => "Q4_K",
            DType::Q5_K => "Q5_K",
            DType::Q6_K => "Q6_K",
            DType::BF16 => "BF16",
        }
    }

    /// Values in a block.
    pub const fn block_len(self) -> usize {
        match self {
            DType::F32 | DType::F16 | DType::BF16 => 1,
            DType::Q4_0 | DType::Q4_1 | DType::Q5_0 | DType::Q5_1 | DType::Q8_0 => 32,
            DType::Q4_K | DType::Q5_K | DType::Q6_K => 256,
        }
    }

    /// Bytes in a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q4_0 => 18,
            DType::Q4_1 => 20,
            DType::Q5_0 => 22,
            DType::Q5_1 => 24,
            DType::Q8_0 => 34,
            DType::Q4_K => 144,
            DType::Q5_K => 176,
            DType::Q6_K => 210,
        }
    }

    /// Bytes of `len` values, or nothing if they don't fill whole blocks or overflow.
    pub fn bytes_of(self, len: usize) -> Option<usize> {
        len.is_multiple_of(self.block_len())
            .then(|| (len / self.block_len()).checked_mul(self.block_bytes()))?
    }

    /// Whether values are stored in blocks that share scales.
    pub fn is_quantised(self) -> bool {
        self.block_len() > 1
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
