//! Q3_K: 256 values of 3 bits in sixteen groups of 16, each with a scale, 110 bytes.
//! `x = d * (scale - 32) * (q - 4)`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..32 | bit 2 of `q`: that of value `i` of row `k` is bit `k` of byte `i` |
//! | 32..96 | bits 0..2 of `q`: 32 bytes for each half of the values |
//! | 96..108 | scales, see [`scales`] |
//! | 108..110 | `d`, f16 |
//!
//! The values are eight rows of 32. Those of row `k` of a half (k < 4) have their lower bits at bit
//! `2 * k` of the bytes.
//!
//! Layout: `block_q3_K` of ggml.

use super::block::{f16_at, part, part_mut};
use super::linear::{self, Ranges};

const RANGES: Ranges = Ranges { scale: (-32.0, 31.0), q: (-4.0, 3.0) };

#[inline(always)]
pub(crate) fn dequantize(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16_at::<108, _>(block);
    let high = part::<0, 32, _>(block);
    let low = part::<32, 64, _>(block).as_chunks::<32>().0;
    let scales = scales(part::<96, 12, _>(block));
    for (row, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let scale = [scales[2 * row], scales[2 * row + 1]].map(|scale| d * f32::from(scale));
        for i in 0..32 {
            let q = low[row / 4][i] >> (row % 4 * 2) & 3 | (high[i] >> row & 1) << 2;
            out[i] = scale[i / 16] * f32::from(q as i8 - 4);
        }
    }
}

/// The sixteen scales, less 32: four bits of two of them in each of eight bytes, and the upper two
/// bits of four of them in each of the other four.
#[inline(always)]
pub(crate) fn scales(packed: &[u8; 12]) -> [i8; 16] {
    std::array::from_fn(|j| {
        let low = packed[j % 8] >> (j / 8 * 4) & 15;
        let high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
        (low | high << 4) as i8 - 32
    })
}

pub(super) fn quantize(values: &[f32; 256], block: &mut [u8; 110]) {
    let fitted = linear::fit(values, RANGES);
    *block = [0; 110];
    *part_mut::<108, 2, _>(block) = fitted.d.to_le_bytes();
    for (j, scale) in fitted.scales.into_iter().enumerate() {
        let scale = (scale + 32).cast_unsigned();
        let packed = part_mut::<96, 12, _>(block);
        packed[j % 8] |= (scale & 15) << (j / 8 * 4);
        packed[8 + j % 4] |= scale >> 4 << (j / 4 * 2);
    }
    for (at, &q) in fitted.q.as_flattened().iter().enumerate() {
        let (row, i) = (at / 32, at % 32);
        block[i] |= q >> 2 << row;
        block[32 + 32 * (row / 4) + i] |= (q & 3) << (row % 4 * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_written_where_they_are_read() {
        let mut block = [0; 110];
        // Groups of unlike scales.
        let values = std::array::from_fn(|i| ((i * 5 % 8) as f32 - 4.0) * (1 + i / 16) as f32);
        quantize(&values, &mut block);
        let mut back = [0.0; 256];
        dequantize(&block, &mut back);
        for (x, y) in values.iter().zip(back) {
            assert!((x - y).abs() < 0.4 * 16.0 / 8.0, "{x} came back as {y}");
        }
    }
}
