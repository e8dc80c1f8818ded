// F32: a vector has a value of each row.
#import quads
#import unscaled

alias Packed = mat4x4<f32>;

fn load(quad: u32, four: u32) -> Packed {
    let at = quad * 16u * p.pieces + 4u * four;
    return mat4x4(
        bitcast<vec4<f32>>(quants[at]),
        bitcast<vec4<f32>>(quants[at + 1u]),
        bitcast<vec4<f32>>(quants[at + 2u]),
        bitcast<vec4<f32>>(quants[at + 3u]),
    );
}

fn load_next(first: Packed, quad: u32, four: u32) -> Packed {
    return load(quad, four);
}

fn load_more(first: Packed, quad: u32, four: u32) -> Packed {
    return load(quad, four);
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    return packed;
}
