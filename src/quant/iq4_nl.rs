//! IQ4_NL: 32 values of 4 bits under one scale, 18 bytes. `x = d * LEVELS[q]`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | `q`: values 0..16 in the lower nibbles, 16..32 in the upper ones |
//!
//! Layout: `block_iq4_nl` of ggml.

use half::f16;

use super::block::{f16_at, inverse, max_abs, part, part_mut};
use super::fit::{self, SMALLEST, sums};

const LEN: usize = 32;

/// What the numbers mean: closer together where weights are frequent.
pub(crate) const LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

#[inline(always)]
pub(crate) fn dequantize(block: &[u8; 18], out: &mut [f32; 32]) {
    by_levels(&LEVELS, f16_at::<0, _>(block), part::<2, 16, _>(block), out);
}

/// The values of 16 bytes, those in lower nibbles first.
#[inline(always)]
pub(super) fn by_levels(levels: &[i8; 16], scale: f32, bytes: &[u8; 16], out: &mut [f32; 32]) {
    let (lower, upper) = out.split_at_mut(16);
    for ((lower, upper), byte) in lower.iter_mut().zip(upper).zip(bytes) {
        *lower = scale * f32::from(levels[usize::from(byte & 15)]);
        *upper = scale * f32::from(levels[usize::from(byte >> 4)]);
    }
}

pub(super) fn quantize(values: &[f32; LEN], block: &mut [u8; 18]) {
    *block = [0; 18];
    let magnitude = max_abs(values);
    if !magnitude.is_finite() {
        *part_mut::<0, 2, _>(block) = f16::NAN.to_le_bytes();
        return;
    }
    if magnitude < SMALLEST {
        return;
    }
    // Above the largest value that a block can hold, squares stay far from the end of f32.
    let largest = f16::MAX.to_f32() * 127.0;
    let x = values.map(|x| x.clamp(-largest, largest));
    let d = fit::block_scale(search(&x), 127.0);
    *part_mut::<0, 2, _>(block) = d.to_le_bytes();
    let per_d = inverse(d.to_f32());
    let q = x.map(|x| nearest(x * per_d));
    let (lower, upper) = q.split_at(16);
    let bytes = part_mut::<2, 16, _>(block).iter_mut().zip(lower).zip(upper);
    bytes.for_each(|((byte, lower), upper)| *byte = lower | upper << 4);
}

/// The level nearest to `x`.
#[inline(always)]
fn nearest(x: f32) -> u8 {
    let beyond = |q: usize| 2.0 * x > f32::from(LEVELS[q]) + f32::from(LEVELS[q + 1]);
    (0..15).map(|q| u8::from(beyond(q))).sum()
}

/// The scale, of either sign, with the least weighted squared error. The value that stands out is put
/// at either end of the levels, and up to a tenth beyond or before.
fn search(x: &[f32; LEN]) -> f32 {
    let weights = fit::weights(x);
    let extreme = x.iter().fold(0.0f32, |most, &x| if x.abs() > most.abs() { x } else { most });
    let (mut best, mut most) = (0.0, 0.0);
    for end in [LEVELS[0], LEVELS[15]] {
        for step in -8i8..=8 {
            let inverse = f32::from(end) * (1.0 + f32::from(step) / 64.0) / extreme;
            let level = x.map(|x| f32::from(LEVELS[usize::from(nearest(x * inverse))]));
            let [wlx, wll] = sums::<LEN, 2>(|i| {
                let wl = weights[i] * level[i];
                [wl * x[i], wl * level[i]]
            });
            // By how much the best scale for these levels reduces the weighted square of `x`.
            let gain = wlx * wlx / wll;
            if gain > most {
                (best, most) = (wlx / wll, gain);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::super::tests::{rms_error, round_trip, samples};
    use super::*;

    /// The plain way: the value of largest magnitude at the end, all others at the nearest level.
    fn plain(x: &[f32; LEN]) -> [f32; LEN] {
        let extreme = x.iter().fold(0.0f32, |m, &x| if x.abs() > m.abs() { x } else { m });
        let d = f16::from_f32(extreme / f32::from(LEVELS[0])).to_f32();
        x.map(|x| d * f32::from(LEVELS[usize::from(nearest(x * inverse(d)))]))
    }

    #[test]
    fn the_search_beats_plain_rounding() {
        for (name, values) in samples() {
            let plain: Vec<f32> = values.as_chunks().0.iter().flat_map(plain).collect();
            let plain = rms_error(&values, &plain);
            let searched = rms_error(&values, &round_trip(DType::IQ4_NL, &values));
            assert!(searched <= 0.97 * plain, "{name}: {searched:e} and {plain:e}");
        }
    }

    #[test]
    fn every_level_is_the_nearest_to_itself_and_half_way_to_its_neighbors() {
        for (q, level) in (0..).zip(LEVELS.map(f32::from)) {
            assert_eq!(nearest(level), q);
        }
        for (q, pair) in (0..).zip(LEVELS.windows(2)) {
            let middle = (f32::from(pair[0]) + f32::from(pair[1])) / 2.0;
            assert_eq!([nearest(middle - 0.01), nearest(middle + 0.01)], [q, q + 1]);
        }
    }

    #[test]
    fn levels_come_back_exactly() {
        let values: Vec<f32> = (0..LEN).map(|i| -0.5 * f32::from(LEVELS[i * 5 % 16])).collect();
        assert_eq!(round_trip(DType::IQ4_NL, &values), values);
    }
}
