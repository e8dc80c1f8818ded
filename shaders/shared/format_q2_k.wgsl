// Q2_K: a piece of 16 values is a word. The scales of 256 values are four words of sixteen bytes, one
// per piece, a scale in the lower nibble and a minimum in the upper one, and a word of two f16 that
// multiply these.
#import HALF
#import in_order

@group(0) @binding(1) var<storage, read> quants: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

// Four numbers of two bits as bytes.
fn apart(byte: u32) -> u32 {
    return (byte | (byte << 6u) | (byte << 12u) | (byte << 18u)) & 0x03030303u;
}

fn packed(row: u32, piece: u32) -> vec4<u32> {
    let q = vec4(quants[row * p.pieces + piece]) >> vec4(0u, 8u, 16u, 24u);
    let bytes = q & vec4(0xffu);
    return vec4(apart(bytes.x), apart(bytes.y), apart(bytes.z), apart(bytes.w));
}

fn scale_and_minimum(row: u32, piece: u32) -> vec2<f32> {
    let block = (row * (p.pieces / 16u) + piece / 16u) * 5u;
    let group = piece % 16u;
    let both = (scales[block + group / 4u] >> (group % 4u * 8u)) & 0xffu;
    return halves(scales[block + 4u]) * vec2(1.0, -1.0) * vec2<f32>(vec2(both & 15u, both >> 4u));
}

fn weights(row: u32, piece: u32) -> mat4x4<f32> {
    let q = packed(row, piece);
    let s = scale_and_minimum(row, piece);
    return mat4x4(
        s.x * vec4<f32>(unpack4xU8(q.x)) + s.y,
        s.x * vec4<f32>(unpack4xU8(q.y)) + s.y,
        s.x * vec4<f32>(unpack4xU8(q.z)) + s.y,
        s.x * vec4<f32>(unpack4xU8(q.w)) + s.y,
    );
}
