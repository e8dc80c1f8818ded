// Chunk states in 8-bit integers. Rows are padded to whole words, two pairs each; the rows of a
// class of KV heads are followed by their scales, `[side][head][slot]`.

alias RingWord = u32;

const RING_ROTATED = false;

var<workgroup> scales: array<vec2<f32>, TILE>;

fn ring_row_pairs() -> u32 {
    return 2u * ((HEAD_DIM + 3u) / 4u);
}

fn ring_raw(row: u32, lane: u32) -> Raw {
    let at = row / 2u;
    let second = min(2u * lane + 1u, (HEAD_DIM + 3u) / 4u - 1u);
    return Raw(ring[at + 2u * lane], ring[at + second], 0u, 0u);
}

fn eight_of(in_ring: bool, raw: Raw) -> Eight {
    if in_ring {
        return Eight(vec4<f32>(unpack4xI8(raw.x)), vec4<f32>(unpack4xI8(raw.y)));
    }
    return kv_eight(raw);
}

// Which value of a head is value `i` of the eight of a lane.
fn ring_dim(lane: u32, i: u32) -> u32 {
    return 8u * lane + i;
}

fn keep_scales(i: u32, in_ring: bool, at: u32, after: u32) {
    scales[i] = vec2(1.0);
    if in_ring {
        scales[i] = bitcast<vec2<f32>>(vec2(ring[at], ring[at + after]));
    }
}

// Those of key and value of row `i` of the tile.
fn scales_of(i: u32) -> vec2<f32> {
    return scales[i];
}
