// Q8_0: a piece of 16 values is a vector of packed i8; scales are f16, one for two pieces, in pairs.
#import HALF
#import in_order

@group(0) @binding(1) var<storage, read> quants: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn packed(row: u32, piece: u32) -> vec4<u32> {
    return quants[row * p.pieces + piece];
}

fn scale(row: u32, piece: u32) -> f32 {
    let pair = halves(scales[row * ((p.pieces + 3u) / 4u) + piece / 4u]);
    return select(pair.x, pair.y, (piece & 2u) != 0u);
}

fn scale_and_minimum(row: u32, piece: u32) -> vec2<f32> {
    return vec2(scale(row, piece), 0.0);
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let q = packed(row, piece);
    let d = scale(row, piece);
    return mat4x4(
        d * vec4<f32>(unpack4xI8(q.x)),
        d * vec4<f32>(unpack4xI8(q.y)),
        d * vec4<f32>(unpack4xI8(q.z)),
        d * vec4<f32>(unpack4xI8(q.w)),
    );
}
