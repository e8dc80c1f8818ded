//! Q4_K: 256 values of 4 bits in eight groups of 32, each with a scale and a minimum, 144 bytes.
//! `x = d * scale * q - dmin * minimum`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `dmin`, f16 |
//! | 4..16 | scales and minima, see `k_scales` |
//! | 16..144 | `q`: 32 bytes for each two groups, the first in the lower nibbles |
//!
//! Layout: `block_q4_K` of ggml.

use super::affine::{self, GROUP};
use super::block::{f16_at, part, part_mut};
use super::k_scales::k_scale_min;

/// Largest `q`.
const LAST: f32 = 15.0;

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at::<0, _>(block), f16_at::<2, _>(block));
    let scales = part::<4, 12, _>(block);
    let nibbles = part::<16, 128, _>(block).as_chunks::<GROUP>().0;
    for (group, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let (scale, min) = k_scale_min(scales, group);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for (out, &nibbles) in out.iter_mut().zip(&nibbles[group / 2]) {
            *out = scale * f32::from(nibbles >> (group % 2 * 4) & 15) - min;
        }
    }
}

pub(super) fn quantize(values: &[f32; 256], block: &mut [u8; 144]) {
    let fitted = affine::fit(values, LAST);
    *part_mut::<0, 16, _>(block) = fitted.header;
    let nibbles = part_mut::<16, 128, _>(block).as_chunks_mut::<GROUP>().0;
    for (nibbles, [lower, upper]) in nibbles.iter_mut().zip(fitted.q.as_chunks().0) {
        *nibbles = std::array::from_fn(|i| lower[i] | upper[i] << 4);
    }
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::super::tests::{Numbers, rms_error, round_trip};
    use super::*;

    #[test]
    fn nibbles_are_written_where_they_are_read() {
        let mut block = [0; 144];
        let values = std::array::from_fn(|i| (i * 7 % 16) as f32);
        quantize(&values, &mut block);
        let mut back = [0.0; 256];
        dequantize(&block, &mut back);
        for (x, y) in values.iter().zip(back) {
            assert!((x - y).abs() < 0.02, "{x} came back as {y}");
        }
    }

    #[test]
    fn what_was_read_is_written_again() {
        let mut numbers = Numbers(3);
        let values: Vec<f32> = (0..1024).map(|_| numbers.normal()).collect();
        let once = round_trip(DType::Q4_K, &values);
        let twice = round_trip(DType::Q4_K, &once);
        assert!(rms_error(&once, &twice) < 0.02 * rms_error(&values, &once));
    }
}
