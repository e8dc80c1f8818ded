// A piece of the input as scaled integers. Eight bits would cost too much accuracy: they are off by
// one in 250 of the largest value, which leads to errors of a few percent. So each integer has 16
// bits, in two bytes, `256 * upper + lower`, and each product is two.

struct Packed {
    upper: vec4<u32>,
    lower: vec4<u32>,
    scale: f32,
    // Of the integers, times the scale.
    sum: f32,
}

// 127 * 256: the largest whose upper byte fits an i8.
const GREATEST = 32512.0;

fn pack_input(v: mat4x4<f32>) -> Packed {
    let by_word = in_order(v);
    let four = max(max(abs(v[0]), abs(v[1])), max(abs(v[2]), abs(v[3])));
    let greatest = max(max(four.x, four.y), max(four.z, four.w));
    // Close to zero the quotient would be infinite.
    let inverse = select(0.0, GREATEST / greatest, greatest > 1e-30);
    var x: Packed;
    var sum = vec4<i32>();
    for (var i = 0u; i < 4u; i++) {
        let n = vec4<i32>(round(by_word[i] * inverse));
        let upper = (n + 128) >> vec4(8u);
        x.upper[i] = pack4xI8(upper);
        x.lower[i] = pack4xI8(n - upper * 256);
        sum += n;
    }
    x.scale = greatest / GREATEST;
    x.sum = x.scale * f32(sum.x + sum.y + sum.z + sum.w);
    return x;
}

fn four_dots(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z)
        + dot4I8Packed(a.w, b.w);
}

fn integer_dot(x: Packed, w: vec4<u32>) -> i32 {
    return 256 * four_dots(x.upper, w) + four_dots(x.lower, w);
}
