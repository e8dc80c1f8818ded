//! [`Simd`] with NEON, four registers for sixteen lanes. What every machine of this architecture
//! has is written once; the products of weights and activations come in three kinds ([`Products`]),
//! depending on the extensions they need.
//!
//! Rust's intrinsics for the extensions, and those for f16, are not stable in the oldest compiler
//! that builds this crate, so a few single instructions are inline assembly.

use super::{ACTIVATION_MAX, Products, Simd};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};
use std::marker::PhantomData;

/// The features that [`Neon`] with [`Widening`] needs.
pub(crate) fn detected() -> bool {
    is_aarch64_feature_detected!("neon")
}

/// What [`Neon`] with [`Bytes<false>`] needs.
pub(crate) fn dotprod_detected() -> bool {
    detected() && is_aarch64_feature_detected!("dotprod")
}

/// What [`Neon`] with [`Bytes<true>`] needs.
pub(crate) fn i8mm_detected() -> bool {
    dotprod_detected() && is_aarch64_feature_detected!("i8mm")
}

/// NEON with products of the kind `P`.
#[derive(Clone, Copy)]
pub(crate) struct Neon<P>(PhantomData<P>);

type F = [float32x4_t; 4];
type I = [int32x4_t; 4];
type W = [int8x16_t; 4];

/// The part of [`Simd`] that differs by extension; its items are documented there.
pub(crate) trait Order: Copy + 'static {
    unsafe fn store_activations(p: *mut i16, low: I, high: I);
}

macro_rules! lanewise {
    ($($name:ident($($arg:ident),+): $kind:ty = $op:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $kind),+) -> $kind {
            unsafe {
                [$op($($arg[0]),+), $op($($arg[1]),+), $op($($arg[2]),+), $op($($arg[3]),+)]
            }
        }
    )+};
}

impl<P: Order> Simd for Neon<P> {
    type F = F;
    type I = I;

    const REGISTERS: usize = 8;

    lanewise! {
        add(a, b): F = vaddq_f32;
        sub(a, b): F = vsubq_f32;
        mul(a, b): F = vmulq_f32;
        div(a, b): F = vdivq_f32;
        max(a, b): F = vmaxq_f32;
        min(a, b): F = vminq_f32;
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> F {
        unsafe { [vdupq_n_f32(x); 4] }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> F {
        unsafe { [vld1q_f32(p), vld1q_f32(p.add(4)), vld1q_f32(p.add(8)), vld1q_f32(p.add(12))] }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> F {
        unsafe {
            let [a, b] = [vld1q_u16(p), vld1q_u16(p.add(8))];
            [f16_low(a), f16_high(a), f16_low(b), f16_high(b)]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> F {
        unsafe {
            let four = |p| vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(p))));
            [four(p), four(p.add(4)), four(p.add(8)), four(p.add(12))]
        }
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> F {
        unsafe { floats(vld1q_s8(p)) }
    }
    #[inline(always)]
    unsafe fn nibbles(p: *const u8) -> [F; 2] {
        unsafe {
            let [low, high] = split_nibbles(p);
            [floats(low), floats(high)]
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: F) {
        unsafe {
            vst1q_f32(p, v[0]);
            vst1q_f32(p.add(4), v[1]);
            vst1q_f32(p.add(8), v[2]);
            vst1q_f32(p.add(12), v[3]);
        }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: F) {
        unsafe {
            vst1q_u16(p, to_f16(v[0], v[1]));
            vst1q_u16(p.add(8), to_f16(v[2], v[3]));
        }
    }
    #[inline(always)]
    unsafe fn fma(a: F, b: F, c: F) -> F {
        unsafe {
            [
                vfmaq_f32(c[0], a[0], b[0]),
                vfmaq_f32(c[1], a[1], b[1]),
                vfmaq_f32(c[2], a[2], b[2]),
                vfmaq_f32(c[3], a[3], b[3]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn sum(v: F) -> f32 {
        unsafe { vaddvq_f32(vaddq_f32(vaddq_f32(v[0], v[1]), vaddq_f32(v[2], v[3]))) }
    }
    #[inline(always)]
    unsafe fn greatest(v: F) -> f32 {
        unsafe { vmaxvq_f32(vmaxq_f32(vmaxq_f32(v[0], v[1]), vmaxq_f32(v[2], v[3]))) }
    }
    #[inline(always)]
    unsafe fn sum4(v: [F; 4]) -> [f32; 4] {
        unsafe {
            let [a, b, c, d] = v.map(|x| vaddq_f32(vaddq_f32(x[0], x[1]), vaddq_f32(x[2], x[3])));
            let sums = vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
            std::mem::transmute::<float32x4_t, [f32; 4]>(sums)
        }
    }
    #[inline(always)]
    unsafe fn round(v: F) -> I {
        unsafe { v.map(|x| vcvtnq_s32_f32(x)) }
    }
    #[inline(always)]
    unsafe fn exp2(v: I) -> F {
        unsafe {
            v.map(|x| {
                let exponent = vaddq_s32(x, vdupq_n_s32(127));
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
            })
        }
    }
    #[inline(always)]
    unsafe fn to_f32(v: I) -> F {
        unsafe { v.map(|x| vcvtq_f32_s32(x)) }
    }
    #[inline(always)]
    unsafe fn sum_i(v: I) -> i32 {
        unsafe { vaddvq_s32(vaddq_s32(vaddq_s32(v[0], v[1]), vaddq_s32(v[2], v[3]))) }
    }
    #[inline(always)]
    unsafe fn store_activations(p: *mut i16, low: I, high: I) {
        unsafe { P::store_activations(p, low, high) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        prefetch(p);
    }
    #[inline(always)]
    unsafe fn f16x4(p: [*const u16; 4]) -> [f32; 4] {
        unsafe {
            let four = vdupq_n_u16(p[0].read_unaligned());
            let four = vsetq_lane_u16::<1>(p[1].read_unaligned(), four);
            let four = vsetq_lane_u16::<2>(p[2].read_unaligned(), four);
            let four = vsetq_lane_u16::<3>(p[3].read_unaligned(), four);
            std::mem::transmute::<float32x4_t, [f32; 4]>(f16_low(four))
        }
    }
    #[inline(always)]
    unsafe fn look_up(table: &[i8; 16], p: *const u8) -> [i8; 32] {
        unsafe {
            let (table, bytes) = (vld1q_s8(table.as_ptr()), vld1q_u8(p));
            let low = vqtbl1q_s8(table, vandq_u8(bytes, vdupq_n_u8(15)));
            std::mem::transmute([low, vqtbl1q_s8(table, vshrq_n_u8::<4>(bytes))])
        }
    }
}

/// For every machine: weights are widened to 16 bits, activations are stored in order.
///
/// Sums fit: a product is at most 128 * 8191 < 2^20, and at most 32 of them, with an excess of 32 *
/// 32 * 8191 < 2^24, add up in a lane.
#[derive(Clone, Copy)]
pub(crate) struct Widening;

impl Order for Widening {
    #[inline(always)]
    unsafe fn store_activations(p: *mut i16, low: I, high: I) {
        unsafe {
            for (at, v) in [(0, low), (16, high)] {
                vst1q_s16(p.add(at), narrow(v[0], v[1]));
                vst1q_s16(p.add(at + 8), narrow(v[2], v[3]));
            }
        }
    }
}

impl Products for Neon<Widening> {
    /// Values 8 i to 8 i + 7 in register i.
    type A = [int16x8_t; 8];

    // 16 registers of sums, 8 of activations, 3 of weights.
    const TILE: usize = 4;
    const GROUP_BYTES: usize = 256;
    #[inline(always)]
    unsafe fn activations(p: *const i16) -> Self::A {
        unsafe {
            let eight = |i: usize| vld1q_s16(p.add(8 * i));
            [eight(0), eight(1), eight(2), eight(3), eight(4), eight(5), eight(6), eight(7)]
        }
    }
    #[inline(always)]
    unsafe fn half_activations(p: *const i16) -> Self::A {
        unsafe {
            let eight = |i: usize| vld1q_s16(p.add(8 * i));
            let zero = vdupq_n_s16(0);
            [eight(0), eight(1), eight(2), eight(3), zero, zero, zero, zero]
        }
    }
    #[inline(always)]
    unsafe fn lane_sums(a: Self::A) -> I {
        unsafe {
            let mut sums = [vdupq_n_s32(0); 4];
            for i in 0..4 {
                sums[i] = vpadalq_s16(vpaddlq_s16(a[2 * i]), a[2 * i + 1]);
            }
            sums
        }
    }
    #[inline(always)]
    unsafe fn dot(acc: I, w: W, a: Self::A) -> I {
        let mut acc = acc;
        for i in 0..4 {
            unsafe {
                let wide = [vmovl_s8(vget_low_s8(w[i])), vmovl_high_s8(w[i])];
                for (w, a) in wide.into_iter().zip([a[2 * i], a[2 * i + 1]]) {
                    acc[i] = vmlal_s16(acc[i], vget_low_s16(w), vget_low_s16(a));
                    acc[i] = vmlal_high_s16(acc[i], w, a);
                }
            }
        }
        acc
    }
    /// Value by value: a byte of each row.
    #[inline(always)]
    unsafe fn pack<const SIGNED: bool>(rows: [*const u8; 16], group: *mut u8) {
        for (row, p) in rows.into_iter().enumerate() {
            for k in 0..16 {
                unsafe { group.add(16 * k + row).write(p.add(k).read()) };
            }
        }
    }
    #[inline(always)]
    unsafe fn pack_nibbles(rows: [*const u8; 16], groups: [*mut u8; 2]) {
        for (row, p) in rows.into_iter().enumerate() {
            for k in 0..16 {
                unsafe {
                    let byte = p.add(k).read();
                    groups[0].add(16 * k + row).write(byte & 15);
                    groups[1].add(16 * k + row).write(byte >> 4);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn dot_group<const N: usize>(
        acc: &mut [I; N],
        group: *const u8,
        a: [*const i16; N],
        half: usize,
    ) {
        // Eight values, since the lane is a constant of the instruction.
        macro_rules! eight {
            ($from:literal: $($lane:literal)+) => {unsafe {
                let mut values = [vdupq_n_s16(0); N];
                for t in 0..N {
                    values[t] = vld1q_s16(a[t].add(16 * half + $from));
                }
                $(
                    let w = vld1q_s8(group.add(16 * ($from + $lane)).cast());
                    let (low, high) = (vmovl_s8(vget_low_s8(w)), vmovl_high_s8(w));
                    for t in 0..N {
                        let (a, acc) = (values[t], &mut acc[t]);
                        acc[0] = vmlal_laneq_s16::<$lane>(acc[0], vget_low_s16(low), a);
                        acc[1] = vmlal_high_laneq_s16::<$lane>(acc[1], low, a);
                        acc[2] = vmlal_laneq_s16::<$lane>(acc[2], vget_low_s16(high), a);
                        acc[3] = vmlal_high_laneq_s16::<$lane>(acc[3], high, a);
                    }
                )+
            }};
        }
        eight!(0: 0 1 2 3 4 5 6 7);
        eight!(8: 0 1 2 3 4 5 6 7);
    }
    type W = W;
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> F {
        unsafe {
            let a = vdupq_n_f32(p.read_unaligned());
            let b = vdupq_n_f32(p.add(1).read_unaligned());
            [a, a, b, b]
        }
    }
    #[inline(always)]
    unsafe fn splat_i(x: i32) -> I {
        unsafe { [vdupq_n_s32(x); 4] }
    }
    #[inline(always)]
    unsafe fn negated_shift<const BITS: u32>(v: I) -> I {
        // The shift intrinsic wants a signed constant; the compiler sees that this is one.
        unsafe { v.map(|x| vnegq_s32(vshlq_s32(x, vdupq_n_s32(BITS as i32)))) }
    }
    #[inline(always)]
    unsafe fn halves(p0: *const i8, p1: *const i8) -> W {
        unsafe { [vld1q_s8(p0), vld1q_s8(p0.add(16)), vld1q_s8(p1), vld1q_s8(p1.add(16))] }
    }
    #[inline(always)]
    unsafe fn half(p: *const i8) -> W {
        unsafe { [vld1q_s8(p), vld1q_s8(p.add(16)), vdupq_n_s8(0), vdupq_n_s8(0)] }
    }
    #[inline(always)]
    unsafe fn nibbles_of_two(p0: *const u8, p1: *const u8) -> W {
        unsafe {
            let ([a, b], [c, d]) = (split_nibbles(p0), split_nibbles(p1));
            [a, b, c, d]
        }
    }
    #[inline(always)]
    unsafe fn nibbles_of_one(p: *const u8) -> W {
        unsafe {
            let [low, high] = split_nibbles(p);
            [low, high, vdupq_n_s8(0), vdupq_n_s8(0)]
        }
    }
    #[inline(always)]
    unsafe fn nibbles_of_half(p: *const u8) -> W {
        unsafe {
            let ([a, c], [b, d]) = (split_nibbles(p), split_nibbles(p.add(16)));
            [a, b, c, d]
        }
    }
    #[inline(always)]
    unsafe fn five_bits_of_half(low: *const u8, high: *const u8, j: usize) -> W {
        unsafe {
            let mut w = Self::nibbles_of_half(low);
            for (i, w) in w.iter_mut().enumerate() {
                let down = vdupq_n_s8(-((2 * j + i / 2) as i8));
                let bit = vandq_u8(vshlq_u8(vld1q_u8(high.add(16 * (i % 2))), down), vdupq_n_u8(1));
                *w = vorrq_s8(*w, vreinterpretq_s8_u8(vshlq_n_u8::<4>(bit)));
            }
            w
        }
    }
    #[inline(always)]
    unsafe fn with_fifth_bits(mut w: W, bits: [u32; 2]) -> W {
        unsafe {
            let each = vdup_n_u64(0x8040_2010_0804_0201);
            let each = vreinterpretq_u8_u64(vcombine_u64(each, each));
            for (i, w) in w.iter_mut().enumerate() {
                let [low, high] = ((bits[i / 2] >> (16 * (i % 2))) as u16).to_le_bytes();
                let mine = vcombine_u8(vdup_n_u8(low), vdup_n_u8(high));
                let set = vandq_u8(vtstq_u8(mine, each), vdupq_n_u8(16));
                *w = vaddq_s8(*w, vreinterpretq_s8_u8(set));
            }
            w
        }
    }
    #[inline(always)]
    unsafe fn six_bits(low: *const u8, high: *const u8) -> [W; 2] {
        unsafe {
            let mut weights = [[vdupq_n_s8(0); 4]; 2];
            let upper = [vld1q_u8(high), vld1q_u8(high.add(16))];
            for i in 0..4 {
                let [first, second] = split_nibbles(low.add(16 * i));
                // Bits 0-1 and 2-3 belong to the first 64 values, 4-5 and 6-7 to the others; all
                // go to bits 4-5 of their value.
                let upper = upper[i % 2];
                let [of_first, of_second] = match i / 2 {
                    0 => [vshlq_n_u8::<4>(upper), upper],
                    _ => [vshlq_n_u8::<2>(upper), vshrq_n_u8::<2>(upper)],
                };
                for (half, low, upper) in [(0, first, of_first), (1, second, of_second)] {
                    let upper = vreinterpretq_s8_u8(vandq_u8(upper, vdupq_n_u8(0x30)));
                    weights[half][i] = vsubq_s8(vorrq_s8(low, upper), vdupq_n_s8(32));
                }
            }
            weights
        }
    }
    #[inline(always)]
    unsafe fn dot_scaled(w: W, scales: *const i16, a: Self::A) -> I {
        unsafe {
            // A lane adds four products, so this is at most 4 * 32 * 8191 * 128 < 2^27.
            let sums = Self::dot([vdupq_n_s32(0); 4], w, a);
            let four = vmovl_s16(vld1_s16(scales));
            [
                vmulq_laneq_s32::<0>(sums[0], four),
                vmulq_laneq_s32::<1>(sums[1], four),
                vmulq_laneq_s32::<2>(sums[2], four),
                vmulq_laneq_s32::<3>(sums[3], four),
            ]
        }
    }
}

/// For machines with byte products: an activation is `128 * high + low`, -64 <= high <= 64 and -64
/// <= low < 64; 32 bytes `high` of a block are followed by 32 bytes `low`. The dot product
/// extension multiplies them; with `I8MM`, in the panel product, 8-bit matrix multiplication, which
/// does twice as much at a time.
///
/// Sums fit: a product of either half is at most 128 * 64 = 2^13, and at most 32 of them add up in
/// a lane before the high ones are shifted by 7: 2^18 and 2^25, with an excess of 32 * 32 * 8191 <
/// 2^24.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<const I8MM: bool>;

/// How [`Bytes`] and [`OneByte`] differ to the kernels that are written for them.
pub(in crate::engine::cpu) trait ByteProducts: Order {
    /// Whether there are 8-bit matrix products.
    const I8MM: bool;
    /// Whether an activation has a low byte too.
    const HALVES: bool;
    /// Whether matrix times vector takes matrix products: their second column is the low bytes.
    const VECTORS: bool = Self::I8MM && Self::HALVES;
}

impl<const I8MM: bool> ByteProducts for Bytes<I8MM> {
    const I8MM: bool = I8MM;
    const HALVES: bool = true;
}

/// For the same machines and activations in 8 bits: the first 32 bytes of a block, in order.
#[derive(Clone, Copy)]
pub(crate) struct OneByte<const I8MM: bool>;

impl<const I8MM: bool> ByteProducts for OneByte<I8MM> {
    const I8MM: bool = I8MM;
    const HALVES: bool = false;
}

impl<const I8MM: bool> Order for OneByte<I8MM> {
    #[inline(always)]
    unsafe fn store_activations(p: *mut i16, low: I, high: I) {
        unsafe {
            for (at, v) in [(0, low), (16, high)] {
                let [a, b] = [narrow(v[0], v[1]), narrow(v[2], v[3])];
                vst1q_s8(p.cast::<i8>().add(at), vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
            }
        }
    }
}

const SPLIT: i32 = 7;
const _: () = assert!((ACTIVATION_MAX + 64) >> SPLIT <= 64);

impl<const I8MM: bool> Order for Bytes<I8MM> {
    #[inline(always)]
    unsafe fn store_activations(p: *mut i16, low: I, high: I) {
        unsafe {
            for (at, v) in [(0, low), (16, high)] {
                let [a, b] = [narrow(v[0], v[1]), narrow(v[2], v[3])];
                // Rounds to nearest: (v + 64) >> 7.
                let [high_a, high_b] = [vrshrq_n_s16::<SPLIT>(a), vrshrq_n_s16::<SPLIT>(b)];
                let low_a = vsubq_s16(a, vshlq_n_s16::<SPLIT>(high_a));
                let low_b = vsubq_s16(b, vshlq_n_s16::<SPLIT>(high_b));
                let [high_a, high_b] = [vmovn_s16(high_a), vmovn_s16(high_b)];
                let [low_a, low_b] = [vmovn_s16(low_a), vmovn_s16(low_b)];
                let p = p.cast::<i8>();
                if I8MM {
                    vst1q_s8(p.add(2 * at), vcombine_s8(high_a, low_a));
                    vst1q_s8(p.add(2 * at + 16), vcombine_s8(high_b, low_b));
                } else {
                    vst1q_s8(p.add(at), vcombine_s8(high_a, high_b));
                    vst1q_s8(p.add(at + 32), vcombine_s8(low_a, low_b));
                }
            }
        }
    }
}

/// 32-bit integers that fit 16 bits.
#[inline(always)]
unsafe fn narrow(a: int32x4_t, b: int32x4_t) -> int16x8_t {
    unsafe { vcombine_s16(vmovn_s32(a), vmovn_s32(b)) }
}

/// As floats.
#[inline(always)]
unsafe fn floats(bytes: int8x16_t) -> F {
    unsafe {
        let [low, high] = [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)];
        [
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
            vcvtq_f32_s32(vmovl_high_s16(low)),
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
            vcvtq_f32_s32(vmovl_high_s16(high)),
        ]
    }
}

/// The lower nibbles of 16 bytes, and the upper ones.
#[inline(always)]
unsafe fn split_nibbles(p: *const u8) -> [int8x16_t; 2] {
    unsafe {
        let v = vld1q_u8(p);
        [vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8::<4>(v)].map(|x| vreinterpretq_s8_u8(x))
    }
}

/// Prefetches the line at `p`.
#[inline(always)]
pub(in crate::engine::cpu) fn prefetch(p: *const u8) {
    prefetch_at::<0>(p);
}

/// Prefetches the line at `p + OFFSET`, a multiple of eight.
#[inline(always)]
pub(in crate::engine::cpu) fn prefetch_at<const OFFSET: usize>(p: *const u8) {
    // SAFETY: a hint, which no address can make fail, and which reads nothing that the program
    // sees.
    unsafe {
        asm!("prfm pldl1keep, [{}, #{offset}]", in(reg) p.addr(), offset = const OFFSET,
            options(nomem, nostack, preserves_flags));
    }
}

/// The f16 at `p`. The conversion of the `half` crate is a call here.
///
/// # Safety
/// `p` must be valid; it need not be aligned.
#[inline(always)]
pub(in crate::engine::cpu) unsafe fn half(p: *const u16) -> f32 {
    let out;
    // SAFETY: two bytes that the caller vouches for; every machine with NEON has the instructions.
    unsafe {
        asm!("ldr {out:h}, [{p}]", "fcvt {out:s}, {out:h}", out = out(vreg) out, p = in(reg) p,
            options(pure, readonly, nostack, preserves_flags));
    }
    out
}

/// The four f16 in the lower half.
#[inline(always)]
pub(in crate::engine::cpu) fn f16_low(v: uint16x8_t) -> float32x4_t {
    let out;
    // SAFETY: registers in, a register out; every machine with NEON has the instruction.
    unsafe {
        asm!("fcvtl {:v}.4s, {:v}.4h", out(vreg) out, in(vreg) v,
            options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// The four f16 in the upper half.
#[inline(always)]
fn f16_high(v: uint16x8_t) -> float32x4_t {
    let out;
    // SAFETY: as above.
    unsafe {
        asm!("fcvtl2 {:v}.4s, {:v}.8h", out(vreg) out, in(vreg) v,
            options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// Eight f16, rounded to nearest.
#[inline(always)]
fn to_f16(low: float32x4_t, high: float32x4_t) -> uint16x8_t {
    let out;
    // SAFETY: as above.
    unsafe {
        asm!("fcvtn {out:v}.4h, {low:v}.4s", "fcvtn2 {out:v}.8h, {high:v}.4s",
            out = out(vreg) out, low = in(vreg) low, high = in(vreg) high,
            options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// Adds to each lane the products of four bytes.
#[inline]
#[target_feature(enable = "dotprod")]
pub(in crate::engine::cpu) fn sdot(acc: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    let mut acc = acc;
    // SAFETY: registers in, a register out; the function's feature has the instruction.
    unsafe {
        asm!("sdot {:v}.4s, {:v}.16b, {:v}.16b", inout(vreg) acc, in(vreg) w, in(vreg) a,
            options(pure, nomem, nostack, preserves_flags));
    }
    acc
}

/// [`sdot`] of four sums, in this order.
///
/// A product takes four cycles, which a core that executes in order waits for if the next instruction
/// needs it. The compiler doesn't know the latency of assembly and would put the products of a sum in a
/// row. Other cores don't mind: the instructions are the same. `readonly` keeps loads, too, where they
/// are in the source: all at the front, they would need more registers than there are.
#[inline]
#[target_feature(enable = "dotprod")]
pub(in crate::engine::cpu) fn sdot_4(mut sums: I, w: W, a: W) -> I {
    // SAFETY: registers in, registers out; the function's feature has the instruction.
    unsafe {
        asm!(
            "sdot {s0:v}.4s, {w0:v}.16b, {a0:v}.16b",
            "sdot {s1:v}.4s, {w1:v}.16b, {a1:v}.16b",
            "sdot {s2:v}.4s, {w2:v}.16b, {a2:v}.16b",
            "sdot {s3:v}.4s, {w3:v}.16b, {a3:v}.16b",
            s0 = inout(vreg) sums[0], s1 = inout(vreg) sums[1],
            s2 = inout(vreg) sums[2], s3 = inout(vreg) sums[3],
            w0 = in(vreg) w[0], w1 = in(vreg) w[1], w2 = in(vreg) w[2], w3 = in(vreg) w[3],
            a0 = in(vreg) a[0], a1 = in(vreg) a[1], a2 = in(vreg) a[2], a3 = in(vreg) a[3],
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    sums
}

/// Adds to `sums`, by row and group, the products of two groups of 32 weights of two rows with
/// activations, each times a lane of `scales`: `LANE` for the first group, then the next. `q` has the
/// first half of each group, then the second.
///
/// All in one piece of assembly, ordered as in [`sdot_4`], down to the conversions: the compiler would
/// put these off until the sums no longer fit the registers.
///
/// # Safety
/// `a + AT` must be valid for two blocks of activations.
#[inline]
#[target_feature(enable = "dotprod")]
pub(in crate::engine::cpu) unsafe fn add_two_groups<
    M: ByteProducts,
    const AT: usize,
    const LANE: usize,
>(
    mut sums: F,
    q: [W; 2],
    scales: [float32x4_t; 2],
    a: *const i8,
) -> F {
    macro_rules! add {
        ($($low:literal),*) => {
            asm!(
                "ldp {a:q}, {c:q}, [{p}, #{at}]",
                "ldp {b:q}, {d:q}, [{p}, #{at} + 64]",
                "movi {d0:v}.2d, #0",
                "movi {d1:v}.2d, #0",
                "movi {d2:v}.2d, #0",
                "movi {d3:v}.2d, #0",
                "sdot {d0:v}.4s, {w0:v}.16b, {a:v}.16b",
                "sdot {d1:v}.4s, {w1:v}.16b, {b:v}.16b",
                "sdot {d2:v}.4s, {w2:v}.16b, {a:v}.16b",
                "sdot {d3:v}.4s, {w3:v}.16b, {b:v}.16b",
                "sdot {d0:v}.4s, {w4:v}.16b, {c:v}.16b",
                "sdot {d1:v}.4s, {w5:v}.16b, {d:v}.16b",
                "sdot {d2:v}.4s, {w6:v}.16b, {c:v}.16b",
                "sdot {d3:v}.4s, {w7:v}.16b, {d:v}.16b",
                $($low,)*
                "scvtf {d0:v}.4s, {d0:v}.4s",
                "scvtf {d1:v}.4s, {d1:v}.4s",
                "scvtf {d2:v}.4s, {d2:v}.4s",
                "scvtf {d3:v}.4s, {d3:v}.4s",
                "fmla {s0:v}.4s, {d0:v}.4s, {f0:v}.s[{lane}]",
                "fmla {s1:v}.4s, {d1:v}.4s, {f0:v}.s[{lane} + 1]",
                "fmla {s2:v}.4s, {d2:v}.4s, {f1:v}.s[{lane}]",
                "fmla {s3:v}.4s, {d3:v}.4s, {f1:v}.s[{lane} + 1]",
                s0 = inout(vreg) sums[0], s1 = inout(vreg) sums[1],
                s2 = inout(vreg) sums[2], s3 = inout(vreg) sums[3],
                w0 = in(vreg) q[0][0], w1 = in(vreg) q[0][1],
                w2 = in(vreg) q[0][2], w3 = in(vreg) q[0][3],
                w4 = in(vreg) q[1][0], w5 = in(vreg) q[1][1],
                w6 = in(vreg) q[1][2], w7 = in(vreg) q[1][3],
                f0 = in(vreg) scales[0], f1 = in(vreg) scales[1],
                a = out(vreg) _, b = out(vreg) _, c = out(vreg) _, d = out(vreg) _,
                d0 = out(vreg) _, d1 = out(vreg) _, d2 = out(vreg) _, d3 = out(vreg) _,
                p = in(reg) a, at = const AT, lane = const LANE,
                options(pure, readonly, nostack, preserves_flags)
            )
        };
    }
    // SAFETY: the caller vouches for the bytes; the function's feature has the instructions.
    unsafe {
        if M::HALVES {
            add!(
                "ldp {a:q}, {c:q}, [{p}, #{at} + 32]",
                "ldp {b:q}, {d:q}, [{p}, #{at} + 96]",
                "shl {d0:v}.4s, {d0:v}.4s, #7",
                "shl {d1:v}.4s, {d1:v}.4s, #7",
                "shl {d2:v}.4s, {d2:v}.4s, #7",
                "shl {d3:v}.4s, {d3:v}.4s, #7",
                "sdot {d0:v}.4s, {w0:v}.16b, {a:v}.16b",
                "sdot {d1:v}.4s, {w1:v}.16b, {b:v}.16b",
                "sdot {d2:v}.4s, {w2:v}.16b, {a:v}.16b",
                "sdot {d3:v}.4s, {w3:v}.16b, {b:v}.16b",
                "sdot {d0:v}.4s, {w4:v}.16b, {c:v}.16b",
                "sdot {d1:v}.4s, {w5:v}.16b, {d:v}.16b",
                "sdot {d2:v}.4s, {w6:v}.16b, {c:v}.16b",
                "sdot {d3:v}.4s, {w7:v}.16b, {d:v}.16b"
            );
        } else {
            add!();
        }
    }
    sums
}

/// Of two products of matrices with high bytes and low ones ([`smmla`]): four sums of both.
#[inline(always)]
pub(in crate::engine::cpu) fn both_bytes(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: registers in, a register out; every machine with NEON has the instructions. In
    // assembly, since the compiler makes a shift and an addition of the product.
    unsafe {
        let mut sums = vuzp2q_s32(a, b);
        asm!("mla {:v}.4s, {:v}.4s, {:v}.4s", inout(vreg) sums, in(vreg) vuzp1q_s32(a, b),
            in(vreg) vdupq_n_s32(1 << SPLIT), options(pure, nomem, nostack, preserves_flags));
        sums
    }
}

/// The lower eight bytes of two registers, and the upper ones. The compiler makes two instructions
/// of the intrinsic.
#[inline(always)]
pub(in crate::engine::cpu) fn zip_halves(a: int8x16_t, b: int8x16_t) -> [int8x16_t; 2] {
    let (lower, upper);
    // SAFETY: registers in, registers out; every machine with NEON has the instructions.
    unsafe {
        asm!("zip1 {lower:v}.2d, {a:v}.2d, {b:v}.2d", "zip2 {upper:v}.2d, {a:v}.2d, {b:v}.2d",
            lower = out(vreg) lower, upper = lateout(vreg) upper, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    [lower, upper]
}

/// Keeps the upper two bits of each byte and puts the upper six of another below them. The compiler
/// makes five instructions of the intrinsic.
#[inline(always)]
pub(in crate::engine::cpu) fn sri_2(upper: uint8x16_t, lower: uint8x16_t) -> uint8x16_t {
    let mut both = upper;
    // SAFETY: registers in, a register out; every machine with NEON has the instruction.
    unsafe {
        asm!("sri {:v}.16b, {:v}.16b, #2", inout(vreg) both, in(vreg) lower,
            options(pure, nomem, nostack, preserves_flags));
    }
    both
}

/// Adds to each lane the products of its four bytes with those of lane `LANE` of `a`.
#[inline]
#[target_feature(enable = "dotprod")]
pub(in crate::engine::cpu) fn sdot_lane<const LANE: i32>(
    acc: int32x4_t,
    w: int8x16_t,
    a: int8x16_t,
) -> int32x4_t {
    let mut acc = acc;
    // SAFETY: as above.
    unsafe {
        asm!("sdot {:v}.4s, {:v}.16b, {:v}.4b[{lane}]", inout(vreg) acc, in(vreg) w, in(vreg) a,
            lane = const LANE, options(pure, nomem, nostack, preserves_flags));
    }
    acc
}

/// Adds the product of a 2x8 matrix with the transpose of another.
#[inline]
#[target_feature(enable = "i8mm")]
pub(in crate::engine::cpu) fn smmla(acc: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    let mut acc = acc;
    // SAFETY: as above.
    unsafe {
        asm!("smmla {:v}.4s, {:v}.16b, {:v}.16b", inout(vreg) acc, in(vreg) w, in(vreg) a,
            options(pure, nomem, nostack, preserves_flags));
    }
    acc
}

/// Products of 32 weights of two rows, twice: each with activations that are eight high bytes and eight
/// low ones, four times. Returns those of one row, high and low, then those of the other. The order is
/// that of [`sdot_4`]: no instruction needs the result of the one before.
#[inline]
#[target_feature(enable = "i8mm")]
pub(in crate::engine::cpu) fn smmla_2(rows: [[[int8x16_t; 2]; 2]; 2], a: [W; 2]) -> [int32x4_t; 2] {
    let [[one, other], [third, fourth]] = rows;
    let (s, t);
    // SAFETY: registers in, registers out; the function's feature has the instructions.
    unsafe {
        asm!(
            "movi {s:v}.2d, #0",
            "movi {t:v}.2d, #0",
            "zip1 {x:v}.2d, {one:v}.2d, {other:v}.2d",
            "zip1 {y:v}.2d, {third:v}.2d, {fourth:v}.2d",
            "zip2 {one:v}.2d, {one:v}.2d, {other:v}.2d",
            "zip2 {third:v}.2d, {third:v}.2d, {fourth:v}.2d",
            "smmla {s:v}.4s, {x:v}.16b, {a0:v}.16b",
            "smmla {t:v}.4s, {y:v}.16b, {b0:v}.16b",
            "zip1 {x:v}.2d, {one_1:v}.2d, {other_1:v}.2d",
            "zip1 {y:v}.2d, {third_1:v}.2d, {fourth_1:v}.2d",
            "smmla {s:v}.4s, {one:v}.16b, {a1:v}.16b",
            "smmla {t:v}.4s, {third:v}.16b, {b1:v}.16b",
            "zip2 {one_1:v}.2d, {one_1:v}.2d, {other_1:v}.2d",
            "zip2 {third_1:v}.2d, {third_1:v}.2d, {fourth_1:v}.2d",
            "smmla {s:v}.4s, {x:v}.16b, {a2:v}.16b",
            "smmla {t:v}.4s, {y:v}.16b, {b2:v}.16b",
            "smmla {s:v}.4s, {one_1:v}.16b, {a3:v}.16b",
            "smmla {t:v}.4s, {third_1:v}.16b, {b3:v}.16b",
            one = inout(vreg) one[0] => _, other = in(vreg) other[0],
            third = inout(vreg) third[0] => _, fourth = in(vreg) fourth[0],
            one_1 = inout(vreg) one[1] => _, other_1 = in(vreg) other[1],
            third_1 = inout(vreg) third[1] => _, fourth_1 = in(vreg) fourth[1],
            a0 = in(vreg) a[0][0], a1 = in(vreg) a[0][1],
            a2 = in(vreg) a[0][2], a3 = in(vreg) a[0][3],
            b0 = in(vreg) a[1][0], b1 = in(vreg) a[1][1],
            b2 = in(vreg) a[1][2], b3 = in(vreg) a[1][3],
            s = out(vreg) s, t = out(vreg) t, x = out(vreg) _, y = out(vreg) _,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [s, t]
}
