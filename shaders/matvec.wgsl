// One token's product with a stack of matrices, four rows at a time: `y = W x`, optionally after
// RMSNorm, and with one of seven ways to finish the rows.

// In range: quads of rows are at most the last of this part, and fours below `4 * pieces`, which are
// the sizes of the buffers; an input that comes with its squares has a four of them per piece; gains are as
// many as rows where those are multiplied by them; `role` to `kept_at` are those of the layer's heads.
// Workgroup memory is indexed by invocations.

#import HALF
#import sums
#import REDUCE
#import KV
#import arena
#import silu
#import gelu_tanh

struct Params {
    // Rows of this part of the stack, a multiple of 4.
    rows: u32,
    // Pieces of 16 values in a row.
    pieces: u32,
    // Index of the part's first row in the stack.
    first: u32,
    // Rows of the stack that use the same input.
    segment: u32,
    // First vector of the input, and vectors from the input of one segment to the next.
    x_at: u32,
    x_step: u32,
    // Where the first row of the stack goes.
    out_at: u32,
    // Number of values in the norm, and what it adds to the mean square.
    cols: f32,
    eps: f32,
    // With FINISH == ROPE or SPLIT, where rows are those of `q | k | v`: the index of the stack's
    // first.
    role: u32,
    // Row from which keys and values begin.
    keys: u32,
    values: u32,
    kv_dim: u32,
    head_dim: u32,
    // First pair of this layer's block, or where the first of the rows after the queries goes, or the
    // sums of squares.
    kept_at: u32,
    // What happens to keys and values: see below.
    store: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
#import FORMAT
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read> arena: array<u32>;
// The layer's block of keys and values, or a second output.
@group(0) @binding(7) var<storage, read_write> kept: array<u32>;

// Whether the rows are multiplied by RMSNorm(x) * gain instead of x, and who does what for it.
override NORM: u32 = 0;
// All is computed here.
const COMPUTED = 1u;
// `x` has been multiplied by the gain, and is followed by sums of squares from before that, which
// FINISH == ADD_AND_PREPARE has written.
const PREPARED = 2u;

override FINISH: u32 = 0;
const STORE = 0u;
const ADD = 1u;
// Rows alternate between gates and ups.
const SWIGLU = 2u;
// Rows are queries, keys and values.
const ROPE = 3u;
// As SWIGLU, with GELU.
const GEGLU = 4u;
// As ROPE, but all rows are written unchanged.
const SPLIT = 5u;
// As ADD, and the second output gets what a product with NORM == PREPARED reads.
const ADD_AND_PREPARE = 6u;

// Keys and values go to the second output unchanged.
const PASS = 0u;
// They go to the block, with keys rotated.
const KEEP = 1u;
// The contents of `out` are added first.
const ADD_AND_KEEP = 2u;

fn turned(pair: vec2<f32>, row: u32) -> vec2<f32> {
    let at = arena[TURNS] + (row % p.head_dim);
    let turn = bitcast<vec2<f32>>(vec2(arena[at], arena[at + 1u]));
    return vec2(pair.x * turn.x - pair.y * turn.y, pair.x * turn.y + pair.y * turn.x);
}

fn keep(row: u32, side: u32, pair: vec2<f32>) {
    if row >= p.kv_dim {
        return;
    }
    let words = kv_pack(pair);
    let at = (p.kept_at + (side * p.kv_dim + row) / 2u) * KV_WORDS;
    kept[at] = words.x;
    if KV_WORDS == 2u {
        kept[at + 1u] = words.y;
    }
}

fn hand_on(role: u32, pair: vec2<f32>) {
    let at = p.kept_at + role - p.keys;
    kept[at] = bitcast<u32>(pair.x);
    kept[at + 1u] = bitcast<u32>(pair.y);
}

// Rows `row` and `row + 1` of the stack.
fn finish_pair(row: u32, pair: vec2<f32>) {
    let at = p.out_at + row;
    if FINISH == ADD {
        out[at] += pair.x;
        out[at + 1u] += pair.y;
    } else if FINISH == SWIGLU {
        out[p.out_at + row / 2u] = silu(pair.x) * pair.y;
    } else if FINISH == GEGLU {
        out[p.out_at + row / 2u] = gelu_tanh(pair.x) * pair.y;
    } else if FINISH == SPLIT {
        let role = row + p.role;
        if role < p.keys {
            out[at] = pair.x;
            out[at + 1u] = pair.y;
        } else {
            hand_on(role, pair);
        }
    } else if FINISH == ROPE {
        let role = row + p.role;
        if role < p.keys {
            let query = turned(pair, role);
            out[at] = query.x;
            out[at + 1u] = query.y;
        } else if p.store == PASS {
            hand_on(role, pair);
        } else {
            var value = pair;
            if p.store == ADD_AND_KEEP {
                value += vec2(out[at], out[at + 1u]);
            }
            if role < p.values {
                keep(role - p.keys, 0u, turned(value, role - p.keys));
            } else {
                keep(role - p.values, 1u, value);
            }
        }
    } else {
        out[at] = pair.x;
        out[at + 1u] = pair.y;
    }
}

// Four rows of the stack.
fn add_and_prepare(row: u32, y: vec4<f32>) {
    let at = p.out_at + row;
    let sum = y + vec4(out[at], out[at + 1u], out[at + 2u], out[at + 3u]);
    let scaled = sum * gain[at / 4u];
    for (var i = 0u; i < 4u; i++) {
        out[at + i] = sum[i];
        kept[at + i] = bitcast<u32>(scaled[i]);
    }
    kept[p.kept_at + at / 4u] = bitcast<u32>(dot(sum, sum));
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let quad = (workgroup.y * count.x + workgroup.x) * (WORKGROUP / LANES) + index / LANES;
    let lane = index % LANES;
    // Rows beyond the last are computed but not written.
    let row = min(4u * quad, p.rows - 4u);
    let input = p.x_at + (p.first + row) / p.segment * p.x_step;

    var sums = vec4(0.0);
    var square = 0.0;
    for (var piece = lane; piece < p.pieces; piece += LANES) {
        let four = 4u * piece;
        var a = x[input + four];
        var b = x[input + four + 1u];
        var c = x[input + four + 2u];
        var d = x[input + four + 3u];
        let first = load(row / 4u, four);
        let second = load_next(first, row / 4u, four + 1u);
        let third = load_more(first, row / 4u, four + 2u);
        let fourth = load_next(third, row / 4u, four + 3u);
        if NORM == PREPARED {
            square += dot(x[input + 4u * p.pieces + piece], vec4(1.0));
        } else if NORM == COMPUTED {
            square += dot(a, a) + dot(b, b) + (dot(c, c) + dot(d, d));
            a *= gain[four];
            b *= gain[four + 1u];
            c *= gain[four + 2u];
            d *= gain[four + 3u];
        }
        let dots = numbers(first, 0u) * a + numbers(second, 1u) * b
            + (numbers(third, 0u) * c + numbers(fourth, 1u) * d);
        if SCALED {
            let s = scale(first);
            sums += dots * s.by;
            if SHIFTED {
                sums += dot((a + b) + (c + d), vec4(1.0)) * s.plus;
            }
        } else {
            sums += dots;
        }
    }
    let total = reduce(sums, square, index);
    if lane != 0u || 4u * quad >= p.rows {
        return;
    }
    var y = total.values;
    if NORM != 0u {
        y *= inverseSqrt(total.square / p.cols + p.eps);
    }
    if FINISH == ADD_AND_PREPARE {
        add_and_prepare(p.first + row, y);
        return;
    }
    finish_pair(p.first + row, y.xy);
    finish_pair(p.first + row + 2u, y.zw);
}
