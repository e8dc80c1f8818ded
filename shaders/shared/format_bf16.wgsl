// BF16: a piece of 16 values is two vectors of packed pairs, each the upper half of an f32.

@group(0) @binding(1) var<storage, read> quants: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn four_uppers(first: u32, second: u32) -> vec4<f32> {
    let bits = vec4(first << 16u, first & 0xffff0000u, second << 16u, second & 0xffff0000u);
    return bitcast<vec4<f32>>(bits);
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let at = (row * p.pieces + piece) * 2u;
    let a = quants[at];
    let b = quants[at + 1u];
    return mat4x4(
        four_uppers(a.x, a.y),
        four_uppers(a.z, a.w),
        four_uppers(b.x, b.y),
        four_uppers(b.z, b.w),
    );
}
