// Chunk states in the form that the window is stored in.

alias RingWord = KvWord;

const RING_ROTATED = false;
const RING_PAIRS = KV_PAIRS;

fn ring_row_pairs() -> u32 {
    return HEAD_DIM / 2u;
}

// What a lane has loaded of a row, whichever place it is in.
alias Loaded = Raw;

fn loaded_near(raw: Raw) -> Loaded {
    return raw;
}

fn ring_loaded(row: u32, lane: u32) -> Loaded {
    let first = ring[kv_at(row, lane, 0u)];
    if KV_LOADS == 1u {
        return raw_of(first, first, first, first);
    }
    let second = ring[kv_at(row, lane, 1u)];
    return raw_of(first, second, ring[kv_at(row, lane, 2u)], ring[kv_at(row, lane, 3u)]);
}

fn eight_of(loaded: Loaded) -> Eight {
    return kv_eight(loaded);
}

// Which value of a head is value `i` of the eight of a lane.
fn ring_dim(lane: u32, i: u32) -> u32 {
    return 8u * lane + i;
}

// Where the queries of a lane's first and last four values begin.
fn asked_at(in_ring: bool, lane: u32) -> vec2<u32> {
    return 8u * lane + vec2(0u, 4u);
}

fn keep_scales(i: u32, in_ring: bool, at: u32, after: u32) {}

// Those of key and value of row `i` of the tile.
fn scales_of(i: u32) -> vec2<f32> {
    return vec2(1.0);
}
