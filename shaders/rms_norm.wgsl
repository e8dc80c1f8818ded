// RMSNorm of each token: `x = h / sqrt(mean(h^2) + eps) * gain`, with copies for mixers that read
// the normalized input itself. Or the result is added to `x`.

// In range: tokens beyond the last are the last, and not written; columns are those of the model.

#import sums
#import REDUCE
#import arena

struct Params {
    cols: u32,
    eps: f32,
    // Values from one token to the next.
    h_stride: u32,
    x_stride: u32,
    // The first token.
    token: u32,
    // Copies, where the first one goes, and values from one to the next and from token to token.
    copies: u32,
    copy_at: u32,
    copy_step: u32,
    copy_stride: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> copy: array<f32>;
@group(0) @binding(5) var<storage, read> arena: array<u32>;

override ADD: u32 = 0;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let token = workgroup.x * (WORKGROUP / LANES) + index / LANES;
    let lane = index % LANES;
    let tokens = arena[TOKENS];
    let start = min(p.token + token, tokens - 1u) * p.h_stride;
    var square = 0.0;
    for (var i = lane; i < p.cols; i += LANES) {
        square += h[start + i] * h[start + i];
    }
    let total = reduce(vec4(0.0), square, index);
    if p.token + token >= tokens {
        return;
    }
    let factor = inverseSqrt(total.square / f32(p.cols) + p.eps);
    for (var i = lane; i < p.cols; i += LANES) {
        let value = h[start + i] * factor * gain[i];
        let at = token * p.x_stride + i;
        if ADD != 0u {
            x[at] += value;
        } else {
            x[at] = value;
        }
        for (var c = 0u; c < p.copies; c++) {
            copy[p.copy_at + c * p.copy_step + token * p.copy_stride + i] = value;
        }
    }
}
