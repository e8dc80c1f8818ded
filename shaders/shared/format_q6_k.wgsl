// Q6_K: a piece of 16 values is two words of nibbles and one of the bits above them. The scales of
// 256 values are four words of sixteen i8, one per piece, and a word whose lower half is an f16.
#import HALF
#import nibbles

@group(0) @binding(1) var<storage, read> quants: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

fn uppers(word: u32, shift: u32) -> vec4<f32> {
    let shifts = vec4(0u, 2u, 4u, 6u) + shift;
    return 16.0 * vec4<f32>((vec4(word) >> shifts) & vec4(3u)) - 32.0;
}

// The upper bits of eight values, two per nibble, as bytes: even indices first, then odd ones.
fn upper_bytes(bits: u32) -> vec2<u32> {
    let pairs = vec2(bits, bits >> 2u) & vec2(0x3333u);
    let apart = (pairs | (pairs << vec2(8u))) & vec2(0x00ff00ffu);
    return ((apart | (apart << vec2(4u))) & vec2(0x03030303u)) << vec2(4u);
}

fn packed(row: u32, piece: u32) -> vec4<u32> {
    let at = (row * p.pieces + piece) * 3u;
    let upper = quants[at + 2u];
    let above = vec4(upper_bytes(upper & 0xffffu), upper_bytes(upper >> 16u));
    return nibble_bytes(vec2(quants[at], quants[at + 1u])) | above;
}

fn scale(row: u32, piece: u32) -> f32 {
    let block = (row * (p.pieces / 16u) + piece / 16u) * 5u;
    let group = piece % 16u;
    let scale = unpack4xI8(scales[block + group / 4u])[group % 4u];
    return halves(scales[block + 4u]).x * f32(scale);
}

fn scale_and_minimum(row: u32, piece: u32) -> vec2<f32> {
    let d = scale(row, piece);
    return vec2(d, -32.0 * d);
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let at = (row * p.pieces + piece) * 3u;
    let low = quants[at];
    let high = quants[at + 1u];
    let upper = quants[at + 2u];
    let d = scale(row, piece);
    return mat4x4(
        d * (nibbles(low, 0u) + uppers(upper, 0u)),
        d * (nibbles(low, 16u) + uppers(upper, 8u)),
        d * (nibbles(high, 0u) + uppers(upper, 16u)),
        d * (nibbles(high, 16u) + uppers(upper, 24u)),
    );
}
