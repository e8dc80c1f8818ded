// Chunk states in 4-bit integers, rotated within a head. A row is the nibbles of its blocks of 32
// values, four words each, then the scales of the blocks, two halves per word. A byte counts as a
// pair.
#import HALF

alias RingWord = u32;

const RING_ROTATED = true;
const RING_PAIRS = 4u;

fn ring_row_pairs() -> u32 {
    return 4u * (HEAD_DIM / 8u + (HEAD_DIM + 63u) / 64u);
}

// What a lane has loaded of a row, whichever place it is in.
alias Loaded = Eight;

fn loaded_near(raw: Raw) -> Loaded {
    return kv_eight(raw);
}

// A lane takes a word, and the scale of its block.
fn ring_loaded(row: u32, lane: u32) -> Loaded {
    let word = ring[row + lane];
    let scales = halves(ring[row + HEAD_DIM / 8u + lane / 8u]);
    let scale = select(scales.x, scales.y, lane / 4u % 2u == 1u);
    let low = vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - 8.0;
    let high = vec4<f32>(unpack4xU8((word >> 4u) & 0x0f0f0f0fu)) - 8.0;
    return Eight(scale * low, scale * high);
}

fn eight_of(loaded: Loaded) -> Eight {
    return loaded;
}

// Which value of a head is value `i` of the eight of a lane: values 0..16 of a block are in the
// lower nibbles.
fn ring_dim(lane: u32, i: u32) -> u32 {
    return 32u * (lane / 4u) + 4u * (lane % 4u) + i % 4u + 16u * (i / 4u);
}

// Where the queries of a lane's first and last four values begin.
fn asked_at(in_ring: bool, lane: u32) -> vec2<u32> {
    return select(8u * lane + vec2(0u, 4u), vec2(ring_dim(lane, 0u), ring_dim(lane, 4u)), in_ring);
}

fn keep_scales(i: u32, in_ring: bool, at: u32, after: u32) {}

// The scales are within the rows.
fn scales_of(i: u32) -> vec2<f32> {
    return vec2(1.0);
}
