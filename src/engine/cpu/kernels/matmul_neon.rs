//! Matrix times many vectors for arm64 machines with byte products, written out: tiles of eight rows
//! and four tokens, whose sums fit the registers together with what they are made from. As in
//! `matvec_neon.rs`, whose account of the sums holds, both halves of the activations go through one
//! chain of sums, or are the columns of 8-bit matrix products.

use super::super::simd::neon::{ByteProducts, Neon, both_bytes, sdot_lane, smmla, zip_halves};
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
pub(super) unsafe fn matmul<M: ByteProducts>(
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
            DType::Q8_0 => packed::<formats::Q8_0, M>(w, rows, x, tokens, panel, target),
            DType::Q4_0 => packed::<formats::Q4_0, M>(w, rows, x, tokens, panel, target),
            DType::Q4_1 => packed::<formats::Q4_1, M>(w, rows, x, tokens, panel, target),
            DType::Q5_0 => packed::<formats::Q5_0, M>(w, rows, x, tokens, panel, target),
            DType::Q5_1 => packed::<formats::Q5_1, M>(w, rows, x, tokens, panel, target),
            DType::Q4_K => packed::<formats::Q4K, M>(w, rows, x, tokens, panel, target),
            DType::Q5_K => packed::<formats::Q5K, M>(w, rows, x, tokens, panel, target),
            DType::Q6_K => packed::<formats::Q6K, M>(w, rows, x, tokens, panel, target),
            _ => matmul::plain::<Neon<M>>(dtype, w, rows, x, tokens, panel, target),
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
unsafe fn packed<T: Unpack, M: ByteProducts>(
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
            for r in [0, 4] {
                // The values of rows that do not exist are those of the last one.
                let w = std::array::from_fn(|i| w.add((first + (r + i).min(rows - 1)) * stride));
                unpack::<T, M>(w, rows.saturating_sub(r), cols, half, r);
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
                let sums = tile::<T, M>(half, x_rows, cols / BLOCK);
                for (t, sums) in sums[..count].iter().enumerate() {
                    deliver(*sums, rows, out.out.add((token + t) * out.stride), out.add);
                }
            }
        }
    }
}

/// Rows `r` to `r + 3` of the half: their values, scales and minima. Of rows from `rows` on these are
/// zero.
#[inline(always)]
unsafe fn unpack<T: Unpack, M: ByteProducts>(
    mut w: [*const u8; 4],
    rows: usize,
    cols: usize,
    half: Half,
    r: usize,
) {
    let groups = T::LEN / T::GROUP;
    for b in 0..cols / T::LEN {
        unsafe {
            for i in 0..4 {
                let (mut scale, mut min) = ([0f32; 16], [0f32; 16]);
                if i < rows {
                    T::scales(w[i], &mut scale, &mut min);
                }
                for g in 0..groups {
                    let at = (b * groups + g) * ROWS + r + i;
                    half.scale.add(at).write(scale[g]);
                    if T::MIN {
                        half.min.add(at).write(min[g]);
                    }
                }
            }
            for i in 0..T::LEN / BLOCK {
                let four = [
                    T::values(w[0], i),
                    T::values(w[1], i),
                    T::values(w[2], i),
                    T::values(w[3], i),
                ];
                for k in 0..2 {
                    let to = half.q.add((b * T::LEN + i * BLOCK + k * STEP) * ROWS);
                    // As many values of a row as an instruction takes, then those of the next.
                    let rows = [four[0][k], four[1][k], four[2][k], four[3][k]];
                    if M::I8MM {
                        let [first, second] =
                            [zip_halves(rows[0], rows[1]), zip_halves(rows[2], rows[3])];
                        for (n, part) in [first[0], second[0]].into_iter().enumerate() {
                            vst1q_s8(to.add(8 * r + 16 * n), part);
                        }
                        for (n, part) in [first[1], second[1]].into_iter().enumerate() {
                            vst1q_s8(to.add(8 * (ROWS + r) + 16 * n), part);
                        }
                    } else {
                        for (n, part) in transposed(rows).into_iter().enumerate() {
                            vst1q_s8(to.add(4 * (ROWS * n + r)), part);
                        }
                    }
                }
            }
            for w in &mut w {
                *w = w.add(T::BYTES);
            }
        }
    }
}

/// Four registers of four parts each: all first parts, all second ones, ...
#[inline(always)]
unsafe fn transposed(rows: [int8x16_t; 4]) -> [int8x16_t; 4] {
    unsafe {
        let [a, b, c, d] = rows.map(|row| vreinterpretq_s32_s8(row));
        let [ac, bd] = [vzip1q_s32(a, c), vzip1q_s32(b, d)];
        let [ac_upper, bd_upper] = [vzip2q_s32(a, c), vzip2q_s32(b, d)];
        [
            vreinterpretq_s8_s32(vzip1q_s32(ac, bd)),
            vreinterpretq_s8_s32(vzip2q_s32(ac, bd)),
            vreinterpretq_s8_s32(vzip1q_s32(ac_upper, bd_upper)),
            vreinterpretq_s8_s32(vzip2q_s32(ac_upper, bd_upper)),
        ]
    }
}

/// Sums of four tokens for rows 0 to 3 and 4 to 7.
type Sums = [[float32x4_t; 2]; TOKENS];

#[inline(always)]
unsafe fn tile<T: Format, M: ByteProducts>(half: Half, x: [Row; TOKENS], blocks: usize) -> Sums {
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 2]; TOKENS];
        let mut q: *const i8 = half.q;
        let (mut scale, mut min): (*const f32, *const f32) = (half.scale, half.min);
        for b in 0..blocks {
            let a: [*const i8; TOKENS] = std::array::from_fn(|t| x[t].q.add(b * BLOCK).cast());
            for g in 0..BLOCK / T::GROUP {
                let dots = match (M::I8MM, M::HALVES) {
                    (true, true) => products::<T>(q, later(a, 2 * T::GROUP * g)),
                    (true, false) => products_of_pairs::<T>(q, later(a, T::GROUP * g)),
                    _ => dots::<T, M>(q, later(a, T::GROUP * g)),
                };
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

/// A group of eight rows with four tokens, whose bytes are at `a`: all, or the high ones, and the low
/// ones a block later. Both go through one chain of sums.
#[inline(always)]
unsafe fn dots<T: Format, M: ByteProducts>(
    q: *const i8,
    a: [*const i8; TOKENS],
) -> [[int32x4_t; 2]; TOKENS] {
    unsafe {
        let mut dots = [[vdupq_n_s32(0); 2]; TOKENS];
        // Written out twice: a loop would be one.
        add_dots::<T>(&mut dots, q, a);
        if M::HALVES {
            for dots in &mut dots {
                *dots = [vshlq_n_s32::<7>(dots[0]), vshlq_n_s32::<7>(dots[1])];
            }
            add_dots::<T>(&mut dots, q, later(a, BLOCK));
        }
        dots
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

/// The same with products of 2x8 matrices: two rows of weights with eight high bytes and eight low
/// bytes of a token.
#[inline(always)]
unsafe fn products<T: Format>(q: *const i8, a: [*const i8; TOKENS]) -> [[int32x4_t; 2]; TOKENS] {
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; TOKENS];
        // Written out, which the compiler would leave a loop.
        macro_rules! eight_values {
            ($($s:literal)+) => {$(
                let eight = q.add(8 * ROWS * $s);
                let (low, high) = (vld1q_s8_x2(eight), vld1q_s8_x2(eight.add(32)));
                let w = [low.0, low.1, high.0, high.1];
                for t in 0..TOKENS {
                    let a = vld1q_s8(a[t].add(16 * $s));
                    for r in 0..4 {
                        sums[t][r] = smmla(sums[t][r], w[r], a);
                    }
                }
            )+};
        }
        eight_values!(0 1);
        if T::GROUP == 32 {
            eight_values!(2 3);
        }
        let mut joined = [[vdupq_n_s32(0); 2]; TOKENS];
        for t in 0..TOKENS {
            let [a, b, c, d] = sums[t];
            joined[t] = [both_bytes(a, b), both_bytes(c, d)];
        }
        joined
    }
}

/// The same where an activation is one byte: two rows of weights with eight values of two tokens.
#[inline(always)]
unsafe fn products_of_pairs<T: Format>(
    q: *const i8,
    a: [*const i8; TOKENS],
) -> [[int32x4_t; 2]; TOKENS] {
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; TOKENS / 2];
        // Written out, as above.
        macro_rules! sixteen_values {
            ($($s:literal)+) => {$(
                let pairs = [
                    zip_halves(vld1q_s8(a[0].add(16 * $s)), vld1q_s8(a[1].add(16 * $s))),
                    zip_halves(vld1q_s8(a[2].add(16 * $s)), vld1q_s8(a[3].add(16 * $s))),
                ];
                for half in 0..2 {
                    let eight = q.add(8 * ROWS * (2 * $s + half));
                    let (low, high) = (vld1q_s8_x2(eight), vld1q_s8_x2(eight.add(32)));
                    let w = [low.0, low.1, high.0, high.1];
                    for p in 0..TOKENS / 2 {
                        for r in 0..4 {
                            sums[p][r] = smmla(sums[p][r], w[r], pairs[p][half]);
                        }
                    }
                }
            )+};
        }
        sixteen_values!(0);
        if T::GROUP == 32 {
            sixteen_values!(1);
        }
        let mut of_tokens = [[vdupq_n_s32(0); 2]; TOKENS];
        for p in 0..TOKENS / 2 {
            let [a, b, c, d] = sums[p];
            of_tokens[2 * p] = [vuzp1q_s32(a, b), vuzp1q_s32(c, d)];
            of_tokens[2 * p + 1] = [vuzp2q_s32(a, b), vuzp2q_s32(c, d)];
        }
        of_tokens
    }
}

/// `bytes` later for each token.
#[inline(always)]
unsafe fn later(a: [*const i8; TOKENS], bytes: usize) -> [*const i8; TOKENS] {
    unsafe { [a[0].add(bytes), a[1].add(bytes), a[2].add(bytes), a[3].add(bytes)] }
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
