//! Q4_0: 32 values of 4 bits under one scale, 18 bytes. `x = d * (q - 8)`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | `q`: values 0..16 in the lower nibbles, 16..32 in the upper ones |
//!
//! Layout: `block_q4_0` of ggml. The value of largest magnitude is mapped to -8, the end of the
//! range without a counterpart; so the sign of `d` is the opposite of that value's.

use super::block::{f16_at, inverse, max_abs, part, part_mut, put_f16};

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16_at::<0, _>(block);
    let (lower, upper) = out.split_at_mut(16);
    for ((lower, upper), &q) in lower.iter_mut().zip(upper).zip(part::<2, 16, _>(block)) {
        *lower = d * f32::from((q & 15) as i8 - 8);
        *upper = d * f32::from((q >> 4) as i8 - 8);
    }
}

pub(crate) fn quantize(values: &[f32; 32], block: &mut [u8; 18]) {
    let magnitude = max_abs(values);
    let largest = values.iter().copied().find(|v| v.abs() == magnitude).unwrap_or(magnitude);
    let d = largest / -8.0;
    let inverse = inverse(d);
    put_f16::<0, _>(block, d);
    // Halves round up, not to even; only the value opposite to the largest can exceed the range.
    let q = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    let (lower, upper) = values.split_at(16);
    for ((byte, &lower), &upper) in part_mut::<2, 16, _>(block).iter_mut().zip(lower).zip(upper) {
        *byte = q(lower) | q(upper) << 4;
    }
}
