//! Q5_1: 32 values of 5 bits under a scale and a minimum, 24 bytes. `x = d * q + m`. Read only.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `m`, f16 |
//! | 4..8 | bit 4 of `q`: that of value `i` is bit `i` of this u32 |
//! | 8..24 | bits 0..4 of `q`: values 0..16 in the lower nibbles, 16..32 in the upper ones |
//!
//! Layout: `block_q5_1` of ggml.

use super::block::{f16_at, part};
use super::q5_0::five_bits;

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (f16_at::<0, _>(block), f16_at::<2, _>(block));
    let q = five_bits(part::<4, 4, _>(block), part::<8, 16, _>(block));
    for (out, q) in out.iter_mut().zip(q) {
        *out = d * f32::from(q) + m;
    }
}
