// Numbers of up to six bits in the bytes of words, made halves two at a time: a number is put into the
// last bits of the mantissa of one between 64 and 128. Many GPUs convert halves as they multiply.
#import HALF
#import quads

// What is added to every number.
const SURPLUS = 64.0;

// Of words with four numbers of a row each, `shift` bits up in the bytes, those that `mask` leaves:
// column `k` has number `k` of the rows.
fn digits(words: vec4<u32>, shift: u32, mask: u32) -> mat4x4<f32> {
    let bits = vec4((mask & 0x00ff00ffu) << 4u);
    var even = words << vec4(4u);
    if shift == 4u {
        even = words;
    }
    even = (even & bits) | vec4(0x54005400u);
    let odd = ((words >> vec4(4u + shift)) & bits) | vec4(0x54005400u);
    let of_even = transpose(mat4x2(halves(even.x), halves(even.y), halves(even.z), halves(even.w)));
    let of_odd = transpose(mat4x2(halves(odd.x), halves(odd.y), halves(odd.z), halves(odd.w)));
    return mat4x4(of_even[0], of_odd[0], of_even[1], of_odd[1]);
}

fn without_surplus(scale: Scale) -> Scale {
    return Scale(scale.by, scale.plus - SURPLUS * scale.by);
}
