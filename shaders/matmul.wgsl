// A block of tokens times a stack of matrices, `Y = X W^T`: a workgroup computes 64 rows of 64
// tokens, an invocation eight of eight, from tiles in workgroup memory that are 16 values deep.
// While it multiplies, the next weights are on their way to its registers.

// In range: quads of rows are at most the last of this part, tokens at most the last, and fours below
// `4 * pieces`; those are the sizes of the buffers, and rows and tokens beyond are not written. In a
// tile the quad is below 16 and the value below 16.

const QUADS = 16u;
const FOURS = 4u;
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
    let start = inputs_at(first_token + 4u * x_quad, x_four);
    let w_at = 4u * w_four * QUADS + w_quad;
    let x_at = 4u * x_four * QUADS + x_quad;
    let row = index % 8u;
    let token = index / 8u;

    let first = p.part_pieces * workgroup.z;
    let end = end_of(workgroup.z);
    var w = load(quad, FOURS * first + w_four);
    var a = mat4x4<f32>();
    var b = mat4x4<f32>();
    var c = mat4x4<f32>();
    var d = mat4x4<f32>();
    for (var piece = first; piece < end; piece++) {
        let v = inputs(start + FOURS * piece);
        workgroupBarrier();
        put_weights(w_at, weights(w, w_four % 2u));
        put_inputs(x_at, v);
        workgroupBarrier();
        w = load(quad, FOURS * min(piece + 1u, end - 1u) + w_four);
        for (var k = 0u; k < 16u; k++) {
            let w0 = w_tile[k * QUADS + row];
            let w1 = w_tile[k * QUADS + row + 8u];
            let v0 = x_tile[k * QUADS + token];
            let v1 = x_tile[k * QUADS + token + 8u];
            a += outer(w0, v0);
            b += outer(w0, v1);
            c += outer(w1, v0);
            d += outer(w1, v1);
        }
    }
    let near = first_row + 4u * row;
    if near < p.rows {
        finish_tokens(workgroup.z, first_token + 4u * token, near, a);
        finish_tokens(workgroup.z, first_token + 4u * token + 32u, near, b);
    }
    if near + 32u < p.rows {
        finish_tokens(workgroup.z, first_token + 4u * token, near + 32u, c);
        finish_tokens(workgroup.z, first_token + 4u * token + 32u, near + 32u, d);
    }
}
