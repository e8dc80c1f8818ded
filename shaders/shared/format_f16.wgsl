// F16: a piece of 16 values is two vectors of packed pairs.
#import HALF

@group(0) @binding(1) var<storage, read> quants: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn four_halves(first: u32, second: u32) -> vec4<f32> {
    return vec4(halves(first), halves(second));
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let at = (row * p.pieces + piece) * 2u;
    let a = quants[at];
    let b = quants[at + 1u];
    return mat4x4(
        four_halves(a.x, a.y),
        four_halves(a.z, a.w),
        four_halves(b.x, b.y),
        four_halves(b.z, b.w),
    );
}
