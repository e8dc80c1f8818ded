// BF16: a vector has a pair of values of each row, each the upper half of an f32.
#import pairs

fn pair(word: u32) -> vec2<f32> {
    return bitcast<vec2<f32>>(vec2(word << 16u, word & 0xffff0000u));
}
