//! RMSNorm and SwiGLU.

use super::super::simd::{LANES, Simd};

/// `out = x / sqrt(mean(x^2) + eps) * weight`
#[inline(always)]
pub(super) unsafe fn rms_norm<S: Simd>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == weight.len() && x.len() == out.len());
    unsafe {
        let mut squares = S::splat(0.0);
        for (c, n) in lanes(x.len()) {
            let v = S::load_n(x.as_ptr().add(c), n);
            squares = S::fma(v, v, squares);
        }
        let mean = S::sum(squares) / x.len() as f32;
        let factor = S::splat(1.0 / (mean + eps).sqrt());
        for (c, n) in lanes(x.len()) {
            let v = S::mul(S::load_n(x.as_ptr().add(c), n), factor);
            let v = S::mul(v, S::load_n(weight.as_ptr().add(c), n));
            S::store_n(out.as_mut_ptr().add(c), v, n);
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

/// `x / (1 + e^-x)`
#[inline(always)]
pub(super) unsafe fn silu<S: Simd>(x: S::F) -> S::F {
    unsafe {
        let e = S::exp(S::sub(S::splat(0.0), x));
        S::div(x, S::add(S::splat(1.0), e))
    }
}

/// Starts and lengths of the pieces of at most [`LANES`] values that make up `len`.
#[inline(always)]
pub(super) fn lanes(len: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(LANES).map(move |c| (c, (len - c).min(LANES)))
}
