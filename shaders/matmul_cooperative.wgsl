// A block of tokens times a stack of matrices, `Y = X W^T`, on matrix units: a workgroup of four subgroups
// computes a square tile of tokens by rows, a subgroup a quarter of it as two by two matrices, from
// tiles in workgroup memory that are 32 values deep. While it multiplies, the next values are on their
// way to its registers.
//
// Matrix units take halves, which have 11 bits. So both factors are the sum of two halves, `high` and
// `low / 2048`, that have 22 bits together, and three of their four products are summed up; the fourth is
// below what a float keeps. Products with a low half have sums of their own, since they are to be
// divided. Or, where that is asked for, factors have only the high half. Inputs are a sixteenth of what they
// were, so that those of up to a million are in range.
//
// A subgroup of another size than assumed computes what is wrong, but not elsewhere, and proves wrong.

// In range: quads of rows are at most the last of this part, tokens at most the last, and fours below
// `4 * pieces`; those are the sizes of the buffers, and rows and tokens beyond are not written. In a
// tile the row is below `4 * SIDE` and the value below 32, whatever the number of the subgroup.

#import matmul_params

@group(0) @binding(0) var<uniform> p: Params;
#import weights
#import matmul_out
#import LANES
#import FACTORS
#import MATRICES

const THREADS = 4u * LANES;
// Rows, and tokens, of a tile.
const ROWS = 4u * SIDE;
// Fours of a tile's row.
const FOURS = 8u;
// Values from one row of a tile to the next: rows that are read together start in different banks.
const STRIDE = 40u;
// From a high half to its low one, and from inputs to weights.
const LOW = ROWS * STRIDE;
const WEIGHTS = PLANES * LOW;

// How many quads of weights and fours of inputs an invocation brings.
const W_UNITS = ROWS / 4u * FOURS;
const X_UNITS = ROWS * FOURS;
const W_EACH = (W_UNITS + THREADS - 1u) / THREADS;
const X_EACH = X_UNITS / THREADS;

const SHRUNK = 0.0625;
const RAISED = 2048.0;

// Halves in workgroup memory, and floats: of each subgroup, sums of products of high halves and of those
// with a low one.
const TILE = 2u * PLANES * LOW;
const OWN = PLANES * SIDE * SIDE;
const SUMS = 4u * OWN;

// Four values of a row.
fn put(at: u32, v: vec4<f32>) {
    let high = halves_of(v);
    put_halves(at, high);
    if PLANES == 2u {
        put_halves(at + LOW, halves_of(RAISED * (v - floats_of(high))));
    }
}

// The unit of weights and the four of inputs from four `four` on; beyond the last are the last, and zeros.
fn fetch_weights(workgroup: u32, unit: u32, four: u32) -> Packed {
    let quad = (p.row + ROWS * workgroup) / 4u + unit / FOURS;
    return load(min(quad, (p.row + p.rows) / 4u - 1u), min(four + unit % FOURS, 4u * p.pieces - 1u));
}

fn fetch_inputs(workgroup: u32, unit: u32, four: u32) -> vec4<f32> {
    let token = min(ROWS * workgroup + unit / FOURS, arena[TOKENS] - 1u);
    let wanted = four + unit % FOURS;
    let there = min(wanted, 4u * p.pieces - 1u);
    return select(0.0, SHRUNK, wanted == there) * x[p.x_at + token * p.x_stride + there];
}

// Writes the sums of one of each subgroup's matrices, which is `i` down and `j` to the right.
fn finish_matrices(
    workgroup: vec3<u32>,
    index: u32,
    subgroup: u32,
    i: u32,
    j: u32,
    sums: Sums,
    low_sums: Sums,
) {
    let own = OWN * subgroup;
    workgroupBarrier();
    put_sums(own, sums);
    if PLANES == 2u {
        put_sums(own + SIDE * SIDE, low_sums);
    }
    workgroupBarrier();
    let tokens = arena[TOKENS];
    for (var quad = index; quad < SIDE * SIDE; quad += THREADS) {
        let part = quad / (SIDE * SIDE / 4u);
        let at = 4u * quad + (OWN - SIDE * SIDE) * part;
        let token = ROWS * workgroup.y + SIDE * (2u * (part / 2u) + i) + quad / (SIDE / 4u) % SIDE;
        let row = ROWS * workgroup.x + SIDE * (2u * (part % 2u) + j) + 4u * quad % SIDE;
        if token < tokens && row < p.rows {
            var y: vec4<f32>;
            for (var n = 0u; n < 4u; n++) {
                y[n] = sums_tile[at + n] / SHRUNK;
                if PLANES == 2u {
                    y[n] += sums_tile[at + SIDE * SIDE + n] / (RAISED * SHRUNK);
                }
            }
            finish(p.out_at + workgroup.z * p.part_step, token, row, y);
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup_id: u32,
) {
    let subgroup = subgroup_id % 4u;
    let x_at = 2u * SIDE * STRIDE * (subgroup / 2u);
    let w_at = 2u * SIDE * STRIDE * (subgroup % 2u) + WEIGHTS;

    for (var i = index; i < SUMS; i += THREADS) {
        sums_tile[i] = 0.0;
    }
    workgroupBarrier();
    let zero = sums_of(0u);
    var a = zero;
    var b = zero;
    var c = zero;
    var d = zero;
    var a_low = zero;
    var b_low = zero;
    var c_low = zero;
    var d_low = zero;

    var w: array<Packed, W_EACH>;
    let start = 4u * p.part_pieces * workgroup.z;
    let end = 4u * end_of(workgroup.z);
    for (var i = 0u; i < W_EACH; i++) {
        w[i] = fetch_weights(workgroup.x, index + THREADS * i, start);
    }
    var v: array<vec4<f32>, X_EACH>;
    for (var i = 0u; i < X_EACH; i++) {
        v[i] = fetch_inputs(workgroup.y, index + THREADS * i, start);
    }
    for (var four = start; four < end; four += FOURS) {
        workgroupBarrier();
        for (var i = 0u; i < W_EACH; i++) {
            let unit = index + THREADS * i;
            if unit < W_UNITS {
                let rows = transpose(weights(w[i], unit % 2u));
                let at = WEIGHTS + 4u * (unit / FOURS) * STRIDE + 4u * (unit % FOURS);
                put(at, rows[0]);
                put(at + STRIDE, rows[1]);
                put(at + 2u * STRIDE, rows[2]);
                put(at + 3u * STRIDE, rows[3]);
            }
        }
        for (var i = 0u; i < X_EACH; i++) {
            let unit = index + THREADS * i;
            put(unit / FOURS * STRIDE + 4u * (unit % FOURS), v[i]);
        }
        workgroupBarrier();
        for (var i = 0u; i < W_EACH; i++) {
            w[i] = fetch_weights(workgroup.x, index + THREADS * i, four + FOURS);
        }
        for (var i = 0u; i < X_EACH; i++) {
            v[i] = fetch_inputs(workgroup.y, index + THREADS * i, four + FOURS);
        }
        for (var k = 0u; k < 4u * FOURS; k += SIDE) {
            let upper = left(x_at + k);
            let lower = left(x_at + SIDE * STRIDE + k);
            let near = right(w_at + k);
            let far = right(w_at + SIDE * STRIDE + k);
            a = multiply_add(upper, near, a);
            b = multiply_add(upper, far, b);
            c = multiply_add(lower, near, c);
            d = multiply_add(lower, far, d);
            if PLANES == 1u {
                continue;
            }
            let upper_low = left(x_at + LOW + k);
            let lower_low = left(x_at + LOW + SIDE * STRIDE + k);
            a_low = multiply_add(upper_low, near, a_low);
            b_low = multiply_add(upper_low, far, b_low);
            c_low = multiply_add(lower_low, near, c_low);
            d_low = multiply_add(lower_low, far, d_low);
            let near_low = right(w_at + LOW + k);
            let far_low = right(w_at + LOW + SIDE * STRIDE + k);
            a_low = multiply_add(upper, near_low, a_low);
            b_low = multiply_add(upper, far_low, b_low);
            c_low = multiply_add(lower, near_low, c_low);
            d_low = multiply_add(lower, far_low, d_low);
        }
    }
    finish_matrices(workgroup, index, subgroup, 0u, 0u, a, a_low);
    finish_matrices(workgroup, index, subgroup, 0u, 1u, b, b_low);
    finish_matrices(workgroup, index, subgroup, 1u, 0u, c, c_low);
    finish_matrices(workgroup, index, subgroup, 1u, 1u, d, d_low);
}
