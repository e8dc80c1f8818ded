// GELU in its tanh approximation: `x (1 + tanh u) / 2` is `x / (1 + e^(-2u))`. Beyond 80 the
// exponential is kept finite; the quotient is zero all the same.
fn gelu_tanh(x: f32) -> f32 {
    let u = 0.7978845608 * (x + 0.044715 * x * x * x);
    return x / (1.0 + exp(min(-2.0 * u, 80.0)));
}
