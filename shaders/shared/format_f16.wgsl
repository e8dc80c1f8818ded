// F16: a vector has a pair of values of each row.
#import HALF
#import pairs

fn pair(word: u32) -> vec2<f32> {
    return halves(word);
}
