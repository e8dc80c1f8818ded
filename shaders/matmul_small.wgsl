// A block of tokens times a stack of matrices, `Y = X W^T`, where registers are few: a workgroup
// computes 32 rows of 32 tokens, an invocation four of four, from tiles in workgroup memory that are
// 32 values deep.

// In range: quads of rows are at most the last of this part, tokens at most the last, and fours below
// `4 * pieces`; those are the sizes of the buffers, and rows and tokens beyond are not written. In a
// tile the quad is below 8 and the value below 32.

const QUADS = 8u;
const FOURS = 8u;
#import tiles

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let first_row = 4u * QUADS * workgroup.x;
    let first_token = 4u * QUADS * workgroup.y;
    let w_quad = index % QUADS;
    let w_four = index / QUADS;
    let quad = min((p.row + first_row) / 4u + w_quad, (p.row + p.rows) / 4u - 1u);
    let x_quad = index / FOURS;
    let x_four = index % FOURS;
    let start = inputs_at(first_token + 4u * x_quad, 0u);
    let w_at = 4u * w_four * QUADS + w_quad;
    let x_at = 4u * x_four * QUADS + x_quad;
    let row = index % QUADS;
    let token = index / QUADS;

    let fours = 4u * end_of(workgroup.z);
    var sums = mat4x4<f32>();
    for (var four = 4u * p.part_pieces * workgroup.z; four < fours; four += FOURS) {
        // Beyond the last are the last weights, times zero.
        let w = load(quad, min(four + w_four, fours - 1u));
        let there = select(0.0, 1.0, four + x_four < fours);
        let v = there * inputs(start + min(four + x_four, fours - 1u));
        workgroupBarrier();
        put_weights(w_at, weights(w, w_four % 2u));
        put_inputs(x_at, v);
        workgroupBarrier();
        for (var k = 0u; k < 32u; k++) {
            sums += outer(w_tile[k * QUADS + row], x_tile[k * QUADS + token]);
        }
    }
    if first_row + 4u * row < p.rows {
        finish_tokens(workgroup.z, first_token + 4u * token, first_row + 4u * row, sums);
    }
}
