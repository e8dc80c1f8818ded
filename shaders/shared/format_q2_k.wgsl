// Q2_K: 16 values are a vector, the first four in the lowest bits of the bytes. The scales of 256
// values are sixteen words with the bytes of four rows, a scale in the lower nibble and a minimum in
// the upper one, and a pair of f16 of each row that multiply these.
#import HALF
#import DIGITS
#import scale_of_pairs

@group(0) @binding(2) var<storage, read> scales: array<vec4<u32>>;

struct Packed {
    q: vec4<u32>,
    d: vec4<u32>,
    by: u32,
    eight: u32,
}

const SCALED = true;
const SHIFTED = true;

fn load(quad: u32, four: u32) -> Packed {
    let piece = four / 4u;
    let unit = 5u * (quad * (p.pieces / 16u) + piece / 16u);
    return Packed(
        quants[quad * p.pieces + piece],
        scales[unit + 4u],
        scales[unit + (piece % 16u) / 4u][piece % 4u],
        (four / 2u) % 2u,
    );
}

fn load_next(first: Packed, quad: u32, four: u32) -> Packed {
    return first;
}

fn load_more(first: Packed, quad: u32, four: u32) -> Packed {
    return Packed(first.q, first.d, first.by, 1u);
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    return digits(packed.q >> vec4(4u * packed.eight + 2u * half), 0u, 0x03030303u);
}

fn scale(packed: Packed) -> Scale {
    let d = scale_of_pairs(packed.d);
    let by = bytes(packed.by & 0x0f0f0f0fu);
    let plus = -d.plus * bytes((packed.by >> 4u) & 0x0f0f0f0fu);
    return without_surplus(Scale(d.by * by, plus));
}
