// Weights in two bytes each.
#import quads
#import unscaled

struct Packed {
    a: vec4<u32>,
    b: vec4<u32>,
}

fn load(quad: u32, four: u32) -> Packed {
    let at = quad * 8u * p.pieces + 2u * four;
    return Packed(quants[at], quants[at + 1u]);
}

fn load_next(first: Packed, quad: u32, four: u32) -> Packed {
    return load(quad, four);
}

fn load_more(first: Packed, quad: u32, four: u32) -> Packed {
    return load(quad, four);
}

fn numbers(packed: Packed, half: u32) -> mat4x4<f32> {
    let a = packed.a;
    let b = packed.b;
    return transpose(mat4x4(
        vec4(pair(a.x), pair(b.x)),
        vec4(pair(a.y), pair(b.y)),
        vec4(pair(a.z), pair(b.z)),
        vec4(pair(a.w), pair(b.w)),
    ));
}
