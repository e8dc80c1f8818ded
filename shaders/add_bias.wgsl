// A bias is added to each token's row.

struct Params {
    width: u32,
    // Values from one token to the next.
    stride: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.width {
        out[id.y * p.stride + id.x] += bias[id.x];
    }
}
