//! The search for scales that `affine`, `linear` and `iq4_nl` share: weighted least squares.
//!
//! Given the whole numbers `q`, the best scale and minimum are a linear regression; given scale and
//! minimum, the best `q` are those nearest. Neither step alone finds the best pair, so a range of
//! initial guesses is tried, as is common practice.

use half::f16;

use super::block::{clamp, inverse, round};

/// Groups of 32 or 16 values are summed in this many lanes, which the compiler turns into vectors.
const LANES: usize = 8;

/// Below half of the smallest f16 no block can hold anything but zero.
pub(super) const SMALLEST: f32 = 2.980_232_2e-8;

/// How much the error of each value counts: more for values that stand out in their group, since
/// they dominate a matrix product.
pub(super) fn weights<const N: usize>(values: &[f32; N]) -> [f32; N] {
    let [squares] = sums::<N, 1>(|i| [values[i] * values[i]]);
    let rms = (squares / N as f32).sqrt();
    values.map(|v| rms + v.abs())
}

/// The best of `first` and what `next` makes of it again and again, until the error no longer falls:
/// at most this many rounds; twice as many reduce the root mean square error by a thousandth.
pub(super) fn improved<T>(first: T, next: impl Fn(&T) -> T, error: impl Fn(&T) -> f32) -> T {
    const ROUNDS: usize = 3;
    let mut best = first;
    for _ in 1..ROUNDS {
        let found = next(&best);
        if error(&found) >= error(&best) {
            break;
        }
        best = found;
    }
    best
}

/// Sums the `S` terms that `terms` gives for each `i` in `0..N`.
#[inline(always)]
pub(super) fn sums<const N: usize, const S: usize>(terms: impl Fn(usize) -> [f32; S]) -> [f32; S] {
    let mut lanes = [[0.0; LANES]; S];
    for first in (0..N).step_by(LANES) {
        for lane in 0..LANES {
            let terms = terms(first + lane);
            for (lanes, term) in lanes.iter_mut().zip(terms) {
                lanes[lane] += term;
            }
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}

/// The whole numbers in `low..=high` nearest to `(x + min) / scale`, as floats.
#[inline(always)]
pub(super) fn nearest<const N: usize>(
    x: &[f32; N],
    scale: f32,
    min: f32,
    (low, high): (f32, f32),
) -> [f32; N] {
    let inverse = inverse(scale);
    x.map(|x| round(clamp((x + min) * inverse, low, high)))
}

/// The weighted squared error of `scale * q - min` with the nearest `q` in `range`.
#[inline(always)]
pub(super) fn error<const N: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    scale: f32,
    min: f32,
    range: (f32, f32),
) -> f32 {
    let q = nearest(x, scale, min, range);
    let [error] = sums::<N, 1>(|i| {
        let error = scale * q[i] - min - x[i];
        [weights[i] * error * error]
    });
    error
}

/// Initial guesses for a scale: they put the extremes of a group at the last level plus `first`,
/// increasing by `step`. Below the last level they clip nothing and leave levels unused; beyond it
/// they clip the extremes for the benefit of the rest.
struct Guesses {
    first: f32,
    step: f32,
    count: u8,
}

// Twice as many reduce the root mean square error by less than a hundredth (for normal and
// heavy-tailed values and for the embedding of a trained model).
const AFFINE: Guesses = Guesses { first: -2.0, step: 0.2, count: 20 };
const LINEAR: Guesses = Guesses { first: -4.8, step: 0.6, count: 12 };
/// For ranges of a few numbers, where a step is a large part of them.
const COARSE: Guesses = Guesses { first: -1.0, step: 0.125, count: 16 };

impl Guesses {
    fn reaches(&self, last: f32) -> impl Iterator<Item = f32> {
        (0..self.count).map(move |i| last + self.first + self.step * f32::from(i))
    }
}

/// `scale` and `min`, neither negative, so that `scale * q - min` with `q` in `0..=last`
/// approximates `x`.
pub(super) fn affine<const N: usize>(x: &[f32; N], weights: &[f32; N], last: f32) -> (f32, f32) {
    let (low, high) = x.iter().fold((0.0f32, x[0]), |(low, high), &x| (low.min(x), high.max(x)));
    if high <= low {
        return (0.0, -low);
    }
    // Relative to the lowest value, so that no precision is lost if all are far from zero.
    let y = x.map(|x| x - low);
    let [w, wy, wyy] = sums::<N, 3>(|i| [weights[i], weights[i] * y[i], weights[i] * y[i] * y[i]]);

    let mut best = ((high - low) / last, 0.0);
    let mut least = f32::INFINITY;
    for reach in AFFINE.reaches(last) {
        let inverse = reach / (high - low);
        let [wq, wqq, wqy] = sums::<N, 3>(|i| {
            let q = round(clamp(y[i] * inverse, 0.0, last));
            let wq = weights[i] * q;
            [wq, wq * q, wq * y[i]]
        });
        let determinant = w * wqq - wq * wq;
        if determinant <= 0.0 {
            continue;
        }
        let mut scale = (w * wqy - wq * wy) / determinant;
        let mut offset = (wqq * wy - wq * wqy) / determinant;
        if offset > -low {
            // The minimum would be negative.
            offset = -low;
            scale = (wqy - offset * wq) / wqq;
        }
        let error = wyy - 2.0 * (scale * wqy + offset * wy)
            + scale * (scale * wqq + 2.0 * offset * wq)
            + offset * offset * w;
        if scale > 0.0 && error < least {
            least = error;
            best = (scale, offset);
        }
    }
    let (scale, offset) = best;
    (scale, -low - offset)
}

/// A scale, of either sign, so that `scale * q` with `q` in `low..=high` approximates `x`.
pub(super) fn linear<const N: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    (low, high): (f32, f32),
) -> f32 {
    let extreme = x.iter().fold(0.0f32, |most, &x| if x.abs() > most.abs() { x } else { most });
    if extreme == 0.0 {
        return 0.0;
    }
    let guesses = if high < 8.0 { COARSE } else { LINEAR };
    let mut best = extreme / low;
    let mut most = 0.0;
    for end in [low, high] {
        for reach in guesses.reaches(end.abs()) {
            let inverse = reach.copysign(end) / extreme;
            let [wqx, wqq] = sums::<N, 2>(|i| {
                let q = round(clamp(x[i] * inverse, low, high));
                let wq = weights[i] * q;
                [wq * x[i], wq * q]
            });
            // By how much the best scale for these `q` reduces the weighted square of `x`.
            let gain = wqx * wqx / wqq;
            if gain > most {
                most = gain;
                best = wqx / wqq;
            }
        }
    }
    best
}

/// The f16 nearest to `value`, but no infinity; if f16 is too coarse for `most * value` to be
/// reached with whole numbers up to `most`, the next larger in magnitude.
pub(super) fn block_scale(value: f32, most: f32) -> f16 {
    let magnitude = value.abs();
    let mut scale = f16::from_f32(magnitude);
    if scale.to_f32() * (most + 0.5) < magnitude * most {
        scale = f16::from_bits(scale.to_bits() + 1);
    }
    if scale > f16::MAX {
        scale = f16::MAX;
    }
    if value < 0.0 { -scale } else { scale }
}
