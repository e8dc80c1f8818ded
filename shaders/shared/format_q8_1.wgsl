// 8 bits under a scale and a minimum: what Q5_1, Q5_K, IQ4_XS and MXFP4 become on the way to the GPU.
// Scale and minimum are f32, a vector each for 32 values.
#import signed

@group(0) @binding(2) var<storage, read> scales: array<vec4<f32>>;

struct Packed {
    q: vec4<u32>,
    by: vec4<f32>,
    plus: vec4<f32>,
}

const SCALED = true;
const SHIFTED = true;

fn load(quad: u32, four: u32) -> Packed {
    let unit = quad * p.pieces + four / 8u * 2u;
    return Packed(quants[quad * 4u * p.pieces + four], scales[unit], scales[unit + 1u]);
}

fn load_next(first: Packed, quad: u32, four: u32) -> Packed {
    return Packed(quants[quad * 4u * p.pieces + four], first.by, first.plus);
}

fn load_more(first: Packed, quad: u32, four: u32) -> Packed {
    return Packed(quants[quad * 4u * p.pieces + four], first.by, first.plus);
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    return by_value_signed(packed.q);
}

fn scale(packed: Packed) -> Scale {
    return Scale(packed.by, packed.plus);
}
