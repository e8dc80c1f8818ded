//! IQ4_XS: 256 values of 4 bits in eight groups of 32, each with a scale, 136 bytes.
//! `x = d * (scale - 32) * LEVELS[q]`, with the levels of IQ4_NL. Read only.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | bits 4..6 of the scales: those of group `g` at bit `2 * g` of this u16 |
//! | 4..8 | bits 0..4 of the scales, two in a byte |
//! | 8..136 | `q`: 16 bytes for each group, as in IQ4_NL |
//!
//! Layout: `block_iq4_xs` of ggml.

use super::block::{f16_at, part};
use super::iq4_nl::{LEVELS, by_levels};

#[inline(always)]
pub(crate) fn dequantize(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = f16_at::<0, _>(block);
    let groups = part::<8, 128, _>(block).as_chunks::<16>().0;
    let scales = scales(part::<2, 6, _>(block));
    for ((out, bytes), scale) in out.as_chunks_mut().0.iter_mut().zip(groups).zip(scales) {
        by_levels(&LEVELS, d * f32::from(scale), bytes, out);
    }
}

/// The eight scales, less 32.
#[inline(always)]
pub(crate) fn scales(packed: &[u8; 6]) -> [i8; 8] {
    let [first, second, lower @ ..] = packed;
    let upper = u16::from_le_bytes([*first, *second]);
    std::array::from_fn(|g| {
        let low = lower[g / 2] >> (g % 2 * 4) & 15;
        (low | ((upper >> (2 * g) & 3) as u8) << 4) as i8 - 32
    })
}
