//! Matrix times many vectors for arm64 machines with byte products, written out: tiles of eight rows
//! and four tokens, whose sums fit the registers together with what they are made from. As in
//! `matvec_neon.rs`, whose account of the sums holds, both halves of the activations go through one
//! chain of sums, or are the columns of 8-bit matrix products.

use super::super::simd::neon::{ByteProducts, Neon, both_bytes, sdot_lane, smmla, zip_halves};
use super::activations::{Activations, BLOCK, Row};
use super::formats::Format;
use super::matmul::{self, PANEL, Panel, Target};
use super::unpack_neon::{self as formats, Unpack, transposed};
use crate::quant::DType;
use std::arch::aarch64::*;

/// Rows of a tile: half a panel.
pub(super) const ROWS: usize = 8;

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
            DType::IQ4_NL => packed::<formats::Iq4Nl, M>(w, rows, x, tokens, panel, target),
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
    /// `[cols / group][8]`; integers if a group is half a block.
    scale: *mut f32,
    /// `[cols / 32][8]`: minima, or what integer scales are multiplied by.
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
    let (groups, blocks) = (cols / T::GROUP * ROWS, cols / BLOCK * ROWS);
    assert!(size_of_val(q) >= PANEL * cols);
    assert!(scale.len() >= 2 * groups && min.len() >= 2 * blocks);
    let stride = cols / T::LEN * T::BYTES;
    // SAFETY: two halves of the panel, whose lengths were checked.
    unsafe {
        let half =
            Half { q: q.as_mut_ptr().cast(), scale: scale.as_mut_ptr(), min: min.as_mut_ptr() };
        let other = Half {
            q: half.q.add(ROWS * cols),
            scale: half.scale.add(groups),
            min: half.min.add(blocks),
        };
        let halves = [half, other];
        for first in (0..rows).step_by(4) {
            // The values of rows that do not exist are those of the last one.
            let w = std::array::from_fn(|i| w.add((first + i).min(rows - 1) * stride));
            unpack::<T, M>(w, cols, halves[first / ROWS], first % ROWS);
        }
        for token in (0..tokens).step_by(TOKENS) {
            let count = TOKENS.min(tokens - token);
            // The last tokens are computed with one of them again in place of those missing.
            let x_rows = [
                x.row(token),
                x.row(token + 1.min(count - 1)),
                x.row(token + 2.min(count - 1)),
                x.row(token + 3.min(count - 1)),
            ];
            let out = target.out.add(token * target.stride);
            for (half, first) in halves.into_iter().zip((0..rows).step_by(ROWS)) {
                let sums = match M::I8MM {
                    true => tile::<T, M>(half, x_rows, cols / BLOCK),
                    false => tile_alone::<T, M>(half, x_rows, cols / BLOCK),
                };
                for (t, sums) in sums[..count].iter().enumerate() {
                    let out = out.add(t * target.stride + first);
                    deliver(*sums, ROWS.min(rows - first), out, target.add);
                }
            }
        }
    }
}

/// Rows `r` to `r + 3` of the half: their values, scales and minima.
#[inline(always)]
unsafe fn unpack<T: Unpack, M: ByteProducts>(
    mut w: [*const u8; 4],
    cols: usize,
    half: Half,
    r: usize,
) {
    let groups = T::LEN / T::GROUP;
    for b in 0..cols / T::LEN {
        unsafe {
            let scale = half.scale.add(b * groups * ROWS + r);
            let min = half.min.add(b * T::LEN / BLOCK * ROWS + r);
            T::scales_of_four(w, scale, min);
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

/// Sums of four tokens for rows 0 to 3 and 4 to 7.
type Sums = [[float32x4_t; 2]; TOKENS];

/// [`tile`] for machines without matrix products, a function of its own: what the compiler keeps on the
/// stack in a loop depends on what else there is in a function, which with dot products costs up to 7 %.
#[inline(never)]
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile_alone<T: Format, M: ByteProducts>(
    half: Half,
    x: [Row; TOKENS],
    blocks: usize,
) -> Sums {
    unsafe { tile::<T, M>(half, x, blocks) }
}

#[inline(always)]
unsafe fn tile<T: Format, M: ByteProducts>(half: Half, x: [Row; TOKENS], blocks: usize) -> Sums {
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 2]; TOKENS];
        let mut q: *const i8 = half.q;
        let (mut scale, mut factor): (*const f32, *const f32) = (half.scale, half.min);
        for b in 0..blocks {
            let a: [*const i8; TOKENS] = std::array::from_fn(|t| x[t].q.add(b * BLOCK).cast());
            let mut dots = group::<T, M>(q, a);
            q = q.add(T::GROUP * ROWS);
            let mut scales = [vld1q_f32(scale), vld1q_f32(scale.add(4))];
            scale = scale.add(ROWS);
            if T::GROUP < BLOCK {
                // Integer scales: 2 * 16 * 32 * 8191 * 128 < 2^31.
                for dots in &mut dots {
                    for i in 0..2 {
                        dots[i] = vmulq_s32(dots[i], vreinterpretq_s32_f32(scales[i]));
                    }
                }
                let bytes = if M::I8MM && M::HALVES { 2 * T::GROUP } else { T::GROUP };
                let others = group::<T, M>(q, later(a, bytes));
                q = q.add(T::GROUP * ROWS);
                scales = [vld1q_f32(scale), vld1q_f32(scale.add(4))];
                scale = scale.add(ROWS);
                for (dots, others) in dots.iter_mut().zip(others) {
                    for i in 0..2 {
                        dots[i] = vmlaq_s32(dots[i], others[i], vreinterpretq_s32_f32(scales[i]));
                    }
                }
                scales = [vld1q_f32(factor), vld1q_f32(factor.add(4))];
                factor = factor.add(ROWS);
            }
            for t in 0..TOKENS {
                let own = *x[t].scale.add(b);
                for i in 0..2 {
                    let scale = vmulq_n_f32(scales[i], own);
                    sums[t][i] = vfmaq_f32(sums[t][i], vcvtq_f32_s32(dots[t][i]), scale);
                }
            }
        }
        if T::MIN {
            add_minima(&mut sums, half.min, x, blocks);
        }
        sums
    }
}

/// Adds the products of minima and sums of activations. The loop of the other products has no registers
/// left for them.
#[inline(always)]
unsafe fn add_minima(sums: &mut Sums, mut min: *const f32, x: [Row; TOKENS], blocks: usize) {
    unsafe {
        let mut b = 0;
        while b + 4 <= blocks {
            let mut own = [vdupq_n_f32(0.0); TOKENS];
            for t in 0..TOKENS {
                own[t] = vld1q_f32(x[t].sum.add(b));
            }
            // The lane is a constant of the instruction.
            macro_rules! blocks {
                ($($lane:literal)+) => {$(
                    let mins = [vld1q_f32(min), vld1q_f32(min.add(4))];
                    min = min.add(ROWS);
                    for t in 0..TOKENS {
                        sums[t][0] = vfmaq_laneq_f32::<$lane>(sums[t][0], mins[0], own[t]);
                        sums[t][1] = vfmaq_laneq_f32::<$lane>(sums[t][1], mins[1], own[t]);
                    }
                )+};
            }
            blocks!(0 1 2 3);
            b += 4;
        }
        while b < blocks {
            let mins = [vld1q_f32(min), vld1q_f32(min.add(4))];
            min = min.add(ROWS);
            for t in 0..TOKENS {
                let own = *x[t].sum.add(b);
                for i in 0..2 {
                    sums[t][i] = vfmaq_n_f32(sums[t][i], mins[i], own);
                }
            }
            b += 1;
        }
    }
}

/// A group of eight rows with four tokens, whose activations are at `a`.
#[inline(always)]
unsafe fn group<T: Format, M: ByteProducts>(
    q: *const i8,
    a: [*const i8; TOKENS],
) -> [[int32x4_t; 2]; TOKENS] {
    unsafe {
        match (M::I8MM, M::HALVES) {
            (true, true) => products::<T>(q, a),
            (true, false) => products_of_pairs::<T>(q, a),
            _ => dots::<T, M>(q, a),
        }
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
