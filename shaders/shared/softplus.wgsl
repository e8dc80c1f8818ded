// `ln(1 + e^x)`. Beyond 20 the difference from x is below rounding; far below zero the sum rounds
// to one, and e^x is the better value.
fn softplus(x: f32) -> f32 {
    let e = exp(min(x, 20.0));
    let u = 1.0 + e;
    // The quotient corrects the logarithm for the rounding of `1 + e`.
    let small = select(log(u) * (e / max(u - 1.0, 1e-30)), e, u == 1.0);
    return select(small, x, x > 20.0);
}
