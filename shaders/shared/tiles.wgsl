// Tiles of a product in workgroup memory: `[value][quad of rows]` and `[value][quad of tokens]`. Each
// of the 64 invocations brings four values of a quad of either kind.

#import matmul_params

@group(0) @binding(0) var<uniform> p: Params;
#import weights
#import matmul_out

var<workgroup> w_tile: array<vec4<f32>, 256>;
var<workgroup> x_tile: array<vec4<f32>, 256>;

// Of a quad, four values of each token from here on; tokens beyond the last are the last.
fn inputs_at(token: u32, four: u32) -> vec4<u32> {
    let last = arena[TOKENS] - 1u;
    return p.x_at + min(token + vec4(0u, 1u, 2u, 3u), vec4(last)) * p.x_stride + four;
}

fn inputs(at: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4(x[at.x], x[at.y], x[at.z], x[at.w]));
}

fn put_weights(at: u32, w: mat4x4<f32>) {
    w_tile[at] = w[0];
    w_tile[at + QUADS] = w[1];
    w_tile[at + 2u * QUADS] = w[2];
    w_tile[at + 3u * QUADS] = w[3];
}

fn put_inputs(at: u32, v: mat4x4<f32>) {
    x_tile[at] = v[0];
    x_tile[at + QUADS] = v[1];
    x_tile[at + 2u * QUADS] = v[2];
    x_tile[at + 3u * QUADS] = v[3];
}

// Products of four rows with four tokens.
fn outer(w: vec4<f32>, v: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(w * v.x, w * v.y, w * v.z, w * v.w);
}
