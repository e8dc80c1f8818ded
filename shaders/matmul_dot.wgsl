// A block of tokens times a stack of matrices, `Y = X W^T`, in integers: a workgroup computes 64
// rows of 64 tokens, an invocation four of four, from tiles of bytes in workgroup memory.

#import matmul_params

@group(0) @binding(0) var<uniform> p: Params;
#import FORMAT
#import matmul_out
#import packed_input

const TILE = 64u;

// Two pieces of each row and of each token's input, `[piece][row or token]`.
var<workgroup> w_bytes: array<vec4<u32>, 128>;
var<workgroup> x_upper: array<vec4<u32>, 128>;
var<workgroup> x_lower: array<vec4<u32>, 128>;
// Their scales, and what the minimum of the weights is multiplied by: `(scale, minimum)` of rows,
// `(scale, sum)` of inputs.
var<workgroup> w_scales: array<vec2<f32>, 128>;
var<workgroup> x_scales: array<vec2<f32>, 128>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let tokens = arena[TOKENS];
    let first_row = workgroup.x * TILE;
    let first_token = workgroup.y * TILE;
    let row = 4u * (index % 16u);
    let token = 4u * (index / 16u);

    // The lower half of the invocations fills the tile of weights, the upper that of activations.
    let lane = index % 128u;
    let item = lane / 2u;
    let slot = (lane % 2u) * TILE + item;
    var sums = mat4x4<f32>();
    for (var piece = 0u; piece < p.pieces; piece += 2u) {
        let mine = piece + lane % 2u;
        var bytes = vec4<u32>();
        var by = vec2<f32>();
        var x: Packed;
        if mine < p.pieces {
            if index < 128u {
                let w = p.row + min(first_row + item, p.rows - 1u);
                bytes = packed(w, mine);
                by = scale_and_minimum(w, mine);
            } else {
                x = pack_input(input(min(first_token + item, tokens - 1u), mine));
            }
        }
        workgroupBarrier();
        if index < 128u {
            w_bytes[slot] = bytes;
            w_scales[slot] = by;
        } else {
            x_upper[slot] = x.upper;
            x_lower[slot] = x.lower;
            x_scales[slot] = vec2(x.scale, x.sum);
        }
        workgroupBarrier();
        for (var part = 0u; part < 2u; part++) {
            let w = part * TILE + row;
            for (var i = 0u; i < 4u; i++) {
                let at = part * TILE + token + i;
                let upper = x_upper[at];
                let lower = x_lower[at];
                let by = x_scales[at];
                var y = vec4<f32>();
                for (var r = 0u; r < 4u; r++) {
                    let of_row = w_bytes[w + r];
                    let s = w_scales[w + r];
                    let dot = 256 * four_dots(upper, of_row) + four_dots(lower, of_row);
                    y[r] = s.x * (by.x * f32(dot)) + s.y * by.y;
                }
                sums[i] += y;
            }
        }
    }
    if first_row + row < p.rows {
        for (var i = 0u; i < 4u; i++) {
            if first_token + token + i < tokens {
                finish(first_token + token + i, first_row + row, sums[i]);
            }
        }
    }
}
