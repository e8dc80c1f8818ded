// Chunk states in 8-bit integers. Rows are padded to whole words, two pairs each; the rows of a
// class of KV heads are followed by their scales, `[side][head][slot]`.

alias RingWord = u32;

const RING_ROTATED = false;
const RING_PAIRS = 2u;

var<workgroup> scales: array<vec2<f32>, TILE>;

fn ring_row_pairs() -> u32 {
    return 2u * ((HEAD_DIM + 3u) / 4u);
}

// What a lane has loaded of a row, whichever place it is in.
alias Loaded = Eight;

fn loaded_near(raw: Raw) -> Loaded {
    return kv_eight(raw);
}

fn ring_loaded(row: u32, lane: u32) -> Loaded {
    let at = min(2u * lane + vec2(0u, 1u), vec2((HEAD_DIM + 3u) / 4u - 1u));
    return Eight(
        vec4<f32>(unpack4xI8(ring[row + at.x])),
        vec4<f32>(unpack4xI8(ring[row + at.y])),
    );
}

fn eight_of(loaded: Loaded) -> Eight {
    return loaded;
}

// Which value of a head is value `i` of the eight of a lane.
fn ring_dim(lane: u32, i: u32) -> u32 {
    return 8u * lane + i;
}

// Where the queries of a lane's first and last four values begin.
fn asked_at(in_ring: bool, lane: u32) -> vec2<u32> {
    return 8u * lane + vec2(0u, 4u);
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
