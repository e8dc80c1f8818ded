// Q4_1: a piece of 16 values is two words of nibbles; scale and minimum are f16, one pair per two
// pieces.
#import HALF
#import nibbles

@group(0) @binding(1) var<storage, read> quants: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn packed(row: u32, piece: u32) -> vec4<u32> {
    return nibble_bytes(quants[row * p.pieces + piece]);
}

fn scale_and_minimum(row: u32, piece: u32) -> vec2<f32> {
    return halves(scales[row * (p.pieces / 2u) + piece / 2u]);
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let q = quants[row * p.pieces + piece];
    let s = scale_and_minimum(row, piece);
    return mat4x4(
        s.x * nibbles(q.x, 0u) + s.y,
        s.x * nibbles(q.x, 16u) + s.y,
        s.x * nibbles(q.y, 0u) + s.y,
        s.x * nibbles(q.y, 16u) + s.y,
    );
}
