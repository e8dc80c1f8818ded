// Q4_0: scales are f16, a vector for 32 values.
#import HALF
#import DIGITS

@group(0) @binding(2) var<storage, read> scales: array<vec2<u32>>;

struct Packed {
    q: vec4<u32>,
    d: vec2<u32>,
}

const SCALED = true;
const SHIFTED = true;

fn load(quad: u32, four: u32) -> Packed {
    let unit = quad * 2u * ((p.pieces + 3u) / 4u) + four / 8u;
    return Packed(quants[quad * 2u * p.pieces + four / 2u], scales[unit]);
}

fn load_next(first: Packed, quad: u32, four: u32) -> Packed {
    return first;
}

fn load_more(first: Packed, quad: u32, four: u32) -> Packed {
    return Packed(quants[quad * 2u * p.pieces + four / 2u], first.d);
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    return digits(packed.q, 4u * half, 0x0f0f0f0fu);
}

fn scale(packed: Packed) -> Scale {
    let d = vec4(halves(packed.d.x), halves(packed.d.y));
    return Scale(d, -(8.0 + SURPLUS) * d);
}
