// F32: a piece of 16 values is four vectors.

@group(0) @binding(1) var<storage, read> quants: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let at = (row * p.pieces + piece) * 4u;
    return mat4x4(quants[at], quants[at + 1u], quants[at + 2u], quants[at + 3u]);
}
