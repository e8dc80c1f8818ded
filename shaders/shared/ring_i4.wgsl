// Chunk states in 4-bit integers, rotated within a head. A row is the nibbles of its blocks of 32
// values, four words each, then the scales of the blocks, two halves per word. A byte counts as a
// pair.
#import HALF

alias RingWord = u32;

const RING_ROTATED = true;

fn ring_row_pairs() -> u32 {
    return 4u * (HEAD_DIM / 8u + (HEAD_DIM + 63u) / 64u);
}

fn ring_pair(row: u32, i: u32) -> vec2<f32> {
    let start = row / 4u;
    let block = i / 16u;
    // Values 0..16 of a block are in the lower nibbles.
    let word = ring[start + 4u * block + i % 8u / 2u];
    let bits = word >> (16u * (i & 1u) + 4u * (i % 16u / 8u));
    let scales = halves(ring[start + HEAD_DIM / 8u + block / 2u]);
    let scale = select(scales.x, scales.y, (block & 1u) != 0u);
    return scale * (vec2<f32>(vec2(bits, bits >> 8u) & vec2(15u)) - 8.0);
}

fn ring_scale(at: u32) -> f32 {
    return 1.0;
}
