//! Keys and values in four bits. A row is multiplied by the orthonormal Hadamard matrix of the
//! head's width, which spreads the few large values of a key over all of them, and rounded as Q4_0
//! rounds: 32 values share a scale. The matrix is its own inverse, and products of rotated keys with
//! rotated queries are those of the keys with the queries; so attention rotates the queries, and
//! once the sum of values.
//!
//! A row holds the nibbles of its blocks of 32 values, 16 bytes each, values 0..16 in the lower ones
//! and 16..32 in the upper ones; then the scales of the blocks, in f16. A value is `scale * (q - 8)`.

use crate::quant::quantize_q4_0;
use half::f16;

/// Values of a block.
pub const VALUES: usize = 32;

/// Bytes of its nibbles.
pub const BYTES: usize = 16;

/// The widest head that can be stored so.
pub const WIDEST: usize = 256;

/// Multiplies by the Hadamard matrix of the row's width, a power of two, over its square root.
#[inline(always)]
pub fn rotate(row: &mut [f32]) {
    let mut half = 1;
    while half < row.len() {
        for pair in row.chunks_exact_mut(2 * half) {
            let (first, second) = pair.split_at_mut(half);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (row.len() as f32).sqrt();
    row.iter_mut().for_each(|x| *x *= scale);
}

/// Stores a row, given in f16 and not rotated.
pub fn store(near: &[u16], row: &mut [u8]) {
    let mut values = [0.0; WIDEST];
    let values = &mut values[..near.len()];
    for (value, bits) in values.iter_mut().zip(near) {
        *value = f16::from_bits(*bits).to_f32();
    }
    rotate(values);
    let (nibbles, scales) = row.split_at_mut(near.len() / 2);
    let blocks = values.as_chunks::<VALUES>().0.iter();
    let parts = nibbles.as_chunks_mut::<BYTES>().0.iter_mut().zip(scales.as_chunks_mut::<2>().0);
    for (values, (nibbles, scale)) in blocks.zip(parts) {
        let mut block = [0; 18];
        quantize_q4_0(values, &mut block);
        scale.copy_from_slice(&block[..2]);
        nibbles.copy_from_slice(&block[2..]);
    }
}

/// Words of a row on a GPU, where it is padded to whole ones.
#[cfg(feature = "gpu")]
pub fn words(head_dim: usize) -> usize {
    (head_dim / VALUES * (BYTES + 2)).div_ceil(4)
}

/// A row as words, given in f16 and not rotated.
#[cfg(feature = "gpu")]
pub fn stored(near: &[u16]) -> Vec<u32> {
    let mut row = vec![0; near.len() / VALUES * (BYTES + 2)];
    store(near, &mut row);
    row.resize(row.len().next_multiple_of(4), 0);
    row.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// The values of a row, rotated back, given its nibbles and scales.
#[cfg(any(feature = "gpu", test))]
pub fn loaded(nibbles: &[u8], scales: &[f16]) -> Vec<f32> {
    let mut values = Vec::with_capacity(2 * nibbles.len());
    for (nibbles, scale) in nibbles.chunks(BYTES).zip(scales) {
        let value = |q: u8| scale.to_f32() * (f32::from(q) - 8.0);
        values.extend(nibbles.iter().map(|q| value(q & 15)));
        values.extend(nibbles.iter().map(|q| value(q >> 4)));
    }
    rotate(&mut values);
    values
}
