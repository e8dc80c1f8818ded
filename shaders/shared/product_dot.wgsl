// A piece of the input times four rows, in integers: products of four bytes at a time.
#import packed_input

fn product(row: u32, piece: u32, x: Packed) -> f32 {
    let s = scale_and_minimum(row, piece);
    return s.x * (x.scale * f32(integer_dot(x, packed(row, piece)))) + s.y * x.sum;
}

fn products(row: u32, piece: u32, v: mat4x4<f32>) -> vec4<f32> {
    let x = pack_input(v);
    return vec4(
        product(row, piece, x),
        product(row + 1u, piece, x),
        product(row + 2u, piece, x),
        product(row + 3u, piece, x),
    );
}
