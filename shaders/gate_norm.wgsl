// A mixer's output, gated and normalized: `RMSNorm(y * silu(z)) * norm`, token by token.

// In range: tokens beyond the last are the last, and not written; there are two sides, and channels are
// those of the mixer.

#import sums
#import REDUCE
#import mixer
#import arena
#import silu

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> constants: array<f32>;
@group(0) @binding(2) var<storage, read> projected: array<f32>;
// `[token][side][I]`
@group(0) @binding(3) var<storage, read> y: array<f32>;
// `[token][side][gated]`
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read> arena: array<u32>;

fn gated(token: u32, side: u32, channel: u32) -> f32 {
    let z = projected[token * p.token_stride + side * p.projected + channel];
    return silu(z) * y[(2u * token + side) * p.inner + channel];
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let group = workgroup.x * (WORKGROUP / LANES) + index / LANES;
    let lane = index % LANES;
    let tokens = arena[TOKENS];
    let token = min(group, tokens - 1u);
    let side = workgroup.y;
    var square = 0.0;
    for (var i = lane; i < p.inner; i += LANES) {
        let value = gated(token, side, i);
        square += value * value;
    }
    let total = reduce(vec4(0.0), square, index);
    if group >= tokens {
        return;
    }
    let factor = inverseSqrt(total.square / f32(p.inner) + p.eps);
    for (var i = lane; i < p.inner; i += LANES) {
        out[(2u * token + side) * p.gated + i] = gated(token, side, i) * factor * norm_weight(side, i);
    }
}
