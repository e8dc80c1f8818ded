// A block of tokens times a stack of matrices, `Y = X W^T`, without workgroup memory: an invocation
// computes four rows of four tokens. For drivers that run on a CPU, where barriers are slow.

#import matmul_params

@group(0) @binding(0) var<uniform> p: Params;
#import FORMAT
#import matmul_out

fn four_dots(w: mat4x4<f32>, v: mat4x4<f32>) -> f32 {
    return dot(w[0], v[0]) + dot(w[1], v[1]) + dot(w[2], v[2]) + dot(w[3], v[3]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let tokens = arena[TOKENS];
    let row = 4u * id.x;
    let token = 4u * id.y;
    if row >= p.rows || token >= tokens {
        return;
    }
    let first = p.row + row;
    let last = tokens - 1u;
    var sums = mat4x4<f32>();
    for (var piece = 0u; piece < p.pieces; piece++) {
        let w0 = weights(first, piece);
        let w1 = weights(first + 1u, piece);
        let w2 = weights(first + 2u, piece);
        let w3 = weights(first + 3u, piece);
        for (var i = 0u; i < 4u; i++) {
            let v = input(min(token + i, last), piece);
            sums[i] += vec4(four_dots(w0, v), four_dots(w1, v), four_dots(w2, v), four_dots(w3, v));
        }
    }
    for (var i = 0u; i < 4u; i++) {
        if token + i < tokens {
            finish(token + i, row, sums[i]);
        }
    }
}
