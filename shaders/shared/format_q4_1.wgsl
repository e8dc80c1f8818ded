// Q4_1: scale and minimum are f16, a pair for 32 values.
#import HALF
#import nibbles
#import scale_of_pairs

@group(0) @binding(2) var<storage, read> scales: array<vec4<u32>>;

struct Packed {
    q: vec4<u32>,
    s: vec4<u32>,
}

const SCALED = true;
const SHIFTED = true;

fn load(quad: u32, four: u32) -> Packed {
    let unit = quad * (p.pieces / 2u) + four / 8u;
    return Packed(quants[quad * 2u * p.pieces + four / 2u], scales[unit]);
}

fn load_next(first: Packed, quad: u32, four: u32) -> Packed {
    return first;
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    return by_value(nibbles(packed.q, half));
}

fn scale(packed: Packed) -> Scale {
    return scale_of_pairs(packed.s);
}
