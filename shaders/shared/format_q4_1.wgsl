// Q4_1: scale and minimum are f16, a pair for 32 values.
#import HALF
#import DIGITS
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

fn load_more(first: Packed, quad: u32, four: u32) -> Packed {
    return Packed(quants[quad * 2u * p.pieces + four / 2u], first.s);
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    return digits(packed.q, 4u * half, 0x0f0f0f0fu);
}

fn scale(packed: Packed) -> Scale {
    return without_surplus(scale_of_pairs(packed.s));
}
