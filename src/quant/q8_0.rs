//! Q8_0: 32 values of 8 bits under one scale, 34 bytes. `x = d * q`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..34 | `q`, i8, in order |
//!
//! Layout: `block_q8_0` of ggml.

use super::block::{f16_at, inverse, low_byte, max_abs, part, part_mut, put_f16, round};

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f16_at::<0, _>(block);
    for (out, &q) in out.iter_mut().zip(part::<2, 32, _>(block)) {
        *out = d * f32::from(q as i8);
    }
}

pub(super) fn quantize(values: &[f32; 32], block: &mut [u8; 34]) {
    let d = max_abs(values) / 127.0;
    let inverse = inverse(d);
    put_f16::<0, _>(block, d);
    for (q, &x) in part_mut::<2, 32, _>(block).iter_mut().zip(values) {
        *q = low_byte(round_half_away(x * inverse));
    }
}

/// The nearest whole number of a float in ±2^21; halves round away from zero, as in C's `roundf`.
#[inline(always)]
fn round_half_away(x: f32) -> f32 {
    let magnitude = x.abs();
    let even = round(magnitude);
    let rounded = if magnitude - even == 0.5 { even + 1.0 } else { even };
    rounded.copysign(x)
}
