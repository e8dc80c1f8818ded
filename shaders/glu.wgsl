// `out = gate(g) * up`, gates and ups side by side: for models whose two matrices differ in format,
// so that it can't be fused into the product.

#import GATE

struct Params {
    width: u32,
    // Where ups begin, and values from one token to the next.
    up_at: u32,
    stride: u32,
    out_stride: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.width {
        let at = id.y * p.stride + id.x;
        out[id.y * p.out_stride + id.x] = gate(gate_up[at]) * gate_up[at + p.up_at];
    }
}
