//! Blocks of weights taken apart in registers.

use super::formats::{self, Format, Scattered};
use std::arch::aarch64::*;

pub(super) use formats::{Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

/// A [`Format`] whose blocks can be taken apart by parts.
pub(super) trait Unpack: Format {
    /// Values `32 * i` to `32 * i + 31` of a block, less [`Format::OFFSET`].
    unsafe fn values(block: *const u8, i: usize) -> [int8x16_t; 2];
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

/// As signed numbers, `OFFSET` less.
#[inline(always)]
unsafe fn less<const OFFSET: u8>(v: [uint8x16_t; 2]) -> [int8x16_t; 2] {
    unsafe {
        let offset = vdupq_n_u8(OFFSET);
        [vreinterpretq_s8_u8(vsubq_u8(v[0], offset)), vreinterpretq_s8_u8(vsubq_u8(v[1], offset))]
    }
}
