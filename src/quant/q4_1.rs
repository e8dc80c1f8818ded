//! Q4_1: 32 values of 4 bits under a scale and a minimum, 20 bytes. `x = d * q + m`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `m`, f16 |
//! | 4..20 | `q`: values 0..16 in the lower nibbles, 16..32 in the upper ones |
//!
//! Layout: `block_q4_1` of ggml.

use super::block::{f16_at, inverse, part, part_mut, put_f16};

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f16_at::<0, _>(block), f16_at::<2, _>(block));
    let (lower, upper) = out.split_at_mut(16);
    for ((lower, upper), &q) in lower.iter_mut().zip(upper).zip(part::<4, 16, _>(block)) {
        *lower = d * f32::from(q & 15) + m;
        *upper = d * f32::from(q >> 4) + m;
    }
}

pub(super) fn quantize(values: &[f32; 32], block: &mut [u8; 20]) {
    let (min, max) = extent(values);
    let d = (max - min) / 15.0;
    let inverse = inverse(d);
    put_f16::<0, _>(block, d);
    put_f16::<2, _>(block, min);
    let q = |x: f32| (((x - min) * inverse + 0.5) as u8).min(15);
    let (lower, upper) = values.split_at(16);
    for ((byte, &lower), &upper) in part_mut::<4, 16, _>(block).iter_mut().zip(lower).zip(upper) {
        *byte = q(lower) | q(upper) << 4;
    }
}

/// Smallest and largest value; both NaN if there is one.
fn extent(values: &[f32; 32]) -> (f32, f32) {
    if values.iter().any(|v| v.is_nan()) {
        return (f32::NAN, f32::NAN);
    }
    // Among zeros of both signs the last one wins: no value depends on it, but the bytes do.
    values.iter().fold((values[0], values[0]), |(min, max), &v| {
        (if min < v { min } else { v }, if max > v { max } else { v })
    })
}
