// Numbers of 8 bits with a sign.
#import quads

fn by_value_signed(words: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4(
        vec4<f32>(unpack4xI8(words.x)),
        vec4<f32>(unpack4xI8(words.y)),
        vec4<f32>(unpack4xI8(words.z)),
        vec4<f32>(unpack4xI8(words.w)),
    ));
}
