//! MXFP4: 32 floats of 4 bits under a power of two, 17 bytes. `x = d * LEVELS[q]`. Read only.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | the exponent of `d`, see [`scale`] |
//! | 1..17 | `q`: values 0..16 in the lower nibbles, 16..32 in the upper ones |
//!
//! Layout: `block_mxfp4` of ggml; the format is that of the Open Compute Project.

use super::block::part;
use super::iq4_nl::by_levels;

/// The floats of 4 bits, times two.
pub(crate) const LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

#[inline(always)]
pub(crate) fn dequantize(block: &[u8; 17], out: &mut [f32; 32]) {
    by_levels(&LEVELS, scale(block[0]), part::<1, 16, _>(block), out);
}

/// Two to the power of `exponent` - 128.
#[inline(always)]
pub(crate) fn scale(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        // Subnormal.
        0 | 1 => 0x0020_0000 << exponent,
        _ => u32::from(exponent - 1) << 23,
    })
}
