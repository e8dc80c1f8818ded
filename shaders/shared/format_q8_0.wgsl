// Q8_0: scales are f16, a vector for 32 values.
#import HALF
#import signed

@group(0) @binding(2) var<storage, read> scales: array<vec2<u32>>;

struct Packed {
    q: vec4<u32>,
    d: vec2<u32>,
}

const SCALED = true;
const SHIFTED = false;

fn load(quad: u32, four: u32) -> Packed {
    let unit = quad * 2u * ((p.pieces + 3u) / 4u) + four / 8u;
    return Packed(quants[quad * 4u * p.pieces + four], scales[unit]);
}

fn load_next(first: Packed, quad: u32, four: u32) -> Packed {
    return Packed(quants[quad * 4u * p.pieces + four], first.d);
}

fn load_more(first: Packed, quad: u32, four: u32) -> Packed {
    return Packed(quants[quad * 4u * p.pieces + four], first.d);
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    return by_value_signed(packed.q);
}

fn scale(packed: Packed) -> Scale {
    return Scale(vec4(halves(packed.d.x), halves(packed.d.y)), vec4(0.0));
}
