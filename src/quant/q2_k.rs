//! Q2_K: 256 values of 2 bits in sixteen groups of 16, each with a scale and a minimum, 84 bytes.
//! `x = d * scale * q - dmin * minimum`. Read only.
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | of each group the scale in the lower nibble, the minimum in the upper one |
//! | 16..80 | `q`: 32 bytes for each half of the values |
//! | 80..82 | `d`, f16 |
//! | 82..84 | `dmin`, f16 |
//!
//! Value `32 * k + i` of a half (k < 4, i < 32) is in byte `i` at bit `2 * k`.
//!
//! Layout: `block_q2_K` of ggml.

use super::block::{f16_at, part};

#[inline(always)]
pub(crate) fn dequantize(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at::<80, _>(block), f16_at::<82, _>(block));
    let scales = part::<0, 16, _>(block);
    let q = part::<16, 64, _>(block).as_chunks::<32>().0;
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scales[group] & 15);
        let min = dmin * f32::from(scales[group] >> 4);
        let bytes = &q[group / 8][group % 2 * 16..][..16];
        for (out, byte) in out.iter_mut().zip(bytes) {
            *out = scale * f32::from(byte >> (group / 2 % 4 * 2) & 3) - min;
        }
    }
}
