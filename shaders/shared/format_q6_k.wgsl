// Q6_K: a piece of 16 values is two words of nibbles and one of the bits above them. The scales of
// 256 values are four words of sixteen i8, one a piece, and a word whose lower half is an f16.
#import nibbles

@group(0) @binding(1) var<storage, read> quants: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn uppers(word: u32, shift: u32) -> vec4<f32> {
    let shifts = vec4(0u, 2u, 4u, 6u) + shift;
    return 16.0 * vec4<f32>((vec4(word) >> shifts) & vec4(3u)) - 32.0;
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let at = (row * p.pieces + piece) * 3u;
    let low = quants[at];
    let high = quants[at + 1u];
    let upper = quants[at + 2u];
    let block = (row * (p.pieces / 16u) + piece / 16u) * 5u;
    let group = piece % 16u;
    let scale = unpack4xI8(scales[block + group / 4u])[group % 4u];
    let d = halves(scales[block + 4u]).x * f32(scale);
    return mat4x4(
        d * (nibbles(low, 0u) + uppers(upper, 0u)),
        d * (nibbles(low, 16u) + uppers(upper, 8u)),
        d * (nibbles(high, 0u) + uppers(upper, 16u)),
        d * (nibbles(high, 16u) + uppers(upper, 24u)),
    );
}
