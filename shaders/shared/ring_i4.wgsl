// Chunk states in 4-bit integers, rotated within a head. A row is the nibbles of its blocks of 32
// values, four words each, then the scales of the blocks, two halves per word. A byte counts as a
// pair.
#import HALF

alias RingWord = u32;

const RING_ROTATED = true;

fn ring_row_pairs() -> u32 {
    return 4u * (HEAD_DIM / 8u + (HEAD_DIM + 63u) / 64u);
}

// A lane takes a word, and the one with the scale of its block.
fn ring_raw(row: u32, lane: u32) -> Raw {
    let start = row / 4u;
    let scales = ring[start + HEAD_DIM / 8u + lane / 8u];
    return Raw(ring[start + lane], scales >> (16u * (lane / 4u % 2u)), 0u, 0u);
}

fn eight_of(in_ring: bool, raw: Raw) -> Eight {
    if in_ring {
        let scale = halves(raw.y).x;
        let low = vec4<f32>(unpack4xU8(raw.x & 0x0f0f0f0fu)) - 8.0;
        let high = vec4<f32>(unpack4xU8((raw.x >> 4u) & 0x0f0f0f0fu)) - 8.0;
        return Eight(scale * low, scale * high);
    }
    return kv_eight(raw);
}

// Which value of a head is value `i` of the eight of a lane: values 0..16 of a block are in the
// lower nibbles.
fn ring_dim(lane: u32, i: u32) -> u32 {
    return 32u * (lane / 4u) + 4u * (lane % 4u) + i % 4u + 16u * (i / 4u);
}

fn keep_scales(i: u32, in_ring: bool, at: u32, after: u32) {}

// The scales are within the rows.
fn scales_of(i: u32) -> vec2<f32> {
    return vec2(1.0);
}
