// Numbers of a few bits in the bytes of words, converted one by one.
#import quads

// What is added to every number.
const SURPLUS = 0.0;

// Of words with four numbers of a row each, `shift` bits up in the bytes, those that `mask` leaves:
// column `k` has number `k` of the rows.
fn digits(words: vec4<u32>, shift: u32, mask: u32) -> mat4x4<f32> {
    return by_value((words >> vec4(shift)) & vec4(mask));
}

fn without_surplus(scale: Scale) -> Scale {
    return scale;
}
