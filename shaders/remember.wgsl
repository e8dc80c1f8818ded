// Shifts the inputs of a block's tokens into the rows kept for the next block's convolution.

#import mixer
#import arena

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> constants: array<f32>;
@group(0) @binding(2) var<storage, read> projected: array<f32>;
@group(0) @binding(3) var<storage, read_write> past: array<f32>;
@group(0) @binding(4) var<storage, read> arena: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let channel = id.x;
    let side = id.y;
    if channel >= p.channels {
        return;
    }
    let rows = p.taps - 1u;
    let tokens = arena[TOKENS];
    let kept = p.conv_at + side * rows * p.channels + channel;
    let input = side * p.projected + p.inner + channel;
    for (var row = 0u; row < rows; row++) {
        // Row `row` belongs to the token `row + tokens - rows` of the block; if negative, to the
        // past.
        let source = row + tokens;
        if source < rows {
            past[kept + row * p.channels] = past[kept + source * p.channels];
        } else {
            past[kept + row * p.channels] = projected[(source - rows) * p.token_stride + input];
        }
    }
}
