//! Q5_K: 256 values of 5 bits in eight groups of 32, each with a scale and a minimum, 176 bytes.
//! `x = d * scale * q - dmin * minimum`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `dmin`, f16 |
//! | 4..16 | scales and minima, see `k_scales` |
//! | 16..48 | bit 4 of `q`: that of value `i` of group `g` is bit `g` of byte `i` |
//! | 48..176 | bits 0..4 of `q`: 32 bytes for each two groups, the first in the lower nibbles |
//!
//! Layout: `block_q5_K` of ggml.

use super::affine::{self, GROUP};
use super::block::{f16_at, part, part_mut};
use super::k_scales::k_scale_min;

/// Largest `q`.
const LAST: f32 = 31.0;

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at::<0, _>(block), f16_at::<2, _>(block));
    let scales = part::<4, 12, _>(block);
    let high = part::<16, 32, _>(block);
    let nibbles = part::<48, 128, _>(block).as_chunks::<32>().0;
    for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = k_scale_min(scales, group);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for ((out, &nibbles), &high) in out.iter_mut().zip(&nibbles[group / 2]).zip(high) {
            let q = nibbles >> (group % 2 * 4) & 15 | (high >> group & 1) << 4;
            *out = scale * f32::from(q) - min;
        }
    }
}

pub(super) fn quantize(values: &[f32; 256], block: &mut [u8; 176]) {
    let fitted = affine::fit(values, LAST);
    *block = [0; 176];
    *part_mut::<0, 16, _>(block) = fitted.header;
    for (group, q) in fitted.q.iter().enumerate() {
        let high = part_mut::<16, 32, _>(block);
        high.iter_mut().zip(q).for_each(|(high, q)| *high |= q >> 4 << group);
        let nibbles = part_mut::<48, 128, _>(block).as_chunks_mut::<GROUP>().0;
        let nibbles = nibbles[group / 2].iter_mut();
        nibbles.zip(q).for_each(|(nibbles, q)| *nibbles |= (q & 15) << (group % 2 * 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_written_where_they_are_read() {
        let mut block = [0; 176];
        let values = std::array::from_fn(|i| (i * 7 % 32) as f32);
        quantize(&values, &mut block);
        let mut back = [0.0; 256];
        dequantize(&block, &mut back);
        for (x, y) in values.iter().zip(back) {
            assert!((x - y).abs() < 0.02, "{x} came back as {y}");
        }
    }
}
