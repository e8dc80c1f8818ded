// RoPE on the queries and keys of a block; keys and values go to the block in the form they are
// kept in.

#import HALF
#import KV
#import arena

struct Params {
    q_dim: u32,
    kv_dim: u32,
    head_dim: u32,
    // Values from one token's queries to the next, and from one token's keys to its values; two of
    // the latter make a token's row.
    q_stride: u32,
    kv_stride: u32,
    // Rows of a head in the block.
    rows: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> q: array<f32>;
@group(0) @binding(2) var<storage, read> kv: array<f32>;
@group(0) @binding(3) var<storage, read> arena: array<u32>;
@group(0) @binding(4) var<storage, read_write> block: array<u32>;

fn turned(a: f32, b: f32, token: u32, i: u32) -> vec2<f32> {
    let turn_at = arena[TURNS] + token * p.head_dim + i % p.head_dim;
    let turn = bitcast<vec2<f32>>(vec2(arena[turn_at], arena[turn_at + 1u]));
    return vec2(a * turn.x - b * turn.y, a * turn.y + b * turn.x);
}

// Value `i` of the keys (side 0) or values (side 1), and the one after it.
fn keep(token: u32, side: u32, i: u32, pair: vec2<f32>) {
    let head = side * (p.kv_dim / p.head_dim) + i / p.head_dim;
    let at = ((head * p.rows + token) * p.head_dim + i % p.head_dim) / 2u * KV_WORDS;
    let words = kv_pack(pair);
    block[at] = words.x;
    if KV_WORDS == 2u {
        block[at + 1u] = words.y;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let token = id.y;
    var i = 2u * id.x;
    if i < p.q_dim {
        let at = token * p.q_stride + i;
        let query = turned(q[at], q[at + 1u], token, i);
        q[at] = query.x;
        q[at + 1u] = query.y;
        return;
    }
    i -= p.q_dim;
    if i < p.kv_dim {
        let at = 2u * token * p.kv_stride + i;
        keep(token, 0u, i, turned(kv[at], kv[at + 1u], token, i));
        return;
    }
    i -= p.kv_dim;
    if i < p.kv_dim {
        let at = (2u * token + 1u) * p.kv_stride + i;
        keep(token, 1u, i, vec2(kv[at], kv[at + 1u]));
    }
}
