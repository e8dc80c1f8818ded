// Four of the eight 4-bit numbers of a word, from bit `shift` on.

fn nibbles(word: u32, shift: u32) -> vec4<f32> {
    let shifts = vec4(0u, 4u, 8u, 12u) + shift;
    return vec4<f32>((vec4(word) >> shifts) & vec4(15u));
}
