//! The scan of one head of a mixer: `S = exp(dt A) S + dt x (outer) B`, `y = S C + D x`.
//!
//! Two forms of the same function. *Step* carries the state from token to token. *Quadratic* never
//! forms the state within a stretch: `y_t` is the sum over the stretch's tokens `s <= t` of `exp(A
//! (dt_s+1 + ... + dt_t)) dt_s (C_t . B_s) x_s`, plus the decayed state from before the stretch.
//! For short chunks that is several times less work.

use super::super::simd::Simd;
use super::conv::Strided;
use super::elementwise::lanes;

/// Tokens per stretch of the quadratic form. Longer chunks are cut.
pub(in crate::engine::cpu) const STRETCH: usize = 32;

/// One head over a block of tokens.
pub(in crate::engine::cpu) struct Head<'a> {
    /// Channels of the head, `I / H`.
    pub width: usize,
    /// State entries per channel, `N`.
    pub state: usize,
    /// Decay rate, negative.
    pub a: f32,
    /// Weight of the input itself.
    pub d: f32,
    /// Step sizes after softplus, one per token.
    pub dt: &'a [f32],
    /// `[tokens][width]`
    pub x: Strided,
    /// `[tokens][state]`
    pub b: Strided,
    /// `[tokens][state]`
    pub c: Strided,
    /// Whether the state is zeroed before each token.
    pub reset: &'a [bool],
}

/// Runs the head: `s` (`[state][width]`) is its state before and after, `y` (`[tokens]`, `stride`
/// values apart) its output.
///
/// # Safety
/// The pointers of `head` and `y` must be valid for its tokens, and nobody else may touch `y`.
#[inline(always)]
pub(super) unsafe fn scan<S: Simd>(head: &Head, s: &mut [f32], y: *mut f32, stride: usize) {
    let tokens = head.dt.len();
    let mut start = 0;
    while start < tokens {
        let resets = &head.reset[start + 1..];
        let chunk = resets.iter().position(|&r| r).map_or(tokens - start, |n| n + 1);
        let end = start + chunk.min(STRETCH);
        if head.reset[start] {
            s.fill(0.0);
        }
        // The state is needed after the stretch unless the next token begins a chunk.
        let last = end == tokens || !head.reset[end];
        let whole = end - start;
        // Multiplications per token: the state's width times depth twice, or half the stretch times
        // the sum of the two (and the state again if there is one before or after).
        let by_step = 2 * head.state * head.width;
        let outside = usize::from(!head.reset[start]) + usize::from(last);
        let by_stretch =
            whole.div_ceil(2) * (head.state + head.width) + outside * head.state * head.width;
        unsafe {
            if whole > 1 && by_stretch < by_step {
                quadratic::<S>(head, start, end, last, s, y, stride);
            } else {
                for t in start..end {
                    step::<S>(head, t, s, y.add(t * stride));
                }
            }
        }
        start = end;
    }
}

#[inline(always)]
unsafe fn step<S: Simd>(head: &Head, t: usize, s: &mut [f32], y: *mut f32) {
    debug_assert_eq!(s.len(), head.state * head.width);
    unsafe {
        let dt = head.dt[t];
        let decay = S::splat((dt * head.a).exp());
        let [x, b, c] = [head.x, head.b, head.c].map(|p| p.at.add(t * p.stride));
        for (at, n) in lanes(head.width) {
            let input = S::load_n(x.add(at), n);
            let scaled = S::mul(input, S::splat(dt));
            let mut sum = S::mul(input, S::splat(head.d));
            for i in 0..head.state {
                let p = s.as_mut_ptr().add(i * head.width + at);
                let kept = S::mul(S::load_n(p, n), decay);
                let state = S::fma(scaled, S::splat(*b.add(i)), kept);
                S::store_n(p, state, n);
                sum = S::fma(state, S::splat(*c.add(i)), sum);
            }
            S::store_n(y.add(at), sum, n);
        }
    }
}

/// Tokens `start..end`, at most [`STRETCH`]. With `last`, the state is advanced to `end`; otherwise
/// it is left as it was, to be zeroed by the reset that follows.
#[inline(always)]
unsafe fn quadratic<S: Simd>(
    head: &Head,
    start: usize,
    end: usize,
    last: bool,
    s: &mut [f32],
    y: *mut f32,
    stride: usize,
) {
    let at = |p: Strided, t: usize| unsafe { p.at.add(t * p.stride) };
    // decay[i]: the exponent from before the stretch to token start + i.
    let mut decay = [0f32; STRETCH];
    let mut total = 0.0;
    for t in start..end {
        total += head.dt[t] * head.a;
        decay[t - start] = total;
    }
    let from_before = !head.reset[start];
    for t in start..end {
        let mut weight = [0f32; STRETCH];
        for i in start..=t {
            let product = unsafe { dot::<S>(at(head.c, t), at(head.b, i), head.state) };
            let kept = (decay[t - start] - decay[i - start]).exp();
            weight[i - start] = kept * head.dt[i] * product;
        }
        let before = decay[t - start].exp();
        for (c, n) in lanes(head.width) {
            unsafe {
                let own = S::load_n(at(head.x, t).add(c), n);
                let mut sum = S::mul(own, S::splat(head.d));
                for i in start..=t {
                    let x = S::load_n(at(head.x, i).add(c), n);
                    sum = S::fma(x, S::splat(weight[i - start]), sum);
                }
                if from_before {
                    let mut state = S::splat(0.0);
                    for i in 0..head.state {
                        let entry = S::load_n(s.as_ptr().add(i * head.width + c), n);
                        state = S::fma(entry, S::splat(*at(head.c, t).add(i)), state);
                    }
                    sum = S::fma(state, S::splat(before), sum);
                }
                S::store_n(y.add(t * stride + c), sum, n);
            }
        }
    }
    if !last {
        return;
    }
    let mut share = [0f32; STRETCH];
    for t in start..end {
        share[t - start] = (total - decay[t - start]).exp() * head.dt[t];
    }
    let kept = if from_before { total.exp() } else { 0.0 };
    for i in 0..head.state {
        for (c, n) in lanes(head.width) {
            unsafe {
                let p = s.as_mut_ptr().add(i * head.width + c);
                let mut state = S::mul(S::load_n(p, n), S::splat(kept));
                for t in start..end {
                    let b = share[t - start] * *at(head.b, t).add(i);
                    state = S::fma(S::load_n(at(head.x, t).add(c), n), S::splat(b), state);
                }
                S::store_n(p, state, n);
            }
        }
    }
}

#[inline(always)]
unsafe fn dot<S: Simd>(a: *const f32, b: *const f32, len: usize) -> f32 {
    unsafe {
        let mut sum = S::splat(0.0);
        for (c, n) in lanes(len) {
            sum = S::fma(S::load_n(a.add(c), n), S::load_n(b.add(c), n), sum);
        }
        S::sum(sum)
    }
}
