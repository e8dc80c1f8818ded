// F16, read natively: a piece of 16 values is four vectors. Sums are taken in single precision.
enable f16;

@group(0) @binding(1) var<storage, read> quants: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let at = (row * p.pieces + piece) * 4u;
    return mat4x4(
        vec4<f32>(quants[at]),
        vec4<f32>(quants[at + 1u]),
        vec4<f32>(quants[at + 2u]),
        vec4<f32>(quants[at + 3u]),
    );
}
