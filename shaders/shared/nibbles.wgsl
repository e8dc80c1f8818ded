// Four of the eight 4-bit numbers of a word, from bit `shift` on.

fn nibbles(word: u32, shift: u32) -> vec4<f32> {
    let shifts = vec4(0u, 4u, 8u, 12u) + shift;
    return vec4<f32>((vec4(word) >> shifts) & vec4(15u));
}

// The numbers of two words as bytes: of each word those with even indices, then the odd ones, which
// is cheaper than keeping their order.
fn nibble_bytes(q: vec2<u32>) -> vec4<u32> {
    return vec4(q.x, q.x >> 4u, q.y, q.y >> 4u) & vec4(0x0f0f0f0fu);
}

// Values word by word, as `nibble_bytes` gives them.
fn in_order(v: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4(
        vec4(v[0].xz, v[1].xz),
        vec4(v[0].yw, v[1].yw),
        vec4(v[2].xz, v[3].xz),
        vec4(v[2].yw, v[3].yw),
    );
}
