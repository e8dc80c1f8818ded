//! IQ4_NL: 32 values of 4 bits under one scale, 18 bytes. `x = d * LEVELS[q]`. Read only.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | `q`: values 0..16 in the lower nibbles, 16..32 in the upper ones |
//!
//! Layout: `block_iq4_nl` of ggml.

use super::block::{f16_at, part};

/// What the numbers mean: closer together where weights are frequent.
pub(crate) const LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

#[inline(always)]
pub(crate) fn dequantize(block: &[u8; 18], out: &mut [f32; 32]) {
    by_levels(&LEVELS, f16_at::<0, _>(block), part::<2, 16, _>(block), out);
}

/// The values of 16 bytes, those in lower nibbles first.
#[inline(always)]
pub(super) fn by_levels(levels: &[i8; 16], scale: f32, bytes: &[u8; 16], out: &mut [f32; 32]) {
    let (lower, upper) = out.split_at_mut(16);
    for ((lower, upper), byte) in lower.iter_mut().zip(upper).zip(bytes) {
        *lower = scale * f32::from(levels[usize::from(byte & 15)]);
        *upper = scale * f32::from(levels[usize::from(byte >> 4)]);
    }
}
