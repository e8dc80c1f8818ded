//! Q6_K: 256 values of 6 bits in sixteen groups of 16, each with a scale, 210 bytes.
//! `x = d * scale * (q - 32)`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..128 | bits 0..4 of `q`: 64 bytes for each half of the values |
//! | 128..192 | bits 4..6 of `q`: 32 bytes for each half |
//! | 192..208 | scales, i8 |
//! | 208..210 | `d`, f16 |
//!
//! Value `32 * k + i` of a half (k < 4, i < 32) has its lower bits in byte `32 * (k % 2) + i`, in
//! the lower nibble if k < 2, and its upper bits in byte `i` at bit `2 * k`.
//!
//! Layout: `block_q6_K` of ggml.

use super::block::{f16_at, part, part_mut};
use super::linear::{self, Ranges};

const RANGES: Ranges = Ranges { scale: (-128.0, 127.0), q: (-32.0, 31.0) };

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at::<208, _>(block);
    let lower = part::<0, 128, _>(block).as_chunks::<64>().0;
    let upper = part::<128, 64, _>(block).as_chunks::<32>().0;
    let scales = part::<192, 16, _>(block).map(|scale| d * f32::from(scale as i8));
    for (half, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        for (k, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let lower = &lower[half].as_chunks::<32>().0[k % 2];
            let scales = &scales[8 * half + 2 * k..][..2];
            for i in 0..32 {
                let q = lower[i] >> (k / 2 * 4) & 15 | (upper[half][i] >> (2 * k) & 3) << 4;
                out[i] = scales[i / 16] * f32::from(q as i8 - 32);
            }
        }
    }
}

pub(super) fn quantize(values: &[f32; 256], block: &mut [u8; 210]) {
    let fitted = linear::fit(values, RANGES);
    *block = [0; 210];
    *part_mut::<192, 16, _>(block) = fitted.scales.map(i8::cast_unsigned);
    *part_mut::<208, 2, _>(block) = fitted.d.to_le_bytes();
    for (at, &q) in fitted.q.as_flattened().iter().enumerate() {
        let (half, k, i) = (at / 128, at / 32 % 4, at % 32);
        block[64 * half + 32 * (k % 2) + i] |= (q & 15) << (k / 2 * 4);
        block[128 + 32 * half + i] |= q >> 4 << (2 * k);
    }
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::super::tests::{Numbers, rms_error, round_trip};
    use super::*;

    #[test]
    fn bits_are_written_where_they_are_read() {
        let mut block = [0; 210];
        let values = std::array::from_fn(|i| (i * 37 % 64) as f32 - 32.0);
        quantize(&values, &mut block);
        let mut back = [0.0; 256];
        dequantize(&block, &mut back);
        for (x, y) in values.iter().zip(back) {
            assert!((x - y).abs() < 0.5, "{x} came back as {y}");
        }
    }

    #[test]
    fn what_was_read_is_written_again() {
        let mut numbers = Numbers(3);
        let values: Vec<f32> = (0..1024).map(|_| numbers.normal()).collect();
        let once = round_trip(DType::Q6_K, &values);
        let twice = round_trip(DType::Q6_K, &once);
        assert!(rms_error(&once, &twice) < 0.02 * rms_error(&values, &once));
    }
}
