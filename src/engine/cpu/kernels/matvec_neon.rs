//! Matrix times vector for arm64 machines with byte products, written out for the formats that
//! models come in. What the general kernel loses here are registers: its steps of sixteen lanes and
//! four blocks spill, and half of its instructions move numbers about. These take a weight in half
//! an instruction (`benches/arm`).
//!
//! Both halves of the activations go through one chain of sums: products with the high bytes, times
//! 128, plus products with the low ones. Formats with blocks of 32 take four rows at a time, which
//! share the activations and keep four independent chains; those with blocks of 256 have as many
//! chains in a row of their own.
//!
//! Sums fit: those of the high bytes are at most 8 * 128 * 64 = 2^16 a lane before the shift, and
//! 2^23 after it; [`Q6K`] has its own account.

use super::super::simd::neon::{Bytes, Neon, f16_low, half, prefetch, sdot, sri_2};
use super::activations::{BLOCK, Row};
use super::matvec::{Bf16, F16, F32, Unpacked, rows};
use super::{formats, unpack_neon};
use crate::quant::DType;
use std::arch::aarch64::*;

/// Rows that share the activations.
const ROWS: usize = 4;

/// [`matvec`](super::matvec::matvec), whose contract holds, with [`Bytes`].
#[inline(always)]
pub(super) unsafe fn matvec<const I8MM: bool>(
    dtype: DType,
    w: *const u8,
    cols: usize,
    x: Row,
    out: &mut [f32],
) {
    unsafe {
        match dtype {
            DType::Q8_0 => four_by_four::<Q8_0>(w, cols, x, out),
            DType::Q4_0 => four_by_four::<Q4_0>(w, cols, x, out),
            DType::Q4_1 => four_by_four::<Q4_1>(w, cols, x, out),
            DType::Q4_K => one_by_one::<Q4K>(w, cols, x, out),
            DType::Q5_K => one_by_one::<Q5K>(w, cols, x, out),
            DType::Q6_K => one_by_one::<Q6K>(w, cols, x, out),
            DType::F32 => rows::<Neon<Bytes<I8MM>>, F32>(w, cols, x, out),
            DType::F16 => rows::<Neon<Bytes<I8MM>>, F16>(w, cols, x, out),
            DType::BF16 => rows::<Neon<Bytes<I8MM>>, Bf16>(w, cols, x, out),
            DType::Q5_0 => rows::<Neon<Bytes<I8MM>>, Unpacked<formats::Q5_0>>(w, cols, x, out),
            DType::Q5_1 => rows::<Neon<Bytes<I8MM>>, Unpacked<formats::Q5_1>>(w, cols, x, out),
        }
    }
}

/// A format with blocks of 32 that begin with an f16 scale.
trait Block {
    const BYTES: usize;
    /// Whether an f16 minimum follows the scale.
    const MIN: bool = false;

    /// The 32 weights of the block at `p`, as integers, perhaps times a power of two.
    unsafe fn weights(p: *const u8) -> [int8x16_t; 2];

    /// A sum of products with those integers, that power of two taken away.
    unsafe fn sum(products: int32x4_t) -> float32x4_t;
}

struct Q8_0;
impl Block for Q8_0 {
    const BYTES: usize = 34;
    #[inline(always)]
    unsafe fn weights(p: *const u8) -> [int8x16_t; 2] {
        unsafe { [vld1q_s8(p.add(2).cast()), vld1q_s8(p.add(18).cast())] }
    }
    #[inline(always)]
    unsafe fn sum(products: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_f32_s32(products) }
    }
}

struct Q4_0;
impl Block for Q4_0 {
    const BYTES: usize = 18;
    /// 16 (q - 8): an inverted upper bit of a nibble is the sign of the difference.
    #[inline(always)]
    unsafe fn weights(p: *const u8) -> [int8x16_t; 2] {
        unsafe {
            let signed = veorq_u8(vld1q_u8(p.add(2)), vdupq_n_u8(0x88));
            let [low, high] = [vshlq_n_u8::<4>(signed), vandq_u8(signed, vdupq_n_u8(0xf0))];
            [vreinterpretq_s8_u8(low), vreinterpretq_s8_u8(high)]
        }
    }
    #[inline(always)]
    unsafe fn sum(products: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_n_f32_s32::<4>(products) }
    }
}

struct Q4_1;
impl Block for Q4_1 {
    const BYTES: usize = 20;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn weights(p: *const u8) -> [int8x16_t; 2] {
        unsafe { nibbles(vld1q_u8(p.add(4))) }
    }
    #[inline(always)]
    unsafe fn sum(products: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_f32_s32(products) }
    }
}

/// Rows of a format with blocks of 32. The last rows are computed with others next to them, which
/// are then computed twice.
#[inline(always)]
unsafe fn four_by_four<T: Block>(w: *const u8, cols: usize, x: Row, out: &mut [f32]) {
    let blocks = cols / BLOCK;
    let stride = blocks * T::BYTES;
    let mut r = 0;
    for out in out.chunks_mut(ROWS) {
        unsafe {
            let w: [_; ROWS] = std::array::from_fn(|i| w.add((r + i.min(out.len() - 1)) * stride));
            let sums =
                std::mem::transmute::<float32x4_t, [f32; ROWS]>(four_rows::<T>(w, blocks, x));
            out.copy_from_slice(&sums[..out.len()]);
        }
        r += ROWS;
    }
}

#[inline(always)]
unsafe fn four_rows<T: Block>(mut w: [*const u8; ROWS], blocks: usize, x: Row) -> float32x4_t {
    unsafe {
        let mut sums = [vdupq_n_f32(0.0); ROWS];
        let mut mins = vdupq_n_f32(0.0);
        let mut ahead = w[0].wrapping_add(ROWS * blocks * T::BYTES);
        let mut b = 0;
        while b + 2 <= blocks {
            // The next four rows, which follow these.
            for line in (0..2 * ROWS * T::BYTES).step_by(64) {
                prefetch(ahead.wrapping_add(line));
            }
            ahead = ahead.wrapping_add(2 * ROWS * T::BYTES);
            add_block::<T>(w, x, b, &mut sums, &mut mins);
            add_block::<T>(after(w, T::BYTES), x, b + 1, &mut sums, &mut mins);
            w = after(w, 2 * T::BYTES);
            b += 2;
        }
        if b < blocks {
            add_block::<T>(w, x, b, &mut sums, &mut mins);
        }
        let pairs = [vpaddq_f32(sums[0], sums[1]), vpaddq_f32(sums[2], sums[3])];
        vaddq_f32(vpaddq_f32(pairs[0], pairs[1]), mins)
    }
}

/// Adds the products of block `b` of the activations with those at `w` to the lanes of `sums`, and
/// the minima of each row to a lane of `mins`.
#[inline(always)]
unsafe fn add_block<T: Block>(
    w: [*const u8; ROWS],
    x: Row,
    b: usize,
    sums: &mut [float32x4_t; ROWS],
    mins: &mut float32x4_t,
) {
    unsafe {
        let a: *const i8 = x.q.add(BLOCK * b).cast();
        let high = [vld1q_s8(a), vld1q_s8(a.add(16))];
        let low = [vld1q_s8(a.add(32)), vld1q_s8(a.add(48))];
        // All rows step by step, so that no instruction needs the result of the one before.
        let mut q = [[vdupq_n_s8(0); 2]; ROWS];
        for r in 0..ROWS {
            q[r] = T::weights(w[r]);
        }
        let mut dots = [vdupq_n_s32(0); ROWS];
        for i in 0..2 {
            for r in 0..ROWS {
                dots[r] = sdot(dots[r], q[r][i], high[i]);
            }
        }
        for dot in &mut dots {
            *dot = vshlq_n_s32::<7>(*dot);
        }
        for i in 0..2 {
            for r in 0..ROWS {
                dots[r] = sdot(dots[r], q[r][i], low[i]);
            }
        }
        let scales = vmulq_n_f32(halves(w), *x.scale.add(b));
        sums[0] = vfmaq_laneq_f32::<0>(sums[0], T::sum(dots[0]), scales);
        sums[1] = vfmaq_laneq_f32::<1>(sums[1], T::sum(dots[1]), scales);
        sums[2] = vfmaq_laneq_f32::<2>(sums[2], T::sum(dots[2]), scales);
        sums[3] = vfmaq_laneq_f32::<3>(sums[3], T::sum(dots[3]), scales);
        if T::MIN {
            *mins = vfmaq_n_f32(*mins, halves(after(w, 2)), *x.sum.add(b));
        }
    }
}

/// `bytes` later in each row.
#[inline(always)]
unsafe fn after(w: [*const u8; ROWS], bytes: usize) -> [*const u8; ROWS] {
    unsafe { [w[0].add(bytes), w[1].add(bytes), w[2].add(bytes), w[3].add(bytes)] }
}

/// A format with blocks of 256.
trait Super {
    const BYTES: usize;

    /// Adds the products of the block at `p` to the lanes of `sums`.
    unsafe fn add(p: *const u8, x: &Inputs, sums: &mut [float32x4_t; 2]);
}

/// The activations of 256 values.
struct Inputs {
    /// For each 32: their high bytes, their low bytes.
    q: *const i8,
    /// One for each 32.
    scale: [float32x4_t; 2],
    /// Scale times sum, for each 32.
    sum: [float32x4_t; 2],
}

#[inline(always)]
unsafe fn one_by_one<T: Super>(w: *const u8, cols: usize, x: Row, out: &mut [f32]) {
    let mut w = w;
    for out in out {
        unsafe {
            let mut sums = [vdupq_n_f32(0.0); 2];
            for b in 0..cols / 256 {
                let eight = |p: *const f32| [vld1q_f32(p.add(8 * b)), vld1q_f32(p.add(8 * b + 4))];
                let q = x.q.cast::<i8>().add(512 * b);
                T::add(w, &Inputs { q, scale: eight(x.scale), sum: eight(x.sum) }, &mut sums);
                w = w.add(T::BYTES);
            }
            *out = vaddvq_f32(vaddq_f32(sums[0], sums[1]));
        }
    }
}

impl Inputs {
    /// Both halves of the dot product of 16 weights with activations `32 * group + 16 * i` and on.
    #[inline(always)]
    unsafe fn dot(&self, dot: int32x4_t, q: [int8x16_t; 2], group: usize) -> int32x4_t {
        unsafe {
            let a = |i: usize| vld1q_s8(self.q.add(64 * group + 16 * i));
            let dot = sdot(sdot(dot, q[0], a(0)), q[1], a(1));
            sdot(sdot(vshlq_n_s32::<7>(dot), q[0], a(2)), q[1], a(3))
        }
    }
}

/// Blocks of eight groups of 32 with 6-bit scales and minima: d, dmin, both packed in 12 bytes.
/// Returns the scale of each product, that of its activations included, after having added the
/// minima.
#[inline(always)]
unsafe fn eight_groups(p: *const u8, x: &Inputs, sums: &mut [float32x4_t; 2]) -> [float32x4_t; 2] {
    unsafe {
        let word = |i: usize| p.add(4 + 4 * i).cast::<u32>().read_unaligned();
        let [first, second, third] = [word(0), word(1), word(2)];
        // Four of six bits, and four of four bits whose upper two are with the first.
        let join = |lower: u32, nibbles: u32| {
            let upper = nibbles & 0x0f0f_0f0f | lower >> 2 & 0x3030_3030;
            u64::from(lower & 0x3f3f_3f3f) | u64::from(upper) << 32
        };
        let scales = eight_floats(join(first, third));
        let mins = eight_floats(join(second, third >> 4));
        let (d, dmin) = (half(p.cast()), half(p.add(2).cast()));
        for i in 0..2 {
            sums[i] = vfmsq_f32(sums[i], vmulq_n_f32(mins[i], dmin), x.sum[i]);
        }
        [
            vmulq_f32(vmulq_n_f32(scales[0], d), x.scale[0]),
            vmulq_f32(vmulq_n_f32(scales[1], d), x.scale[1]),
        ]
    }
}

struct Q4K;
impl Super for Q4K {
    const BYTES: usize = 144;
    #[inline(always)]
    unsafe fn add(p: *const u8, x: &Inputs, sums: &mut [float32x4_t; 2]) {
        unsafe {
            let scales = eight_groups(p, x, sums);
            let zero = vdupq_n_s32(0);
            // Two groups in each 32 bytes.
            macro_rules! two_groups {
                ($j:literal, $lane:literal) => {
                    let two = p.add(16 + 32 * $j);
                    let [low_0, high_0] = nibbles(vld1q_u8(two));
                    let [low_1, high_1] = nibbles(vld1q_u8(two.add(16)));
                    let products = [
                        vcvtq_f32_s32(x.dot(zero, [low_0, low_1], 2 * $j)),
                        vcvtq_f32_s32(x.dot(zero, [high_0, high_1], 2 * $j + 1)),
                    ];
                    let scales = scales[$j / 2];
                    sums[0] = vfmaq_laneq_f32::<$lane>(sums[0], products[0], scales);
                    sums[1] = vfmaq_laneq_f32::<{ $lane + 1 }>(sums[1], products[1], scales);
                };
            }
            two_groups!(0, 0);
            two_groups!(1, 2);
            two_groups!(2, 0);
            two_groups!(3, 2);
        }
    }
}

struct Q5K;
impl Super for Q5K {
    const BYTES: usize = 176;
    #[inline(always)]
    unsafe fn add(p: *const u8, x: &Inputs, sums: &mut [float32x4_t; 2]) {
        unsafe {
            let scales = eight_groups(p, x, sums);
            let zero = vdupq_n_s32(0);
            let fifth = [vld1q_u8(p.add(16)), vld1q_u8(p.add(32))];
            // Two groups in each 32 bytes; the fifth bits of group i are bits i.
            macro_rules! two_groups {
                ($j:literal, $lane:literal, $low:expr, $high:expr) => {
                    let two = p.add(48 + 32 * $j);
                    let (mut low, mut high) = ([vdupq_n_s8(0); 2], [vdupq_n_s8(0); 2]);
                    for i in 0..2 {
                        let four = nibbles(vld1q_u8(two.add(16 * i)));
                        let bit = |v| vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(0x10)));
                        low[i] = vorrq_s8(four[0], bit($low(fifth[i])));
                        high[i] = vorrq_s8(four[1], bit($high(fifth[i])));
                    }
                    let products = [
                        vcvtq_f32_s32(x.dot(zero, low, 2 * $j)),
                        vcvtq_f32_s32(x.dot(zero, high, 2 * $j + 1)),
                    ];
                    let scales = scales[$j / 2];
                    sums[0] = vfmaq_laneq_f32::<$lane>(sums[0], products[0], scales);
                    sums[1] = vfmaq_laneq_f32::<{ $lane + 1 }>(sums[1], products[1], scales);
                };
            }
            two_groups!(0, 0, |v| vshlq_n_u8::<4>(v), |v| vshlq_n_u8::<3>(v));
            two_groups!(1, 2, |v| vshlq_n_u8::<2>(v), |v| vshlq_n_u8::<1>(v));
            two_groups!(2, 0, |v| v, |v| vshrq_n_u8::<1>(v));
            two_groups!(3, 2, |v| vshrq_n_u8::<2>(v), |v| vshrq_n_u8::<3>(v));
        }
    }
}

struct Q6K;
impl Super for Q6K {
    const BYTES: usize = 210;
    /// Groups of 16 with an 8-bit scale, by which sums are multiplied as integers: 4 (q - 32) with
    /// the high bytes is at most 128 * 64 * 4 products * 128 < 2^22 * 128, and two such sums with
    /// their low bytes and scales at most 2 * 4 * 128 * 8191 * 128 < 2^31.
    #[inline(always)]
    unsafe fn add(p: *const u8, x: &Inputs, sums: &mut [float32x4_t; 2]) {
        unsafe {
            let bytes = vld1q_s8(p.add(192).cast());
            let [low, high] = [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)];
            let scales = [
                vmovl_s16(vget_low_s16(low)),
                vmovl_high_s16(low),
                vmovl_s16(vget_low_s16(high)),
                vmovl_high_s16(high),
            ];
            let d = half(p.add(208).cast());
            half_of_q6_k(p, x, 0, [scales[0], scales[1]], vmulq_n_f32(x.scale[0], d), sums);
            half_of_q6_k(p, x, 1, [scales[2], scales[3]], vmulq_n_f32(x.scale[1], d), sums);
        }
    }
}

/// The first or the second 128 values of a block, by the scales of eight groups and those of four
/// blocks of activations.
#[inline(always)]
unsafe fn half_of_q6_k(
    p: *const u8,
    x: &Inputs,
    half: usize,
    scales: [int32x4_t; 2],
    d: float32x4_t,
    sums: &mut [float32x4_t; 2],
) {
    unsafe {
        // Of each pair of bits the upper one is inverted, which makes it the sign of q - 32.
        let pairs = p.add(128 + 32 * half);
        let pairs = [vld1q_u8(pairs), vld1q_u8(pairs.add(16))];
        let pairs = [veorq_u8(pairs[0], vdupq_n_u8(0xaa)), veorq_u8(pairs[1], vdupq_n_u8(0xaa))];
        macro_rules! group {
            ($g:literal, $upper:expr, $lower:expr, $lane:literal) => {
                let four = p.add(64 * half + 32 * ($g % 2));
                // The pair of bits, then the four, then two zeros.
                let q = [
                    vreinterpretq_s8_u8(sri_2($upper(pairs[0]), $lower(vld1q_u8(four)))),
                    vreinterpretq_s8_u8(sri_2($upper(pairs[1]), $lower(vld1q_u8(four.add(16))))),
                ];
                let a = x.q.add(64 * (4 * half + $g));
                let zero = vdupq_n_s32(0);
                let dots = [sdot(zero, q[0], vld1q_s8(a)), sdot(zero, q[1], vld1q_s8(a.add(16)))];
                let dots = [
                    sdot(vshlq_n_s32::<7>(dots[0]), q[0], vld1q_s8(a.add(32))),
                    sdot(vshlq_n_s32::<7>(dots[1]), q[1], vld1q_s8(a.add(48))),
                ];
                let product = vmulq_laneq_s32::<$lane>(dots[0], scales[$g / 2]);
                let product = vmlaq_laneq_s32::<{ $lane + 1 }>(product, dots[1], scales[$g / 2]);
                let product = vcvtq_n_f32_s32::<2>(product);
                sums[$g % 2] = vfmaq_laneq_f32::<$g>(sums[$g % 2], product, d);
            };
        }
        let high = |v| vandq_u8(v, vdupq_n_u8(0xf0));
        group!(0, |v| vshlq_n_u8::<6>(v), |v| vshlq_n_u8::<4>(v), 0);
        group!(1, |v| vshlq_n_u8::<4>(v), |v| vshlq_n_u8::<4>(v), 2);
        group!(2, |v| vshlq_n_u8::<2>(v), high, 0);
        group!(3, |v| v, high, 2);
    }
}

/// The lower and the upper four bits of 16 bytes, as signed numbers.
#[inline(always)]
unsafe fn nibbles(v: uint8x16_t) -> [int8x16_t; 2] {
    unsafe {
        let [low, high] = unpack_neon::nibbles(v);
        [vreinterpretq_s8_u8(low), vreinterpretq_s8_u8(high)]
    }
}

/// The f16 at four places.
#[inline(always)]
unsafe fn halves(p: [*const u8; 4]) -> float32x4_t {
    unsafe {
        let four = vld1q_lane_u16::<0>(p[0].cast(), vdupq_n_u16(0));
        let four = vld1q_lane_u16::<1>(p[1].cast(), four);
        let four = vld1q_lane_u16::<2>(p[2].cast(), four);
        f16_low(vld1q_lane_u16::<3>(p[3].cast(), four))
    }
}

/// Eight bytes as numbers.
#[inline(always)]
unsafe fn eight_floats(bytes: u64) -> [float32x4_t; 2] {
    unsafe {
        let wide = vmovl_u8(vcreate_u8(bytes));
        [vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), vcvtq_f32_u32(vmovl_high_u16(wide))]
    }
}
