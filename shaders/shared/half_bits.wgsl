// Half precision by integer arithmetic, for drivers whose conversions are missing or inexact.

fn half_value(bits: u32) -> f32 {
    let exponent = (bits >> 10u) & 31u;
    let fraction = bits & 1023u;
    // Subnormals are built from an integer: the same bits as an f32 could be flushed to zero.
    var magnitude = f32(fraction) * 5.9604644775390625e-8;
    if exponent != 0u {
        magnitude = bitcast<f32>(((exponent + 112u) << 23u) | (fraction << 13u));
    }
    return select(magnitude, -magnitude, (bits & 0x8000u) != 0u);
}

fn halves(word: u32) -> vec2<f32> {
    return vec2(half_value(word & 0xffffu), half_value(word >> 16u));
}

// Rounds to nearest, ties to even.
fn half_bits(value: f32) -> u32 {
    let bits = bitcast<u32>(clamp(value, -65504.0, 65504.0));
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if magnitude < 0x38800000u {
        // Below the smallest normal half, in steps of 2^-24.
        return sign | u32(round(bitcast<f32>(magnitude) * 16777216.0));
    }
    let odd = (magnitude >> 13u) & 1u;
    return sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13u);
}

fn pack_halves(values: vec2<f32>) -> u32 {
    return half_bits(values.x) | (half_bits(values.y) << 16u);
}
