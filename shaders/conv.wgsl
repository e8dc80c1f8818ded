// Causal depthwise convolution over a block of tokens, followed by SiLU. Inputs from before the
// first token of a chunk are zero.

#import mixer
#import arena
#import silu

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> constants: array<f32>;
@group(0) @binding(2) var<storage, read> projected: array<f32>;
// `[side][C - 1][channels]`: the inputs of the tokens before the block, oldest first.
@group(0) @binding(3) var<storage, read> past: array<f32>;
// `[token][side][channels]`
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read> arena: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let channel = id.x;
    let token = id.y;
    let side = id.z;
    if channel >= p.channels {
        return;
    }
    let reach = min(p.taps - 1u, arena[arena[SINCE] + p.schedule * arena[TOKENS] + token]);
    var sum = conv_bias(side, channel);
    for (var i = 0u; i <= reach; i++) {
        let back = reach - i;
        var input = 0.0;
        if back <= token {
            let at = (token - back) * p.token_stride + side * p.projected + p.inner;
            input = projected[at + channel];
        } else {
            let row = side * (p.taps - 1u) + p.taps - 1u + token - back;
            input = past[p.conv_at + row * p.channels + channel];
        }
        sum += input * conv_weight(side, p.taps - 1u - back, channel);
    }
    out[(2u * token + side) * p.channels + channel] = silu(sum);
}
