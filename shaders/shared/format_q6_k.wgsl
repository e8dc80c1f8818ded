// Q6_K: 16 values are two vectors of nibbles and one of the bits above them, those of a value in
// the byte that has its nibble. The scales of 256 values are sixteen words with the i8 of four rows,
// and four f16 that multiply these, in two words of four.
#import HALF
#import DIGITS

@group(0) @binding(2) var<storage, read> scales: array<vec4<u32>>;

struct Packed {
    q: vec4<u32>,
    upper: vec4<u32>,
    d: vec4<u32>,
    by: u32,
    eight: u32,
}

const SCALED = true;
const SHIFTED = true;

fn load(quad: u32, four: u32) -> Packed {
    let piece = four / 4u;
    let at = 3u * (quad * p.pieces + piece);
    let unit = 5u * (quad * (p.pieces / 16u) + piece / 16u);
    let eight = (four / 2u) % 2u;
    return Packed(
        quants[at + eight],
        quants[at + 2u],
        scales[unit + 4u],
        scales[unit + (piece % 16u) / 4u][piece % 4u],
        eight,
    );
}

fn load_next(first: Packed, quad: u32, four: u32) -> Packed {
    return first;
}

fn load_more(first: Packed, quad: u32, four: u32) -> Packed {
    return Packed(quants[3u * (quad * p.pieces + four / 4u) + 1u], first.upper, first.d, first.by, 1u);
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    let upper = packed.upper >> vec4(4u * packed.eight + 2u * half);
    let lower = (packed.q >> vec4(4u * half)) & vec4(0x0f0f0f0fu);
    return digits(lower | ((upper & vec4(0x03030303u)) << vec4(4u)), 0u, 0xffffffffu);
}

fn scale(packed: Packed) -> Scale {
    let by = vec4(halves(packed.d.x), halves(packed.d.y)) * vec4<f32>(unpack4xI8(packed.by));
    return Scale(by, -(32.0 + SURPLUS) * by);
}
