// Q4_0: a piece of 16 values is two words of nibbles; scales are f16, one for two pieces, in pairs.
#import HALF
#import nibbles

@group(0) @binding(1) var<storage, read> quants: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn packed(row: u32, piece: u32) -> vec4<u32> {
    return nibble_bytes(quants[row * p.pieces + piece]);
}

fn scale(row: u32, piece: u32) -> f32 {
    let pair = halves(scales[row * ((p.pieces + 3u) / 4u) + piece / 4u]);
    return select(pair.x, pair.y, (piece & 2u) != 0u);
}

fn scale_and_minimum(row: u32, piece: u32) -> vec2<f32> {
    let d = scale(row, piece);
    return vec2(d, -8.0 * d);
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let q = quants[row * p.pieces + piece];
    let d = scale(row, piece);
    return mat4x4(
        d * (nibbles(q.x, 0u) - 8.0),
        d * (nibbles(q.x, 16u) - 8.0),
        d * (nibbles(q.y, 0u) - 8.0),
        d * (nibbles(q.y, 16u) - 8.0),
    );
}
