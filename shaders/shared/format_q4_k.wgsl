// Q4_K: the scales of 256 values are four vectors: a pair of f16 of each row, then bytes of the rows
// in words, one for each pair of groups of 32: the lower four bits of scale and minimum of the first
// group, of the second, and the upper two of all.
#import HALF
#import DIGITS
#import scale_of_pairs

@group(0) @binding(2) var<storage, read> scales: array<vec4<u32>>;

struct Packed {
    q: vec4<u32>,
    d: vec4<u32>,
    lower: u32,
    upper: u32,
    group: u32,
}

const SCALED = true;
const SHIFTED = true;

fn load(quad: u32, four: u32) -> Packed {
    let at = 4u * (quad * (p.pieces / 16u) + four / 64u);
    let group = (four / 8u) % 8u;
    return Packed(
        quants[quad * 2u * p.pieces + four / 2u],
        scales[at],
        scales[at + 1u + group % 2u][group / 2u],
        scales[at + 3u][group / 2u],
        group,
    );
}

fn load_next(first: Packed, quad: u32, four: u32) -> Packed {
    return first;
}

fn load_more(first: Packed, quad: u32, four: u32) -> Packed {
    return Packed(quants[quad * 2u * p.pieces + four / 2u], first.d, first.lower, first.upper, first.group);
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    return digits(packed.q, 4u * half, 0x0f0f0f0fu);
}

fn scale(packed: Packed) -> Scale {
    let upper = packed.upper >> (4u * (packed.group % 2u));
    let by = (packed.lower & 0x0f0f0f0fu) | ((upper & 0x03030303u) << 4u);
    let minimum = ((packed.lower >> 4u) & 0x0f0f0f0fu) | ((upper & 0x0c0c0c0cu) << 2u);
    let d = scale_of_pairs(packed.d);
    return without_surplus(Scale(d.by * bytes(by), -d.plus * bytes(minimum)));
}
