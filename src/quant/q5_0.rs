//! Q5_0: 32 values of 5 bits under one scale, 22 bytes. `x = d * (q - 16)`. Read only.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..6 | bit 4 of `q`: that of value `i` is bit `i` of this u32 |
//! | 6..22 | bits 0..4 of `q`: values 0..16 in the lower nibbles, 16..32 in the upper ones |
//!
//! Layout: `block_q5_0` of ggml.

use super::block::{f16_at, part};

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = f16_at::<0, _>(block);
    let q = five_bits(part::<2, 4, _>(block), part::<6, 16, _>(block));
    for (out, q) in out.iter_mut().zip(q) {
        *out = d * f32::from(q as i8 - 16);
    }
}

/// The 32 numbers of a Q5_0 or Q5_1 block.
#[inline(always)]
pub(super) fn five_bits(high: &[u8; 4], nibbles: &[u8; 16]) -> [u8; 32] {
    let mut q = [0; 32];
    let (lower, upper) = q.split_at_mut(16);
    for ((lower, upper), &byte) in lower.iter_mut().zip(upper).zip(nibbles) {
        *lower = byte & 15;
        *upper = byte >> 4;
    }
    // A mask per lane rather than a shift per lane: older vector units lack the latter.
    for (q, &high) in q.as_chunks_mut::<8>().0.iter_mut().zip(high) {
        for (q, mask) in q.iter_mut().zip([1, 2, 4, 8, 16, 32, 64, 128]) {
            *q |= if high & mask == 0 { 0 } else { 16 };
        }
    }
    q
}
