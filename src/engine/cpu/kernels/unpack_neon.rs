//! Blocks of weights taken apart in registers.

use super::super::simd::neon::f16_low;
use super::formats::{self, Format, Scattered, half_at};
use super::matmul_neon::ROWS;
use crate::quant::iq4_nl::LEVELS;
use std::arch::aarch64::*;

pub(super) use formats::{Iq4Nl, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

/// A [`Format`] whose blocks can be taken apart by parts.
pub(super) trait Unpack: Format {
    /// Values `32 * i` to `32 * i + 31` of a block, less [`Format::OFFSET`].
    unsafe fn values(block: *const u8, i: usize) -> [int8x16_t; 2];

    /// Writes the scales and minima of a block of four rows, each group [`ROWS`] numbers after the one
    /// before it. Scales of groups that are half a block of activations are integers, and in place of
    /// minima there is, for each such block, what they are multiplied by.
    #[inline(always)]
    unsafe fn scales_of_four(w: [*const u8; 4], scale: *mut f32, min: *mut f32) {
        assert!(Self::LEN == 32, "other blocks have scales of their own");
        unsafe {
            vst1q_f32(scale, halves(w));
            if Self::MIN {
                vst1q_f32(min, halves(after(w, 2)));
            }
        }
    }
}

impl Unpack for Q8_0 {
    #[inline(always)]
    unsafe fn values(block: *const u8, _: usize) -> [int8x16_t; 2] {
        unsafe { [vld1q_s8(block.add(2).cast()), vld1q_s8(block.add(18).cast())] }
    }
}

impl Unpack for Q4_0 {
    #[inline(always)]
    unsafe fn values(block: *const u8, _: usize) -> [int8x16_t; 2] {
        unsafe {
            let [low, high] = nibbles(vld1q_u8(block.add(2)));
            less::<8>([low, high])
        }
    }
}

impl Unpack for Q4_1 {
    #[inline(always)]
    unsafe fn values(block: *const u8, _: usize) -> [int8x16_t; 2] {
        unsafe { less::<0>(nibbles(vld1q_u8(block.add(4)))) }
    }
}

impl Unpack for Iq4Nl {
    #[inline(always)]
    unsafe fn values(block: *const u8, _: usize) -> [int8x16_t; 2] {
        unsafe { levels(block.add(2)) }
    }
}

/// Rare formats, by way of memory.
macro_rules! by_memory {
    ($($format:ty),+) => {$(
        impl Unpack for $format {
            #[inline(always)]
            unsafe fn values(block: *const u8, _: usize) -> [int8x16_t; 2] {
                let mut q = [0u8; 32];
                unsafe {
                    Self::unpack(block, &mut q);
                    less::<{ <$format>::OFFSET as u8 }>([
                        vld1q_u8(q.as_ptr()),
                        vld1q_u8(q.as_ptr().add(16)),
                    ])
                }
            }
        }
    )+};
}
by_memory!(Q5_0, Q5_1);

impl Unpack for Q4K {
    #[inline(always)]
    unsafe fn values(block: *const u8, i: usize) -> [int8x16_t; 2] {
        unsafe { less::<0>(group(block.add(16), i)) }
    }

    #[inline(always)]
    unsafe fn scales_of_four(w: [*const u8; 4], scale: *mut f32, min: *mut f32) {
        unsafe { k_scales(w, scale, min) };
    }
}

impl Unpack for Q5K {
    #[inline(always)]
    unsafe fn values(block: *const u8, i: usize) -> [int8x16_t; 2] {
        unsafe {
            let four = group(block.add(48), i);
            // Fifth bits of group i are bits i.
            let down = vdupq_n_s8(-(i as i8));
            let mut q = [vdupq_n_u8(0); 2];
            for k in 0..2 {
                let bits = vshlq_u8(vld1q_u8(block.add(16 + 16 * k)), down);
                q[k] = vorrq_u8(four[k], vshlq_n_u8::<4>(vandq_u8(bits, vdupq_n_u8(1))));
            }
            less::<0>(q)
        }
    }

    #[inline(always)]
    unsafe fn scales_of_four(w: [*const u8; 4], scale: *mut f32, min: *mut f32) {
        unsafe { k_scales(w, scale, min) };
    }
}

impl Unpack for Q6K {
    #[inline(always)]
    unsafe fn values(block: *const u8, i: usize) -> [int8x16_t; 2] {
        unsafe {
            let (half, i) = (i / 4, i % 4);
            // Groups 0 and 1 are lower nibbles, 2 and 3 the upper ones of the same bytes.
            let low = block.add(64 * half + 32 * (i % 2));
            let down = vdupq_n_s8(-2 * i as i8);
            let mut q = [vdupq_n_u8(0); 2];
            for k in 0..2 {
                let four = nibbles(vld1q_u8(low.add(16 * k)))[i / 2];
                let bits = vshlq_u8(vld1q_u8(block.add(128 + 32 * half + 16 * k)), down);
                q[k] = vorrq_u8(four, vshlq_n_u8::<4>(vandq_u8(bits, vdupq_n_u8(3))));
            }
            less::<32>(q)
        }
    }

    #[inline(always)]
    unsafe fn scales_of_four(w: [*const u8; 4], scale: *mut f32, min: *mut f32) {
        unsafe {
            let d = halves(after(w, 208));
            for b in 0..8 {
                vst1q_f32(min.add(b * ROWS), d);
            }
            let mut four = [[vdupq_n_s8(0); 4]; 4];
            for r in 0..4 {
                let bytes = vld1q_s8(w[r].add(192).cast());
                let [low, high] = [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)];
                four[0][r] = vreinterpretq_s8_s32(vmovl_s16(vget_low_s16(low)));
                four[1][r] = vreinterpretq_s8_s32(vmovl_high_s16(low));
                four[2][r] = vreinterpretq_s8_s32(vmovl_s16(vget_low_s16(high)));
                four[3][r] = vreinterpretq_s8_s32(vmovl_high_s16(high));
            }
            for i in 0..4 {
                store_groups(four[i], scale.add(4 * i * ROWS));
            }
        }
    }
}

/// Group `i` of 32 four-bit values, of which each 32 bytes hold two.
#[inline(always)]
unsafe fn group(p: *const u8, i: usize) -> [uint8x16_t; 2] {
    unsafe {
        let two = p.add(32 * (i / 2));
        [nibbles(vld1q_u8(two))[i % 2], nibbles(vld1q_u8(two.add(16)))[i % 2]]
    }
}

/// The lower and the upper four bits of 16 bytes.
#[inline(always)]
pub(super) unsafe fn nibbles(v: uint8x16_t) -> [uint8x16_t; 2] {
    unsafe { [vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8::<4>(v)] }
}

/// What the nibbles of 16 bytes stand for in IQ4_NL: the lower ones, the upper ones.
#[inline(always)]
pub(super) unsafe fn levels(p: *const u8) -> [int8x16_t; 2] {
    unsafe {
        let table = vld1q_s8(LEVELS.as_ptr());
        let [low, high] = nibbles(vld1q_u8(p));
        [vqtbl1q_s8(table, low), vqtbl1q_s8(table, high)]
    }
}

/// As signed numbers, `OFFSET` less.
#[inline(always)]
unsafe fn less<const OFFSET: u8>(v: [uint8x16_t; 2]) -> [int8x16_t; 2] {
    unsafe {
        let offset = vdupq_n_u8(OFFSET);
        [vreinterpretq_s8_u8(vsubq_u8(v[0], offset)), vreinterpretq_s8_u8(vsubq_u8(v[1], offset))]
    }
}

/// The scales and minima of K blocks of four rows.
#[inline(always)]
unsafe fn k_scales(w: [*const u8; 4], scale: *mut f32, min: *mut f32) {
    unsafe {
        let mut four = [[vdupq_n_s8(0); 4]; 4];
        for r in 0..4 {
            let ([scales, mins], [d, dmin]) = six_bits(w[r]);
            for i in 0..2 {
                four[i][r] = vreinterpretq_s8_f32(vmulq_n_f32(scales[i], d));
                four[2 + i][r] = vreinterpretq_s8_f32(vmulq_n_f32(mins[i], -dmin));
            }
        }
        for i in 0..2 {
            store_groups(four[i], scale.add(4 * i * ROWS));
            store_groups(four[2 + i], min.add(4 * i * ROWS));
        }
    }
}

/// Stores four numbers of each of four rows by groups.
#[inline(always)]
unsafe fn store_groups(rows: [int8x16_t; 4], to: *mut f32) {
    unsafe {
        for (g, group) in transposed(rows).into_iter().enumerate() {
            vst1q_s8(to.add(g * ROWS).cast(), group);
        }
    }
}

/// The eight scales and the eight minima of a K block as numbers, and what these are multiplied by.
#[inline(always)]
pub(super) unsafe fn six_bits(p: *const u8) -> ([[float32x4_t; 2]; 2], [f32; 2]) {
    unsafe {
        let word = |i: usize| p.add(4 + 4 * i).cast::<u32>().read_unaligned();
        let [first, second, third] = [word(0), word(1), word(2)];
        // Four of six bits, and four of four bits whose upper two are with the first.
        let join = |lower: u32, nibbles: u32| {
            let upper = nibbles & 0x0f0f_0f0f | lower >> 2 & 0x3030_3030;
            u64::from(lower & 0x3f3f_3f3f) | u64::from(upper) << 32
        };
        let numbers = [eight_floats(join(first, third)), eight_floats(join(second, third >> 4))];
        (numbers, [half_at(p), half_at(p.add(2))])
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

/// The f16 at four places.
#[inline(always)]
unsafe fn halves(p: [*const u8; 4]) -> float32x4_t {
    unsafe { f16_low(half_words(p)) }
}

/// The u16 at four places, and zeros.
#[inline(always)]
pub(super) unsafe fn half_words(p: [*const u8; 4]) -> uint16x8_t {
    unsafe {
        let four = vld1q_lane_u16::<0>(p[0].cast(), vdupq_n_u16(0));
        let four = vld1q_lane_u16::<1>(p[1].cast(), four);
        let four = vld1q_lane_u16::<2>(p[2].cast(), four);
        vld1q_lane_u16::<3>(p[3].cast(), four)
    }
}

/// `bytes` later in each row.
#[inline(always)]
pub(super) unsafe fn after(w: [*const u8; 4], bytes: usize) -> [*const u8; 4] {
    unsafe { [w[0].add(bytes), w[1].add(bytes), w[2].add(bytes), w[3].add(bytes)] }
}

/// Four registers of four parts each: all first parts, all second ones, ...
#[inline(always)]
pub(super) unsafe fn transposed(rows: [int8x16_t; 4]) -> [int8x16_t; 4] {
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
