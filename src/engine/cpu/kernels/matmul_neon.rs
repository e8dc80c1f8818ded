//! Matrix times many vectors for arm64 machines with byte products, written out: tiles of eight rows
//! and four tokens, whose sums fit the registers together with what they are made from. As in
//! `matvec_neon.rs`, both halves of the activations go through one chain of sums, which fit for the
//! same reason: 32 * 128 * 64 = 2^18 a lane from the high bytes, and 2^25 after the shift.
//!
//! With 8-bit matrix products a sum holds two rows and two tokens.

use super::super::simd::neon::{Bytes, Neon, sdot_lane, smmla};
use super::activations::{Activations, BLOCK, Row};
use super::formats::Format;
use super::matmul::{self, PANEL, Panel, Target};
use super::unpack_neon::{self as formats, Unpack};
use crate::quant::DType;
use std::arch::aarch64::*;

/// Rows of a tile: half a panel.
const ROWS: usize = 8;

/// Tokens of a tile.
const TOKENS: usize = 4;

/// Values that are multiplied between two looks at their scales, at least.
const STEP: usize = 16;

/// [`matmul::matmul`], whose contract holds, with [`Bytes`].
#[inline(always)]
pub(super) unsafe fn matmul<const I8MM: bool>(
    dtype: DType,
    w: *const u8,
    rows: usize,
    x: &Activations,
    tokens: usize,
    panel: &mut Panel,
    target: Target,
) {
    unsafe {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 => {
                matmul::plain::<Neon<Bytes<I8MM>>>(dtype, w, rows, x, tokens, panel, target)
            }
            DType::Q8_0 => packed::<formats::Q8_0, I8MM>(w, rows, x, tokens, panel, target),
            DType::Q4_0 => packed::<formats::Q4_0, I8MM>(w, rows, x, tokens, panel, target),
            DType::Q4_1 => packed::<formats::Q4_1, I8MM>(w, rows, x, tokens, panel, target),
            DType::Q5_0 => packed::<formats::Q5_0, I8MM>(w, rows, x, tokens, panel, target),
            DType::Q5_1 => packed::<formats::Q5_1, I8MM>(w, rows, x, tokens, panel, target),
            DType::Q4_K => packed::<formats::Q4K, I8MM>(w, rows, x, tokens, panel, target),
            DType::Q5_K => packed::<formats::Q5K, I8MM>(w, rows, x, tokens, panel, target),
            DType::Q6_K => packed::<formats::Q6K, I8MM>(w, rows, x, tokens, panel, target),
        }
    }
}

/// Eight rows of a panel.
#[derive(Clone, Copy)]
struct Half {
    /// Values less the format's offset, `[cols / 4][8][4]`; for matrix products `[cols / 8][8][8]`.
    q: *mut i8,
    /// `[cols / group][8]`
    scale: *mut f32,
    /// `[cols / group][8]`
    min: *mut f32,
}

#[inline(always)]
unsafe fn packed<T: Unpack, const I8MM: bool>(
    w: *const u8,
    rows: usize,
    x: &Activations,
    tokens: usize,
    panel: &mut Panel,
    target: Target,
) {
    let cols = x.cols();
    let (q, scale, min) = panel.parts();
    let groups = cols / T::GROUP * ROWS;
    assert!(size_of_val(q) >= PANEL * cols && scale.len() >= 2 * groups);
    assert!(!T::MIN || min.len() >= 2 * groups);
    let stride = cols / T::LEN * T::BYTES;
    for first in (0..rows).step_by(ROWS) {
        let rows = ROWS.min(rows - first);
        // SAFETY: two halves of the panel, whose lengths were checked.
        unsafe {
            let half = Half {
                q: q.as_mut_ptr().cast::<i8>().add(first * cols),
                scale: scale.as_mut_ptr().add(first / ROWS * groups),
                min: min.as_mut_ptr().add(if T::MIN { first / ROWS * groups } else { 0 }),
            };
            for r in 0..ROWS {
                match r < rows {
                    true => unpack::<T, I8MM>(w.add((first + r) * stride), cols, half, r),
                    false => nothing::<T>(cols, half, r),
                }
            }
            let out = Target { out: target.out.add(first), ..target };
            for token in (0..tokens).step_by(TOKENS) {
                let count = TOKENS.min(tokens - token);
                // The last tokens are computed with one of them again in place of those missing.
                let x_rows = [
                    x.row(token),
                    x.row(token + 1.min(count - 1)),
                    x.row(token + 2.min(count - 1)),
                    x.row(token + 3.min(count - 1)),
                ];
                let sums = match I8MM {
                    true => tile_by_matrix::<T>(half, x_rows, cols / BLOCK),
                    false => tile_by_dot::<T>(half, x_rows, cols / BLOCK),
                };
                for (t, sums) in sums[..count].iter().enumerate() {
                    deliver(*sums, rows, out.out.add((token + t) * out.stride), out.add);
                }
            }
        }
    }
}

/// Row `r` of the half: its values, scales and minima.
#[inline(always)]
unsafe fn unpack<T: Unpack, const I8MM: bool>(w: *const u8, cols: usize, half: Half, r: usize) {
    let groups = T::LEN / T::GROUP;
    for b in 0..cols / T::LEN {
        unsafe {
            let block = w.add(b * T::BYTES);
            let (mut scale, mut min) = ([0f32; 16], [0f32; 16]);
            T::scales(block, &mut scale, &mut min);
            for g in 0..groups {
                let at = (b * groups + g) * ROWS + r;
                half.scale.add(at).write(scale[g]);
                if T::MIN {
                    half.min.add(at).write(min[g]);
                }
            }
            for i in 0..T::LEN / BLOCK {
                let values = T::values(block, i);
                let to = half.q.add((b * T::LEN + i * BLOCK) * ROWS);
                for (k, values) in values.into_iter().enumerate() {
                    let to = to.add(k * STEP * ROWS);
                    // As many values of a row as an instruction takes, then those of the next.
                    if I8MM {
                        vst1_s8(to.add(8 * r), vget_low_s8(values));
                        vst1_s8(to.add(8 * (ROWS + r)), vget_high_s8(values));
                    } else {
                        let (to, values) = (to.cast::<i32>(), vreinterpretq_s32_s8(values));
                        vst1q_lane_s32::<0>(to.add(r), values);
                        vst1q_lane_s32::<1>(to.add(ROWS + r), values);
                        vst1q_lane_s32::<2>(to.add(2 * ROWS + r), values);
                        vst1q_lane_s32::<3>(to.add(3 * ROWS + r), values);
                    }
                }
            }
        }
    }
}

/// Row `r` of the half does not exist: its products are zero, whatever its values.
#[inline(always)]
unsafe fn nothing<T: Format>(cols: usize, half: Half, r: usize) {
    for g in 0..cols / T::GROUP {
        unsafe {
            half.scale.add(g * ROWS + r).write(0.0);
            if T::MIN {
                half.min.add(g * ROWS + r).write(0.0);
            }
        }
    }
}

/// Sums of four tokens for rows 0 to 3 and 4 to 7.
type Sums = [[float32x4_t; 2]; TOKENS];

#[inline(always)]
unsafe fn tile_by_dot<T: Format>(half: Half, x: [Row; TOKENS], blocks: usize) -> Sums {
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 2]; TOKENS];
        let mut q: *const i8 = half.q;
        let (mut scale, mut min): (*const f32, *const f32) = (half.scale, half.min);
        for b in 0..blocks {
            let a: [*const i8; TOKENS] = std::array::from_fn(|t| x[t].q.add(b * BLOCK).cast());
            for g in 0..BLOCK / T::GROUP {
                let mut dots = [[vdupq_n_s32(0); 2]; TOKENS];
                // Written out twice: a loop would be one.
                add_dots::<T>(&mut dots, q, later(a, T::GROUP * g));
                for dots in &mut dots {
                    *dots = [vshlq_n_s32::<7>(dots[0]), vshlq_n_s32::<7>(dots[1])];
                }
                add_dots::<T>(&mut dots, q, later(a, BLOCK + T::GROUP * g));
                q = q.add(T::GROUP * ROWS);
                let scales = [vld1q_f32(scale), vld1q_f32(scale.add(4))];
                scale = scale.add(ROWS);
                for t in 0..TOKENS {
                    let own = *x[t].scale.add(b);
                    for i in 0..2 {
                        let scale = vmulq_n_f32(scales[i], own);
                        sums[t][i] = vfmaq_f32(sums[t][i], vcvtq_f32_s32(dots[t][i]), scale);
                    }
                }
            }
            if T::MIN {
                let mins = [vld1q_f32(min), vld1q_f32(min.add(4))];
                min = min.add(ROWS);
                for t in 0..TOKENS {
                    let own = *x[t].sum.add(b);
                    for i in 0..2 {
                        sums[t][i] = vfmaq_n_f32(sums[t][i], mins[i], own);
                    }
                }
            }
        }
        sums
    }
}

/// A group of eight rows with high or low bytes of four tokens.
#[inline(always)]
unsafe fn add_dots<T: Format>(
    dots: &mut [[int32x4_t; 2]; TOKENS],
    q: *const i8,
    a: [*const i8; TOKENS],
) {
    for s in 0..T::GROUP / STEP {
        unsafe {
            let q = q.add(STEP * ROWS * s);
            let mut values = [vdupq_n_s8(0); TOKENS];
            for t in 0..TOKENS {
                values[t] = vld1q_s8(a[t].add(STEP * s));
            }
            // The lane is a constant of the instruction.
            macro_rules! four_values {
                ($($lane:literal)+) => {$(
                    let w = [vld1q_s8(q.add(32 * $lane)), vld1q_s8(q.add(32 * $lane + 16))];
                    for t in 0..TOKENS {
                        dots[t][0] = sdot_lane::<$lane>(dots[t][0], w[0], values[t]);
                        dots[t][1] = sdot_lane::<$lane>(dots[t][1], w[1], values[t]);
                    }
                )+};
            }
            four_values!(0 1 2 3);
        }
    }
}

/// [`add_dots`] with products of 2x8 matrices.
#[inline(always)]
unsafe fn add_products<T: Format>(
    dots: &mut [[int32x4_t; 2]; 4],
    q: *const i8,
    a: [*const i8; TOKENS],
) {
    for s in 0..T::GROUP / STEP {
        unsafe {
            let q = q.add(STEP * ROWS * s);
            // The first eight values of two tokens, and the second eight.
            let mut pairs = [[vdupq_n_s8(0); 2]; 2];
            for i in 0..2 {
                let one = vreinterpretq_s64_s8(vld1q_s8(a[2 * i].add(STEP * s)));
                let other = vreinterpretq_s64_s8(vld1q_s8(a[2 * i + 1].add(STEP * s)));
                pairs[0][i] = vreinterpretq_s8_s64(vzip1q_s64(one, other));
                pairs[1][i] = vreinterpretq_s8_s64(vzip2q_s64(one, other));
            }
            for k in 0..2 {
                for r in 0..4 {
                    let w = vld1q_s8(q.add(64 * k + 16 * r));
                    for i in 0..2 {
                        dots[r][i] = smmla(dots[r][i], w, pairs[k][i]);
                    }
                }
            }
        }
    }
}

/// [`tile_by_dot`] with products of 2x8 matrices: two rows of weights with two tokens.
#[inline(always)]
unsafe fn tile_by_matrix<T: Format>(half: Half, x: [Row; TOKENS], blocks: usize) -> Sums {
    unsafe {
        // Of two rows and two tokens: row by row, in it token by token.
        let mut sums = [[vdupq_n_f32(0.0); 2]; 4];
        let mut q: *const i8 = half.q;
        let (mut scale, mut min): (*const f32, *const f32) = (half.scale, half.min);
        for b in 0..blocks {
            let a: [*const i8; TOKENS] = std::array::from_fn(|t| x[t].q.add(b * BLOCK).cast());
            for g in 0..BLOCK / T::GROUP {
                let mut dots = [[vdupq_n_s32(0); 2]; 4];
                add_products::<T>(&mut dots, q, later(a, T::GROUP * g));
                for dots in &mut dots {
                    *dots = [vshlq_n_s32::<7>(dots[0]), vshlq_n_s32::<7>(dots[1])];
                }
                add_products::<T>(&mut dots, q, later(a, BLOCK + T::GROUP * g));
                q = q.add(T::GROUP * ROWS);
                let scales = twice(scale);
                scale = scale.add(ROWS);
                for i in 0..2 {
                    let own = two_of(x[2 * i].scale.add(b), x[2 * i + 1].scale.add(b));
                    for r in 0..4 {
                        let scale = vmulq_f32(scales[r], own);
                        sums[r][i] = vfmaq_f32(sums[r][i], vcvtq_f32_s32(dots[r][i]), scale);
                    }
                }
            }
            if T::MIN {
                let mins = twice(min);
                min = min.add(ROWS);
                for i in 0..2 {
                    let own = two_of(x[2 * i].sum.add(b), x[2 * i + 1].sum.add(b));
                    for r in 0..4 {
                        sums[r][i] = vfmaq_f32(sums[r][i], mins[r], own);
                    }
                }
            }
        }
        let mut by_token = [[vdupq_n_f32(0.0); 2]; TOKENS];
        for i in 0..2 {
            for r in 0..2 {
                let [a, b] = [sums[2 * r][i], sums[2 * r + 1][i]];
                by_token[2 * i][r] = vuzp1q_f32(a, b);
                by_token[2 * i + 1][r] = vuzp2q_f32(a, b);
            }
        }
        by_token
    }
}

/// `bytes` later for each token.
#[inline(always)]
unsafe fn later(a: [*const i8; TOKENS], bytes: usize) -> [*const i8; TOKENS] {
    unsafe { [a[0].add(bytes), a[1].add(bytes), a[2].add(bytes), a[3].add(bytes)] }
}

/// Eight numbers, each twice.
#[inline(always)]
unsafe fn twice(p: *const f32) -> [float32x4_t; 4] {
    unsafe {
        let [a, b] = [vld1q_f32(p), vld1q_f32(p.add(4))];
        [vzip1q_f32(a, a), vzip2q_f32(a, a), vzip1q_f32(b, b), vzip2q_f32(b, b)]
    }
}

/// Two numbers, twice.
#[inline(always)]
unsafe fn two_of(a: *const f32, b: *const f32) -> float32x4_t {
    unsafe {
        let two = vld1_lane_f32::<1>(b, vld1_dup_f32(a));
        vcombine_f32(two, two)
    }
}

/// Stores or adds the sums of a token's first `rows` rows.
#[inline(always)]
unsafe fn deliver(mut sums: [float32x4_t; 2], rows: usize, out: *mut f32, add: bool) {
    unsafe {
        if rows == ROWS {
            if add {
                sums =
                    [vaddq_f32(sums[0], vld1q_f32(out)), vaddq_f32(sums[1], vld1q_f32(out.add(4)))];
            }
            vst1q_f32(out, sums[0]);
            vst1q_f32(out.add(4), sums[1]);
        } else {
            let sums = std::mem::transmute::<[float32x4_t; 2], [f32; ROWS]>(sums);
            for (r, sum) in sums[..rows].iter().enumerate() {
                let out = out.add(r);
                *out = if add { *out + *sum } else { *sum };
            }
        }
    }
}
