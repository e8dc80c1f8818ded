// What the kernels of attention have in common: where queries and rows are.

struct Params {
    // Query heads, and how many of them share a key head.
    heads: u32,
    shared_by: u32,
    kv_heads: u32,
    // Values from one token's queries to the next, and from one token's output to the next.
    q_stride: u32,
    out_stride: u32,
    // Number of the layer's first KV head, and the kind of rings of those to compute.
    first_head: u32,
    kind: u32,
    // First pair of the layer's keys in window and block.
    window_at: u32,
    block_at: u32,
    // Rows of a key head there.
    window_rows: u32,
    block_rows: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> arena: array<u32>;
@group(0) @binding(2) var<storage, read> q: array<QueryWord>;
@group(0) @binding(3) var<storage, read> ring: array<RingWord>;
@group(0) @binding(4) var<storage, read> window: array<KvWord>;
@group(0) @binding(5) var<storage, read> block: array<KvWord>;
// `[token][heads * head_dim]`
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
// Less than any score, and finite: differences with it are never NaN.
const LEAST = -3.0e38;

const RING = 0u;
const WINDOW = 1u;
const BLOCK = 2u;

fn window_raw(row: u32, lane: u32) -> Raw {
    let first = window[kv_at(row, lane, 0u)];
    if KV_LOADS == 1u {
        return raw_of(first, first, first, first);
    }
    let second = window[kv_at(row, lane, 1u)];
    return raw_of(first, second, window[kv_at(row, lane, 2u)], window[kv_at(row, lane, 3u)]);
}

fn block_raw(row: u32, lane: u32) -> Raw {
    let first = block[kv_at(row, lane, 0u)];
    if KV_LOADS == 1u {
        return raw_of(first, first, first, first);
    }
    let second = block[kv_at(row, lane, 1u)];
    return raw_of(first, second, block[kv_at(row, lane, 2u)], block[kv_at(row, lane, 3u)]);
}

// What a lane reads of a row.
fn load(place: u32, row: u32, lane: u32) -> Loaded {
    if place == RING {
        return ring_loaded(row, lane);
    }
    if place == WINDOW {
        return loaded_near(window_raw(row, lane));
    }
    return loaded_near(block_raw(row, lane));
}

// Four values of a query, from its value `i` on; zeros past its end.
fn four_of(query: u32, i: u32) -> vec4<f32> {
    if i >= HEAD_DIM {
        return vec4<f32>();
    }
    let values = four(query, i);
    return select(vec4<f32>(), values, vec4(i) + vec4(0u, 1u, 2u, 3u) < vec4(HEAD_DIM));
}
