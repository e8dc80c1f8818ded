// Q4_0: a piece of 16 values is two words of nibbles; scales are f16, one for two pieces, in pairs.
#import nibbles

@group(0) @binding(1) var<storage, read> quants: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let q = quants[row * p.pieces + piece];
    let pair = halves(scales[row * ((p.pieces + 3u) / 4u) + piece / 4u]);
    let d = select(pair.x, pair.y, (piece & 2u) != 0u);
    return mat4x4(
        d * (nibbles(q.x, 0u) - 8.0),
        d * (nibbles(q.x, 16u) - 8.0),
        d * (nibbles(q.y, 0u) - 8.0),
        d * (nibbles(q.y, 16u) - 8.0),
    );
}
