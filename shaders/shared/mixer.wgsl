// Sizes of a layer's two mixers and where their parts are. `side` is 0 for keys and 1 for values.

struct Params {
    inner: u32,
    state: u32,
    groups: u32,
    heads: u32,
    taps: u32,
    channels: u32,
    // Values of a token's `z | x B C | dt` of one side, and of both.
    projected: u32,
    token_stride: u32,
    // Values of a token's normalized output of one side.
    gated: u32,
    // Values of one side's constants.
    constants: u32,
    // Where the layer's scan states and convolution inputs begin.
    scan_at: u32,
    conv_at: u32,
    // Index of the layer's schedule.
    schedule: u32,
    eps: f32,
}

// The constants of a side: weights of the convolution `[C][channels]`, its bias `[channels]`, bias
// of the step sizes, decay rates and input weights `[H]` each, weights of the norm `[I]`.
fn conv_weight(side: u32, tap: u32, channel: u32) -> f32 {
    return constants[side * p.constants + tap * p.channels + channel];
}

fn conv_bias(side: u32, channel: u32) -> f32 {
    return constants[side * p.constants + p.taps * p.channels + channel];
}

fn of_head(side: u32, which: u32, head: u32) -> f32 {
    return constants[side * p.constants + (p.taps + 1u) * p.channels + which * p.heads + head];
}

fn norm_weight(side: u32, channel: u32) -> f32 {
    return constants[side * p.constants + (p.taps + 1u) * p.channels + 3u * p.heads + channel];
}
const DT_BIAS = 0u;
const DECAY = 1u;
const INPUT = 2u;
