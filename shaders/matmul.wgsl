// A block of tokens times a stack of matrices, `Y = X W^T`: a workgroup computes 64 rows of 64
// tokens, an invocation four of four, from tiles in workgroup memory.

#import matmul_params

@group(0) @binding(0) var<uniform> p: Params;
#import FORMAT
#import matmul_out

const TILE = 64u;
// Values of a row that are in workgroup memory at a time.
const DEPTH = 32u;

var<workgroup> w_tile: array<f32, 2048>;
var<workgroup> x_tile: array<f32, 2048>;

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
    var sums = mat4x4<f32>();
    for (var piece = 0u; piece < p.pieces; piece += DEPTH / 16u) {
        let mine = piece + lane % 2u;
        var values = mat4x4<f32>();
        if mine < p.pieces {
            if index < 128u {
                values = weights(p.row + min(first_row + item, p.rows - 1u), mine);
            } else {
                values = input(min(first_token + item, tokens - 1u), mine);
            }
        }
        workgroupBarrier();
        for (var i = 0u; i < 4u; i++) {
            for (var j = 0u; j < 4u; j++) {
                let at = (16u * (lane % 2u) + 4u * i + j) * TILE + item;
                if index < 128u {
                    w_tile[at] = values[i][j];
                } else {
                    x_tile[at] = values[i][j];
                }
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let w = k * TILE + row;
            let x = k * TILE + token;
            let four = vec4(w_tile[w], w_tile[w + 1u], w_tile[w + 2u], w_tile[w + 3u]);
            sums[0] += x_tile[x] * four;
            sums[1] += x_tile[x + 1u] * four;
            sums[2] += x_tile[x + 2u] * four;
            sums[3] += x_tile[x + 3u] * four;
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
