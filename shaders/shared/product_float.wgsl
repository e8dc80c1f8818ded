// A piece of the input times four rows, in floats.
#import dot16

fn products(row: u32, piece: u32, v: mat4x4<f32>) -> vec4<f32> {
    return vec4(
        dot16(weights(row, piece), v),
        dot16(weights(row + 1u, piece), v),
        dot16(weights(row + 2u, piece), v),
        dot16(weights(row + 3u, piece), v),
    );
}
