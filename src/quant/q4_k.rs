//! Q4_K: 256 values of 4 bits in eight groups of 32, each with a scale and a minimum, 144 bytes.
//! `x = d * scale * q - dmin * minimum`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `dmin`, f16 |
//! | 4..16 | scales and minima, see `k_scales` |
//! | 16..144 | `q`: 32 bytes for each two groups, the first in the lower nibbles |
//!
//! Layout: `block_q4_K` of ggml.

use half::f16;

use super::block::{clamp, f16_at, inverse, low_byte, max_abs, part, part_mut, round};
use super::fit::{self, SMALLEST, sums};
use super::k_scales::{k_scale_min, pack};

const GROUPS: usize = 8;
const GROUP: usize = 32;
/// Largest scale and minimum of a group.
const MOST: f32 = 63.0;
/// Range of `q`.
const Q: (f32, f32) = (0.0, 15.0);
/// Above the largest value that a block can hold, squares stay far from the end of f32.
const LARGEST: f32 = 65504.0 * MOST * Q.1;
/// Rounds of the search; twice as many reduce the root mean square error by a thousandth.
const ROUNDS: usize = 3;

type Groups = [[f32; GROUP]; GROUPS];

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at::<0, _>(block), f16_at::<2, _>(block));
    let scales = part::<4, 12, _>(block);
    let nibbles = part::<16, 128, _>(block).as_chunks::<GROUP>().0;
    for (group, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let (scale, min) = k_scale_min(scales, group);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for (out, &nibbles) in out.iter_mut().zip(&nibbles[group / 2]) {
            *out = scale * f32::from(nibbles >> (group % 2 * 4) & 15) - min;
        }
    }
}

pub(super) fn quantize(values: &[f32; 256], block: &mut [u8; 144]) {
    *block = [0; 144];
    let magnitude = max_abs(values);
    if !magnitude.is_finite() {
        *part_mut::<0, 2, _>(block) = f16::NAN.to_le_bytes();
        return;
    }
    if magnitude < SMALLEST {
        return;
    }
    let mut x: Groups = [[0.0; GROUP]; GROUPS];
    for (x, values) in x.iter_mut().zip(values.as_chunks().0) {
        *x = values.map(|v| clamp(v, -LARGEST, LARGEST));
    }
    search(&x).write(&x, block);
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

fn search(x: &Groups) -> Scales {
    let weights = x.each_ref().map(fit::weights);
    let mut ideal = [(0.0, 0.0); GROUPS];
    for ((ideal, x), weights) in ideal.iter_mut().zip(x).zip(&weights) {
        *ideal = fit::affine(x, weights, Q.1);
    }
    let (scale, min) =
        ideal.iter().fold((0.0f32, 0.0f32), |(s, m), ideal| (s.max(ideal.0), m.max(ideal.1)));

    let mut best = Scales::nearest(x, &weights, &ideal, scale / MOST, min / MOST);
    for _ in 1..ROUNDS {
        let (d, dmin) = best.refit(x, &weights);
        let next = Scales::nearest(x, &weights, &best.effective(), d, dmin);
        if next.error >= best.error {
            break;
        }
        best = next;
    }
    best
}

impl Scales {
    /// The scales and minima close to `ideal`, under `d` and `dmin`, with the least error.
    fn nearest(
        x: &Groups,
        weights: &Groups,
        ideal: &[(f32, f32); GROUPS],
        d: f32,
        dmin: f32,
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
                    let error = fit::error(x, weights, d * scale, dmin * min, Q);
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
    fn refit(&self, x: &Groups, weights: &Groups) -> (f32, f32) {
        let mut total = [0.0; 5];
        for (group, (scale, min)) in self.effective().into_iter().enumerate() {
            let q = fit::nearest(&x[group], scale, min, Q);
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

    fn write(&self, x: &Groups, block: &mut [u8; 144]) {
        *part_mut::<0, 2, _>(block) = self.d.to_le_bytes();
        *part_mut::<2, 2, _>(block) = self.dmin.to_le_bytes();
        *part_mut::<4, 12, _>(block) = pack(&self.scales, &self.mins);
        let nibbles = part_mut::<16, 128, _>(block).as_chunks_mut::<GROUP>().0;
        for (group, (scale, min)) in self.effective().into_iter().enumerate() {
            let q = fit::nearest(&x[group], scale, min, Q);
            for (nibbles, q) in nibbles[group / 2].iter_mut().zip(q) {
                *nibbles |= low_byte(q) << (group % 2 * 4);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::super::tests::{Numbers, rms_error, round_trip, samples};
    use super::*;

    /// The plain way: extremes at the ends of the range, everything rounded to nearest.
    fn plain(x: &[f32; 256]) -> Vec<f32> {
        let groups = x.as_chunks::<GROUP>().0;
        let extremes = |x: &[f32; GROUP]| {
            x.iter().fold((0.0f32, x[0]), |(low, high), &x| (low.min(x), high.max(x)))
        };
        let scales: Vec<f32> =
            groups.iter().map(|x| (extremes(x).1 - extremes(x).0) / Q.1).collect();
        let mins: Vec<f32> = groups.iter().map(|x| -extremes(x).0).collect();
        let step = |of: &[f32]| {
            f16::from_f32(of.iter().fold(0.0f32, |most, &v| most.max(v)) / MOST).to_f32()
        };
        let (d, dmin) = (step(&scales), step(&mins));
        let mut back = Vec::new();
        for ((x, scale), min) in groups.iter().zip(scales).zip(mins) {
            let scale = d * (scale * inverse(d)).round().min(MOST);
            let min = dmin * (min * inverse(dmin)).round().min(MOST);
            let q = x.map(|x| ((x + min) * inverse(scale)).round().clamp(Q.0, Q.1));
            back.extend(q.map(|q| scale * q - min));
        }
        back
    }

    #[test]
    fn the_search_beats_plain_rounding() {
        for (name, values) in samples() {
            let plain: Vec<f32> = values.as_chunks().0.iter().flat_map(plain).collect();
            let plain = rms_error(&values, &plain);
            let searched = rms_error(&values, &round_trip(DType::Q4_K, &values));
            assert!(searched <= 0.93 * plain, "{name}: {searched:e} and {plain:e}");
        }
    }

    #[test]
    fn nibbles_are_written_where_they_are_read() {
        let mut block = [0; 144];
        let values = std::array::from_fn(|i| (i * 7 % 16) as f32);
        quantize(&values, &mut block);
        let mut back = [0.0; 256];
        dequantize(&block, &mut back);
        for (x, y) in values.iter().zip(back) {
            assert!((x - y).abs() < 0.02, "{x} came back as {y}");
        }
    }

    #[test]
    fn what_was_read_is_written_again() {
        let mut numbers = Numbers(3);
        let values: Vec<f32> = (0..1024).map(|_| numbers.normal()).collect();
        let once = round_trip(DType::Q4_K, &values);
        let twice = round_trip(DType::Q4_K, &once);
        assert!(rms_error(&once, &twice) < 0.02 * rms_error(&values, &once));
    }
}
