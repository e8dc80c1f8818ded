// Chunk states in the form that the window is stored in.

alias RingWord = KvWord;

const RING_ROTATED = false;

fn ring_row_pairs() -> u32 {
    return HEAD_DIM / 2u;
}

fn ring_raw(row: u32, lane: u32) -> Raw {
    let first = ring[kv_at(row, lane, 0u)];
    if KV_LOADS == 1u {
        return raw_of(first, first, first, first);
    }
    let second = ring[kv_at(row, lane, 1u)];
    return raw_of(first, second, ring[kv_at(row, lane, 2u)], ring[kv_at(row, lane, 3u)]);
}

fn eight_of(in_ring: bool, raw: Raw) -> Eight {
    return kv_eight(raw);
}

// Which value of a head is value `i` of the eight of a lane.
fn ring_dim(lane: u32, i: u32) -> u32 {
    return 8u * lane + i;
}

fn keep_scales(i: u32, in_ring: bool, at: u32, after: u32) {}

// Those of key and value of row `i` of the tile.
fn scales_of(i: u32) -> vec2<f32> {
    return vec2(1.0);
}
