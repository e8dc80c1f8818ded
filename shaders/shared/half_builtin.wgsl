// Half precision by WGSL's built-in functions.

fn halves(word: u32) -> vec2<f32> {
    return unpack2x16float(word);
}

// Beyond the range of f16 the result of `pack2x16float` is undefined, so values are clamped first.
fn pack_halves(values: vec2<f32>) -> u32 {
    return pack2x16float(clamp(values, vec2(-65504.0), vec2(65504.0)));
}
