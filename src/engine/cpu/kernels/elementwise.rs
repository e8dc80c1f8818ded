//! RMSNorm, gates, and logit soft-capping.

use super::super::simd::{LANES, Simd};

/// `out = x / sqrt(mean(x^2) + eps) * weight`
///
/// # Safety
/// `x` must be readable and `out` writable for as many values as there are weights. Both may be the
/// same.
#[inline(always)]
pub(super) unsafe fn rms_norm<S: Simd>(x: *const f32, weight: &[f32], eps: f32, out: *mut f32) {
    unsafe {
        let mut squares = S::splat(0.0);
        for (c, n) in lanes(weight.len()) {
            let v = S::load_n(x.add(c), n);
            squares = S::fma(v, v, squares);
        }
        let mean = S::sum(squares) / weight.len() as f32;
        let factor = S::splat(1.0 / (mean + eps).sqrt());
        for (c, n) in lanes(weight.len()) {
            let v = S::mul(S::load_n(x.add(c), n), factor);
            let v = S::mul(v, S::load_n(weight.as_ptr().add(c), n));
            S::store_n(out.add(c), v, n);
        }
    }
}

/// `out = silu(gate) * up`
#[inline(always)]
pub(super) unsafe fn swiglu<S: Simd>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(gate.len() == up.len() && gate.len() == out.len());
    for (c, n) in lanes(gate.len()) {
        unsafe {
            let gate = silu::<S>(S::load_n(gate.as_ptr().add(c), n));
            let up = S::load_n(up.as_ptr().add(c), n);
            S::store_n(out.as_mut_ptr().add(c), S::mul(gate, up), n);
        }
    }
}

/// `out = gelu(gate) * up`, in the tanh approximation.
#[inline(always)]
pub(super) unsafe fn geglu<S: Simd>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(gate.len() == up.len() && gate.len() == out.len());
    for (c, n) in lanes(gate.len()) {
        unsafe {
            let gate = gelu::<S>(S::load_n(gate.as_ptr().add(c), n));
            let up = S::load_n(up.as_ptr().add(c), n);
            S::store_n(out.as_mut_ptr().add(c), S::mul(gate, up), n);
        }
    }
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, which is `x / (1 + e^-2y)` where `y` is the
/// argument of tanh.
#[inline(always)]
unsafe fn gelu<S: Simd>(x: S::F) -> S::F {
    // sqrt(8 / pi)
    const TWICE: f32 = 1.595_769;
    unsafe {
        let square = S::mul(x, x);
        let slope = S::fma(square, S::splat(-0.044_715 * TWICE), S::splat(-TWICE));
        let e = S::exp(S::mul(x, slope));
        S::div(x, S::add(S::splat(1.0), e))
    }
}

/// `x = cap * tanh(x / cap)`, which is `cap - 2 cap / (1 + e^(2 x / cap))`.
#[inline(always)]
pub(super) unsafe fn cap<S: Simd>(x: &mut [f32], cap: f32) {
    for (c, n) in lanes(x.len()) {
        unsafe {
            let v = S::load_n(x.as_ptr().add(c), n);
            let e = S::exp(S::mul(v, S::splat(2.0 / cap)));
            let rest = S::div(S::splat(2.0 * cap), S::add(S::splat(1.0), e));
            // The exponential clamps NaN; the product with 0 restores it.
            let capped = S::fma(v, S::splat(0.0), S::sub(S::splat(cap), rest));
            S::store_n(x.as_mut_ptr().add(c), capped, n);
        }
    }
}

/// `x / (1 + e^-x)`
#[inline(always)]
pub(super) unsafe fn silu<S: Simd>(x: S::F) -> S::F {
    unsafe {
        let e = S::exp(S::sub(S::splat(0.0), x));
        S::div(x, S::add(S::splat(1.0), e))
    }
}

/// Starts and lengths of the pieces of at most [`LANES`] values that `len` values split into.
#[inline(always)]
pub(super) fn lanes(len: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(LANES).map(move |c| (c, (len - c).min(LANES)))
}
