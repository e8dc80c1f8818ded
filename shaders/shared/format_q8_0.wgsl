// Q8_0: a piece of 16 values is a vector of packed i8; scales are f16, one for two pieces, in pairs.

@group(0) @binding(1) var<storage, read> quants: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let q = quants[row * p.pieces + piece];
    let pair = halves(scales[row * ((p.pieces + 3u) / 4u) + piece / 4u]);
    let d = select(pair.x, pair.y, (piece & 2u) != 0u);
    return mat4x4(
        d * vec4<f32>(unpack4xI8(q.x)),
        d * vec4<f32>(unpack4xI8(q.y)),
        d * vec4<f32>(unpack4xI8(q.z)),
        d * vec4<f32>(unpack4xI8(q.w)),
    );
}
