//! The search for the scales of Q3_K and Q6_K: 256 values in sixteen groups of 16.
//! `x = d * scale * q`, all of which have a sign.

use half::f16;

use super::block::{clamp, inverse, low_byte, max_abs, round};
use super::fit::{self, SMALLEST, sums};

const GROUPS: usize = 16;
pub(super) const GROUP: usize = 16;

type Groups = [[f32; GROUP]; GROUPS];

/// The ranges of a format.
#[derive(Clone, Copy)]
pub(super) struct Ranges {
    /// Of a group's scale.
    pub(super) scale: (f32, f32),
    /// Of `q`.
    pub(super) q: (f32, f32),
}

/// What a block is made of.
pub(super) struct Fitted {
    pub(super) d: f16,
    pub(super) scales: [i8; GROUPS],
    /// `q` less the least one.
    pub(super) q: [[u8; GROUP]; GROUPS],
}

/// Numbers for the values of a block, under the scales with the least weighted squared error.
pub(super) fn fit(values: &[f32; 256], ranges: Ranges) -> Fitted {
    let mut fitted = Fitted { d: f16::ZERO, scales: [0; GROUPS], q: [[0; GROUP]; GROUPS] };
    let magnitude = max_abs(values);
    if !magnitude.is_finite() {
        fitted.d = f16::NAN;
        return fitted;
    }
    if magnitude < SMALLEST {
        return fitted;
    }
    // Above the largest value that a block can hold, squares stay far from the end of f32.
    let largest = f16::MAX.to_f32() * ranges.scale.0 * ranges.q.0;
    let mut x: Groups = [[0.0; GROUP]; GROUPS];
    for (x, values) in x.iter_mut().zip(values.as_chunks().0) {
        *x = values.map(|v| clamp(v, -largest, largest));
    }
    let scales = search(&x, ranges);
    fitted.d = scales.d;
    fitted.scales = scales.scales.map(|scale| low_byte(scale) as i8);
    for ((group, q), scale) in x.iter().zip(&mut fitted.q).zip(scales.effective()) {
        *q = fit::nearest(group, scale, 0.0, ranges.q).map(|q| low_byte(q - ranges.q.0));
    }
    fitted
}

/// The scales of a block.
#[derive(Clone, Copy)]
struct Scales {
    d: f16,
    scales: [f32; GROUPS],
    /// The remaining weighted squared error.
    error: f32,
}

fn search(x: &Groups, ranges: Ranges) -> Scales {
    let weights = x.each_ref().map(fit::weights);
    let mut ideal = [0.0; GROUPS];
    for ((ideal, x), weights) in ideal.iter_mut().zip(x).zip(&weights) {
        *ideal = fit::linear(x, weights, ranges.q);
    }
    let extreme = ideal.iter().fold(0.0f32, |max, &s| if s.abs() > max.abs() { s } else { max });

    let first = Scales::nearest(x, &weights, ranges, &ideal, extreme / ranges.scale.0);
    let next = |best: &Scales| {
        let d = best.refit(x, &weights, ranges);
        Scales::nearest(x, &weights, ranges, &best.effective(), d)
    };
    fit::improved(first, next, |scales| scales.error)
}

impl Scales {
    /// The scales close to `ideal`, under `d`, with the least error.
    fn nearest(
        x: &Groups,
        weights: &Groups,
        ranges: Ranges,
        ideal: &[f32; GROUPS],
        d: f32,
    ) -> Scales {
        let (low, high) = ranges.scale;
        let d = fit::block_scale(d, -low);
        let mut found = Scales { d, scales: [0.0; GROUPS], error: 0.0 };
        let d = d.to_f32();
        let per_d = inverse(d);
        for group in 0..GROUPS {
            let (x, weights) = (&x[group], &weights[group]);
            let scale = round(clamp(ideal[group] * per_d, low, high));
            let mut least = f32::INFINITY;
            for scale in [scale - 1.0, scale, scale + 1.0] {
                let scale = clamp(scale, low, high);
                let error = fit::error(x, weights, d * scale, 0.0, ranges.q);
                if error < least {
                    least = error;
                    found.scales[group] = scale;
                }
            }
            found.error += least;
        }
        found
    }

    /// Scale of each group.
    fn effective(&self) -> [f32; GROUPS] {
        let d = self.d.to_f32();
        self.scales.map(|scale| d * scale)
    }

    /// The best `d` for the numbers that these scales lead to.
    fn refit(&self, x: &Groups, weights: &Groups, ranges: Ranges) -> f32 {
        let (mut total_aa, mut total_ax) = (0.0, 0.0);
        for (group, scale) in self.effective().into_iter().enumerate() {
            let q = fit::nearest(&x[group], scale, 0.0, ranges.q);
            let [aa, ax] = sums::<GROUP, 2>(|i| {
                let a = self.scales[group] * q[i];
                [weights[group][i] * a * a, weights[group][i] * a * x[group][i]]
            });
            total_aa += aa;
            total_ax += ax;
        }
        if total_aa > 0.0 { total_ax / total_aa } else { self.d.to_f32() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::super::tests::{rms_error, round_trip, samples};
    use super::*;

    /// The plain way: the value of largest magnitude at the end of the range, everything rounded to nearest.
    fn plain(x: &[f32; 256], ranges: Ranges) -> Vec<f32> {
        let extreme =
            |x: &[f32]| x.iter().fold(0.0f32, |m, &x| if x.abs() > m.abs() { x } else { m });
        let groups = x.as_chunks::<GROUP>().0;
        let scales: Vec<f32> = groups.iter().map(|x| extreme(x) / ranges.q.0).collect();
        let d = f16::from_f32(extreme(&scales) / ranges.scale.0).to_f32();
        let mut back = Vec::new();
        for (x, scale) in groups.iter().zip(scales) {
            let scale = d * (scale * inverse(d)).round().clamp(ranges.scale.0, ranges.scale.1);
            back.extend(
                x.map(|x| scale * (x * inverse(scale)).round().clamp(ranges.q.0, ranges.q.1)),
            );
        }
        back
    }

    #[test]
    fn the_search_beats_plain_rounding() {
        let of_3_bits = Ranges { scale: (-32.0, 31.0), q: (-4.0, 3.0) };
        let of_6_bits = Ranges { scale: (-128.0, 127.0), q: (-32.0, 31.0) };
        for (name, values) in samples() {
            for (dtype, ranges) in [(DType::Q3_K, of_3_bits), (DType::Q6_K, of_6_bits)] {
                let plain: Vec<f32> =
                    values.as_chunks().0.iter().flat_map(|x| plain(x, ranges)).collect();
                let plain = rms_error(&values, &plain);
                let searched = rms_error(&values, &round_trip(dtype, &values));
                assert!(searched <= 0.98 * plain, "{dtype}, {name}: {searched:e} and {plain:e}");
            }
        }
    }
}
