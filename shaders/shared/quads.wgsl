// Weights lie in quads: a vector has a word of each of four rows, of a quad's first word, its second
// and so on. A format says what is loaded for four values of the four rows (`Packed`, `load`), for
// the four after those if these are the first of eight (`load_next`), for the third four of a piece
// (`load_more`), the numbers in it, of which `half` are the first or the second four, and what they
// are multiplied by and then increased by.

@group(0) @binding(1) var<storage, read> quants: array<vec4<u32>>;

struct Scale {
    by: vec4<f32>,
    plus: vec4<f32>,
}

fn bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8(word));
}

// Of words with four numbers of a row each: column `k` has number `k` of the rows.
fn by_value(words: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4(bytes(words.x), bytes(words.y), bytes(words.z), bytes(words.w)));
}
