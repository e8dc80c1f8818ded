// A block of tokens times a stack of matrices, `Y = X W^T`, without workgroup memory: an invocation
// computes four rows of four tokens. For drivers that run on a CPU, where barriers are slow.

// In range: the quad of rows is below the last of this part, tokens are at most the last, and fours
// below `4 * pieces`; those are the sizes of the buffers.

#import matmul_params

@group(0) @binding(0) var<uniform> p: Params;
#import weights
#import matmul_out

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let tokens = arena[TOKENS];
    let row = 4u * id.x;
    let token = 4u * id.y;
    if row >= p.rows || token >= tokens {
        return;
    }
    let quad = p.row / 4u + id.x;
    let start = p.x_at + min(token + vec4(0u, 1u, 2u, 3u), vec4(tokens - 1u)) * p.x_stride;
    var sums = mat4x4<f32>();
    let end = 4u * end_of(id.z);
    for (var four = 4u * p.part_pieces * id.z; four < end; four += 2u) {
        let first = load(quad, four);
        let a = weights(first, 0u);
        let b = weights(load_next(first, quad, four + 1u), 1u);
        sums += mat4x4(
            a * x[start.x + four] + b * x[start.x + four + 1u],
            a * x[start.y + four] + b * x[start.y + four + 1u],
            a * x[start.z + four] + b * x[start.z + four + 1u],
            a * x[start.w + four] + b * x[start.w + four + 1u],
        );
    }
    finish_tokens(id.z, token, row, sums);
}
