//! The search for the scales and minima of Q4_K and Q5_K: 256 values in eight groups of 32.
//! `x = d * scale * q - dmin * minimum`.

use half::f16;

use super::block::{clamp, inverse, low_byte, max_abs, part_mut, round};
use super::fit::{self, SMALLEST, sums};
use super::k_scales::pack;

const GROUPS: usize = 8;
pub(super) const GROUP: usize = 32;
/// Largest scale and minimum of a group.
const MOST: f32 = 63.0;

type Groups = [[f32; GROUP]; GROUPS];

/// What a block is made of.
pub(super) struct Fitted {
    /// Its first bytes: `d`, `dmin`, scales and minima.
    pub(super) header: [u8; 16],
    pub(super) q: [[u8; GROUP]; GROUPS],
}

/// Numbers in `0..=last` for the values of a block, under the scales with the least weighted squared
/// error.
pub(super) fn fit(values: &[f32; 256], last: f32) -> Fitted {
    let mut fitted = Fitted { header: [0; 16], q: [[0; GROUP]; GROUPS] };
    let magnitude = max_abs(values);
    if !magnitude.is_finite() {
        *part_mut::<0, 2, _>(&mut fitted.header) = f16::NAN.to_le_bytes();
        return fitted;
    }
    if magnitude < SMALLEST {
        return fitted;
    }
    // Above the largest value that a block can hold, squares stay far from the end of f32.
    let largest = f16::MAX.to_f32() * MOST * last;
    let mut x: Groups = [[0.0; GROUP]; GROUPS];
    for (x, values) in x.iter_mut().zip(values.as_chunks().0) {
        *x = values.map(|v| clamp(v, -largest, largest));
    }
    let scales = search(&x, (0.0, last));
    scales.write(&mut fitted.header);
    for ((group, q), (scale, min)) in x.iter().zip(&mut fitted.q).zip(scales.effective()) {
        *q = fit::nearest(group, scale, min, (0.0, last)).map(low_byte);
    }
    fitted
}

/// The scales of a block.
#[derive(Clone, Copy)]
struct Scales {
    d: f16,
    dmin: f16,
    scales: [u8; GROUPS],
    mins: [u8; GROUPS],
    /// The remaining weighted squared error.
    error: f32,
}

fn search(x: &Groups, range: (f32, f32)) -> Scales {
    let weights = x.each_ref().map(fit::weights);
    let mut ideal = [(0.0, 0.0); GROUPS];
    for ((ideal, x), weights) in ideal.iter_mut().zip(x).zip(&weights) {
        *ideal = fit::affine(x, weights, range.1);
    }
    let (scale, min) =
        ideal.iter().fold((0.0f32, 0.0f32), |(s, m), ideal| (s.max(ideal.0), m.max(ideal.1)));

    let first = Scales::nearest(x, &weights, range, &ideal, (scale / MOST, min / MOST));
    let next = |best: &Scales| {
        let steps = best.refit(x, &weights, range);
        Scales::nearest(x, &weights, range, &best.effective(), steps)
    };
    fit::improved(first, next, |scales| scales.error)
}

impl Scales {
    /// The scales and minima close to `ideal`, under `d` and `dmin`, with the least error.
    fn nearest(
        x: &Groups,
        weights: &Groups,
        range: (f32, f32),
        ideal: &[(f32, f32); GROUPS],
        (d, dmin): (f32, f32),
    ) -> Scales {
        let (d, dmin) = (fit::block_scale(d, MOST), fit::block_scale(dmin, MOST));
        let mut found = Scales { d, dmin, scales: [0; GROUPS], mins: [0; GROUPS], error: 0.0 };
        let (d, dmin) = (d.to_f32(), dmin.to_f32());
        let (per_d, per_dmin) = (inverse(d), inverse(dmin));
        for group in 0..GROUPS {
            let (x, weights) = (&x[group], &weights[group]);
            let scale = round(clamp(ideal[group].0 * per_d, 0.0, MOST));
            let min = round(clamp(ideal[group].1 * per_dmin, 0.0, MOST));
            let mut least = f32::INFINITY;
            for min in [min - 1.0, min, min + 1.0] {
                for scale in [scale - 1.0, scale, scale + 1.0] {
                    let (scale, min) = (clamp(scale, 0.0, MOST), clamp(min, 0.0, MOST));
                    let error = fit::error(x, weights, d * scale, dmin * min, range);
                    if error < least {
                        least = error;
                        found.scales[group] = low_byte(scale);
                        found.mins[group] = low_byte(min);
                    }
                }
            }
            found.error += least;
        }
        found
    }

    /// Scale and minimum of each group.
    fn effective(&self) -> [(f32, f32); GROUPS] {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        std::array::from_fn(|g| (d * f32::from(self.scales[g]), dmin * f32::from(self.mins[g])))
    }

    /// The best `d` and `dmin` for the numbers that these scales lead to.
    fn refit(&self, x: &Groups, weights: &Groups, range: (f32, f32)) -> (f32, f32) {
        let mut total = [0.0; 5];
        for (group, (scale, min)) in self.effective().into_iter().enumerate() {
            let q = fit::nearest(&x[group], scale, min, range);
            let (scale, min) = (f32::from(self.scales[group]), f32::from(self.mins[group]));
            let (x, weights) = (&x[group], &weights[group]);
            let sums = sums::<GROUP, 5>(|i| {
                let (w, a) = (weights[i], scale * q[i]);
                [w * a * a, w * a * min, w * min * min, w * a * x[i], w * min * x[i]]
            });
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        let [aa, am, mm, ax, mx] = total;
        let determinant = aa * mm - am * am;
        let (d, dmin) = if determinant > 0.0 {
            ((ax * mm - mx * am) / determinant, (ax * am - mx * aa) / determinant)
        } else if aa > 0.0 {
            (ax / aa, 0.0)
        } else {
            (0.0, -mx / mm)
        };
        (d.max(0.0), dmin.max(0.0))
    }

    fn write(&self, header: &mut [u8; 16]) {
        *part_mut::<0, 2, _>(header) = self.d.to_le_bytes();
        *part_mut::<2, 2, _>(header) = self.dmin.to_le_bytes();
        *part_mut::<4, 12, _>(header) = pack(&self.scales, &self.mins);
    }
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::super::tests::{rms_error, round_trip, samples};
    use super::*;

    /// The plain way: extremes at the ends of the range, everything rounded to nearest.
    fn plain(x: &[f32; 256], last: f32) -> Vec<f32> {
        let groups = x.as_chunks::<GROUP>().0;
        let extremes = |x: &[f32; GROUP]| {
            x.iter().fold((0.0f32, x[0]), |(low, high), &x| (low.min(x), high.max(x)))
        };
        let scales: Vec<f32> =
            groups.iter().map(|x| (extremes(x).1 - extremes(x).0) / last).collect();
        let mins: Vec<f32> = groups.iter().map(|x| -extremes(x).0).collect();
        let step = |of: &[f32]| {
            f16::from_f32(of.iter().fold(0.0f32, |most, &v| most.max(v)) / MOST).to_f32()
        };
        let (d, dmin) = (step(&scales), step(&mins));
        let mut back = Vec::new();
        for ((x, scale), min) in groups.iter().zip(scales).zip(mins) {
            let scale = d * (scale * inverse(d)).round().min(MOST);
            let min = dmin * (min * inverse(dmin)).round().min(MOST);
            let q = x.map(|x| ((x + min) * inverse(scale)).round().clamp(0.0, last));
            back.extend(q.map(|q| scale * q - min));
        }
        back
    }

    #[test]
    fn the_search_beats_plain_rounding() {
        for (name, values) in samples() {
            for (dtype, last) in [(DType::Q4_K, 15.0), (DType::Q5_K, 31.0)] {
                let plain: Vec<f32> =
                    values.as_chunks().0.iter().flat_map(|x| plain(x, last)).collect();
                let plain = rms_error(&values, &plain);
                let searched = rms_error(&values, &round_trip(dtype, &values));
                assert!(searched <= 0.93 * plain, "{dtype}, {name}: {searched:e} and {plain:e}");
            }
        }
    }
}
