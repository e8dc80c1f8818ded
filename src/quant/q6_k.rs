//! Q6_K: 256 values of 6 bits in sixteen groups of 16, each with a scale, 210 bytes.
//! `x = d * scale * (q - 32)`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..128 | bits 0..4 of `q`: 64 bytes for each half of the values |
//! | 128..192 | bits 4..6 of `q`: 32 bytes for each half |
//! | 192..208 | scales, i8 |
//! | 208..210 | `d`, f16 |
//!
//! Value `32 * k + i` of a half (k < 4, i < 32) has its lower bits in byte `32 * (k % 2) + i`, in
//! the lower nibble if k < 2, and its upper bits in byte `i` at bit `2 * k`.
//!
//! Layout: `block_q6_K` of ggml.

use half::f16;

use super::block::{clamp, f16_at, inverse, low_byte, max_abs, part, part_mut, round};
use super::fit::{self, SMALLEST, sums};

const GROUPS: usize = 16;
const GROUP: usize = 16;
/// Range of a group's scale.
const SCALE: (f32, f32) = (-128.0, 127.0);
/// Range of `q - 32`.
const Q: (f32, f32) = (-32.0, 31.0);
/// Above the largest value that a block can hold, squares stay far from the end of f32.
const LARGEST: f32 = 65504.0 * 128.0 * 32.0;
/// Rounds of the search; twice as many reduce the root mean square error by a thousandth.
const ROUNDS: usize = 3;

type Groups = [[f32; GROUP]; GROUPS];

#[inline(always)]
pub(super) fn dequantize(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at::<208, _>(block);
    let lower = part::<0, 128, _>(block).as_chunks::<64>().0;
    let upper = part::<128, 64, _>(block).as_chunks::<32>().0;
    let scales = part::<192, 16, _>(block).map(|scale| d * f32::from(scale as i8));
    for (half, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        for (k, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let lower = &lower[half].as_chunks::<32>().0[k % 2];
            let scales = &scales[8 * half + 2 * k..][..2];
            for i in 0..32 {
                let q = lower[i] >> (k / 2 * 4) & 15 | (upper[half][i] >> (2 * k) & 3) << 4;
                out[i] = scales[i / 16] * f32::from(q as i8 - 32);
            }
        }
    }
}

pub(super) fn quantize(values: &[f32; 256], block: &mut [u8; 210]) {
    *block = [0; 210];
    let magnitude = max_abs(values);
    if !magnitude.is_finite() {
        *part_mut::<208, 2, _>(block) = f16::NAN.to_le_bytes();
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
    scales: [f32; GROUPS],
    /// The remaining weighted squared error.
    error: f32,
}

fn search(x: &Groups) -> Scales {
    let weights = x.each_ref().map(fit::weights);
    let mut ideal = [0.0; GROUPS];
    for ((ideal, x), weights) in ideal.iter_mut().zip(x).zip(&weights) {
        *ideal = fit::linear(x, weights, Q);
    }
    let extreme = ideal.iter().fold(0.0f32, |max, &s| if s.abs() > max.abs() { s } else { max });

    let mut best = Scales::nearest(x, &weights, &ideal, extreme / SCALE.0);
    for _ in 1..ROUNDS {
        let d = best.refit(x, &weights);
        let next = Scales::nearest(x, &weights, &best.effective(), d);
        if next.error >= best.error {
            break;
        }
        best = next;
    }
    best
}

impl Scales {
    /// The scales close to `ideal`, under `d`, with the least error.
    fn nearest(x: &Groups, weights: &Groups, ideal: &[f32; GROUPS], d: f32) -> Scales {
        let d = fit::block_scale(d, -SCALE.0);
        let mut found = Scales { d, scales: [0.0; GROUPS], error: 0.0 };
        let d = d.to_f32();
        let per_d = inverse(d);
        for group in 0..GROUPS {
            let (x, weights) = (&x[group], &weights[group]);
            let scale = round(clamp(ideal[group] * per_d, SCALE.0, SCALE.1));
            let mut least = f32::INFINITY;
            for scale in [scale - 1.0, scale, scale + 1.0] {
                let scale = clamp(scale, SCALE.0, SCALE.1);
                let error = fit::error(x, weights, d * scale, 0.0, Q);
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
    fn refit(&self, x: &Groups, weights: &Groups) -> f32 {
        let (mut total_aa, mut total_ax) = (0.0, 0.0);
        for (group, scale) in self.effective().into_iter().enumerate() {
            let q = fit::nearest(&x[group], scale, 0.0, Q);
            let [aa, ax] = sums::<GROUP, 2>(|i| {
                let a = self.scales[group] * q[i];
                [weights[group][i] * a * a, weights[group][i] * a * x[group][i]]
            });
            total_aa += aa;
            total_ax += ax;
        }
        if total_aa > 0.0 { total_ax / total_aa } else { self.d.to_f32() }
    }

    fn write(&self, x: &Groups, block: &mut [u8; 210]) {
        *part_mut::<192, 16, _>(block) = self.scales.map(low_byte);
        *part_mut::<208, 2, _>(block) = self.d.to_le_bytes();
        for (group, scale) in self.effective().into_iter().enumerate() {
            let q = fit::nearest(&x[group], scale, 0.0, Q);
            for (i, q) in q.into_iter().enumerate() {
                let q = low_byte(q + 32.0);
                let at = GROUP * group + i;
                let (half, k, i) = (at / 128, at / 32 % 4, at % 32);
                block[64 * half + 32 * (k % 2) + i] |= (q & 15) << (k / 2 * 4);
                block[128 + 32 * half + i] |= q >> 4 << (2 * k);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::super::tests::{Numbers, rms_error, round_trip, samples};
    use super::*;

    /// The plain way: the value of largest magnitude at -32, everything rounded to nearest.
    fn plain(x: &[f32; 256]) -> Vec<f32> {
        let extreme =
            |x: &[f32]| x.iter().fold(0.0f32, |m, &x| if x.abs() > m.abs() { x } else { m });
        let groups = x.as_chunks::<GROUP>().0;
        let scales: Vec<f32> = groups.iter().map(|x| extreme(x) / Q.0).collect();
        let d = f16::from_f32(extreme(&scales) / SCALE.0).to_f32();
        let mut back = Vec::new();
        for (x, scale) in groups.iter().zip(scales) {
            let scale = d * (scale * inverse(d)).round().clamp(SCALE.0, SCALE.1);
            back.extend(x.map(|x| scale * (x * inverse(scale)).round().clamp(Q.0, Q.1)));
        }
        back
    }

    #[test]
    fn the_search_beats_plain_rounding() {
        for (name, values) in samples() {
            let plain: Vec<f32> = values.as_chunks().0.iter().flat_map(plain).collect();
            let plain = rms_error(&values, &plain);
            let searched = rms_error(&values, &round_trip(DType::Q6_K, &values));
            assert!(searched <= 0.96 * plain, "{name}: {searched:e} and {plain:e}");
        }
    }

    #[test]
    fn bits_are_written_where_they_are_read() {
        let mut block = [0; 210];
        let values = std::array::from_fn(|i| (i * 37 % 64) as f32 - 32.0);
        quantize(&values, &mut block);
        let mut back = [0.0; 256];
        dequantize(&block, &mut back);
        for (x, y) in values.iter().zip(back) {
            assert!((x - y).abs() < 0.5, "{x} came back as {y}");
        }
    }

    #[test]
    fn what_was_read_is_written_again() {
        let mut numbers = Numbers(3);
        let values: Vec<f32> = (0..1024).map(|_| numbers.normal()).collect();
        let once = round_trip(DType::Q6_K, &values);
        let twice = round_trip(DType::Q6_K, &once);
        assert!(rms_error(&once, &twice) < 0.02 * rms_error(&values, &once));
    }
}
