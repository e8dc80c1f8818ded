// RoPE on the queries and keys of a block; keys and values go to the block in the form they are
// stored in.

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
    // First pair of this layer's block.
    block_at: u32,
    // Values of a head that are rotated, the first ones, and the distance between those of a pair: 1 or half of them. 0 and
    // anything if nothing is rotated.
    width: u32,
    apart: u32,
    // The table of rotations.
    table: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> q: array<f32>;
@group(0) @binding(2) var<storage, read> kv: array<f32>;
@group(0) @binding(3) var<storage, read> arena: array<u32>;
@group(0) @binding(4) var<storage, read_write> block: array<u32>;

// Pair `j` of a head.
fn turned(a: f32, b: f32, token: u32, j: u32) -> vec2<f32> {
    let turn_at = arena[TURNS] + (p.table * arena[TOKENS] + token) * p.width + 2u * j;
    let turn = bitcast<vec2<f32>>(vec2(arena[turn_at], arena[turn_at + 1u]));
    return vec2(a * turn.x - b * turn.y, a * turn.y + b * turn.x);
}

// Value `i` of a key head that starts at `start`, rotated with the other of its pair.
fn turned_key(start: u32, token: u32, i: u32) -> f32 {
    let j = i % p.apart;
    let pair = turned(kv[start + j], kv[start + j + p.apart], token, j);
    return select(pair.x, pair.y, i >= p.apart);
}

// Value `i` of the keys (side 0) or values (side 1), and the one after it.
fn keep(token: u32, side: u32, i: u32, pair: vec2<f32>) {
    let head = side * (p.kv_dim / p.head_dim) + i / p.head_dim;
    let pairs = ((head * p.rows + token) * p.head_dim + i % p.head_dim) / 2u;
    let at = (p.block_at + pairs) * KV_WORDS;
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
        let j = i % p.head_dim / 2u;
        if 2u * j >= p.width {
            return;
        }
        let head = token * p.q_stride + i - 2u * j;
        let at = head + select(j, 2u * j, p.apart == 1u);
        let query = turned(q[at], q[at + p.apart], token, j);
        q[at] = query.x;
        q[at + p.apart] = query.y;
        return;
    }
    i -= p.q_dim;
    if i < p.kv_dim {
        let in_head = i % p.head_dim;
        let at = 2u * token * p.kv_stride + i;
        var key = vec2(kv[at], kv[at + 1u]);
        if in_head >= p.width {
            // As it is.
        } else if p.apart == 1u {
            key = turned(key.x, key.y, token, in_head / 2u);
        } else {
            let head = at - in_head;
            key = vec2(turned_key(head, token, in_head), turned_key(head, token, in_head + 1u));
        }
        keep(token, 0u, i, key);
        return;
    }
    i -= p.kv_dim;
    if i < p.kv_dim {
        let at = (2u * token + 1u) * p.kv_stride + i;
        keep(token, 1u, i, vec2(kv[at], kv[at + 1u]));
    }
}
