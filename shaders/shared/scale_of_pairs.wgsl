// Of two f16 of each row.
fn scale_of_pairs(words: vec4<u32>) -> Scale {
    let rows = transpose(mat4x2(halves(words.x), halves(words.y), halves(words.z), halves(words.w)));
    return Scale(rows[0], rows[1]);
}
