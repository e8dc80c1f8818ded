// Logit soft-capping: `cap * tanh(x / cap)`.

struct Params {
    width: u32,
    // Values from one token to the next.
    stride: u32,
    cap: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.width {
        let at = id.y * p.stride + id.x;
        // Some drivers compute tanh as a quotient of exponentials; beyond 15 it is 1.
        logits[at] = p.cap * tanh(clamp(logits[at] / p.cap, -15.0, 15.0));
    }
}
