// Q4_K: a piece of 16 values is two words of nibbles. The scales of 256 values are the first 16
// bytes of a GGUF block: two f16, then eight scales and minima of 6 bits.
#import HALF
#import nibbles

@group(0) @binding(1) var<storage, read> quants: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<vec4<u32>>;

fn packed(row: u32, piece: u32) -> vec4<u32> {
    return nibble_bytes(quants[row * p.pieces + piece]);
}

fn scale_and_minimum(row: u32, piece: u32) -> vec2<f32> {
    let block = scales[row * (p.pieces / 16u) + piece / 16u];
    let d = halves(block.x);
    let group = (piece / 2u) % 8u;
    // Byte `group % 4` of the words that hold the lower and the upper four groups.
    let shift = 8u * (group % 4u);
    let bytes = (block.yzw >> vec3(shift)) & vec3(255u);
    var scale = bytes.x & 63u;
    var minimum = bytes.y & 63u;
    if group >= 4u {
        scale = (bytes.z & 15u) | ((bytes.x >> 6u) << 4u);
        minimum = (bytes.z >> 4u) | ((bytes.y >> 6u) << 4u);
    }
    return vec2(d.x * f32(scale), -d.y * f32(minimum));
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let q = quants[row * p.pieces + piece];
    let s = scale_and_minimum(row, piece);
    return mat4x4(
        s.x * nibbles(q.x, 0u) + s.y,
        s.x * nibbles(q.x, 16u) + s.y,
        s.x * nibbles(q.y, 0u) + s.y,
        s.x * nibbles(q.y, 16u) + s.y,
    );
}
