// 8 bits under a scale and a minimum: what Q5_1, Q5_K, IQ4_XS and MXFP4 become on the way to the GPU. A
// piece of 16 values is a vector of packed i8; scale and minimum are f32, one pair for two pieces.
#import in_order

@group(0) @binding(1) var<storage, read> quants: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<vec2<f32>>;

fn packed(row: u32, piece: u32) -> vec4<u32> {
    return quants[row * p.pieces + piece];
}

fn scale_and_minimum(row: u32, piece: u32) -> vec2<f32> {
    return scales[row * (p.pieces / 2u) + piece / 2u];
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let q = packed(row, piece);
    let s = scale_and_minimum(row, piece);
    return mat4x4(
        s.x * vec4<f32>(unpack4xI8(q.x)) + s.y,
        s.x * vec4<f32>(unpack4xI8(q.y)) + s.y,
        s.x * vec4<f32>(unpack4xI8(q.z)) + s.y,
        s.x * vec4<f32>(unpack4xI8(q.w)) + s.y,
    );
}
