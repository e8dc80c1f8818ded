//! Quantized formats as the matrix kernels see them: `value = scale * (q - OFFSET) + min`.

use super::super::simd::{LANES, Products, six_bit_scales};
use crate::quant::iq4_nl::LEVELS;

/// A block format. Blocks of 32 begin with their scale, and with [`Format::MIN`] their minimum, in f16.
pub(super) trait Format {
    /// Bytes of a block.
    const BYTES: usize;
    /// Values of a block.
    const LEN: usize;
    /// Values that share a scale: 16 or 32.
    const GROUP: usize;
    /// What is subtracted from each `q`.
    const OFFSET: i32;
    /// Whether `q` is signed in the file.
    const SIGNED: bool = false;
    /// Whether groups have a minimum.
    const MIN: bool = false;

    /// Writes the `LEN` values of a block of each of 16 rows as groups of a panel.
    ///
    /// # Safety
    /// The blocks must be valid for `BYTES` each, `groups` for `LEN / 16` groups.
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8);

    /// [`Format::OFFSET`] of what is multiplied.
    #[inline(always)]
    fn excess<S: Products>() -> i32 {
        Self::OFFSET + if Self::SIGNED { S::BIAS } else { 0 }
    }

    /// Writes the scales and minima.
    ///
    /// # Safety
    /// `block` must be valid for `BYTES`, `scale` and `min` for `LEN / GROUP` entries.
    #[inline(always)]
    unsafe fn scales(block: *const u8, scale: &mut [f32], min: &mut [f32]) {
        assert!(Self::LEN == 32, "other blocks have scales of their own");
        unsafe {
            scale[0] = half_at(block);
            if Self::MIN {
                min[0] = half_at(block.add(2));
            }
        }
    }
}

/// Formats whose values aren't stored side by side: they are written to memory first.
pub(super) trait Scattered: Format {
    /// Writes the `LEN` values.
    ///
    /// # Safety
    /// `block` must be valid for `BYTES`, `q` for `LEN` entries.
    unsafe fn unpack(block: *const u8, q: &mut [u8]);
}

/// [`Format::pack`] by way of memory.
#[inline(always)]
unsafe fn pack_scattered<S: Products, T: Scattered>(blocks: [*const u8; LANES], groups: *mut u8) {
    let mut q = [[0u8; 256]; LANES];
    for (q, block) in q.iter_mut().zip(blocks) {
        unsafe { T::unpack(block, &mut q[..T::LEN]) };
    }
    for g in 0..T::LEN / LANES {
        let rows = q.each_ref().map(|q| q[g * LANES..].as_ptr());
        unsafe { S::pack::<false>(rows, groups.add(g * S::GROUP_BYTES)) };
    }
}

/// [`Format::pack`] of 16 bytes of each block from `at` on, whose lower nibbles are group `low` of
/// the block and whose upper ones group `high`.
#[inline(always)]
unsafe fn pack_nibbles<S: Products>(
    blocks: [*const u8; LANES],
    at: usize,
    groups: *mut u8,
    low: usize,
    high: usize,
) {
    unsafe {
        let rows = each_at(blocks, at);
        let groups = [groups.add(low * S::GROUP_BYTES), groups.add(high * S::GROUP_BYTES)];
        S::pack_nibbles(rows, groups);
    }
}

/// The blocks from byte `at` on.
#[inline(always)]
unsafe fn each_at(mut blocks: [*const u8; LANES], at: usize) -> [*const u8; LANES] {
    for block in &mut blocks {
        *block = unsafe { block.add(at) };
    }
    blocks
}

/// The f16 at `p`.
#[inline(always)]
pub(super) unsafe fn half_at(p: *const u8) -> f32 {
    #[cfg(target_arch = "aarch64")]
    unsafe {
        crate::engine::cpu::simd::neon::half(p.cast())
    }
    #[cfg(not(target_arch = "aarch64"))]
    half_from_bits(unsafe { p.cast::<u16>().read_unaligned() })
}

/// An f16 as f32. The conversion of the `half` crate asks each time what the machine can do.
#[cfg(any(not(target_arch = "aarch64"), test))]
#[inline(always)]
fn half_from_bits(bits: u16) -> f32 {
    // 2^(127 - 15): the exponents begin elsewhere. A product, so that it is right for subnormals.
    const SHIFT: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let (sign, rest) = (u32::from(bits >> 15) << 31, u32::from(bits & 0x7fff) << 13);
    let magnitude = match bits & 0x7c00 {
        0x7c00 => f32::from_bits(rest | 0x7f80_0000),
        _ => f32::from_bits(rest) * SHIFT,
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

#[cfg(test)]
#[test]
fn halves_are_converted_exactly() {
    for bits in 0..=u16::MAX {
        let (own, judge) = (half_from_bits(bits), half::f16::from_bits(bits).to_f32());
        assert!(
            own.to_bits() == judge.to_bits() || own.is_nan() && judge.is_nan(),
            "{bits:#x}: {own}"
        );
    }
}

#[inline(always)]
unsafe fn array<const N: usize>(p: *const u8) -> [u8; N] {
    unsafe { p.cast::<[u8; N]>().read() }
}

/// The lower nibbles of 16 bytes, then the upper ones.
#[inline(always)]
fn nibbles(bytes: [u8; 16], q: &mut [u8]) {
    let (low, high) = q.split_at_mut(16);
    for i in 0..16 {
        low[i] = bytes[i] & 15;
        high[i] = bytes[i] >> 4;
    }
}

/// [`nibbles`] with a fifth bit for each value from `bits`.
#[inline(always)]
fn five_bits(bytes: [u8; 16], bits: [u8; 4], q: &mut [u8]) {
    nibbles(bytes, q);
    let bits = u32::from_le_bytes(bits);
    for (i, q) in q.iter_mut().enumerate() {
        *q |= ((bits >> i & 1) << 4) as u8;
    }
}

pub(super) struct Q8_0;
impl Format for Q8_0 {
    const BYTES: usize = 34;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const OFFSET: i32 = 0;
    const SIGNED: bool = true;
    #[inline(always)]
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8) {
        unsafe {
            S::pack::<true>(each_at(blocks, 2), groups);
            S::pack::<true>(each_at(blocks, 18), groups.add(S::GROUP_BYTES));
        }
    }
}

pub(super) struct Q4_0;
impl Format for Q4_0 {
    const BYTES: usize = 18;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const OFFSET: i32 = 8;
    #[inline(always)]
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8) {
        unsafe { pack_nibbles::<S>(blocks, 2, groups, 0, 1) };
    }
}

pub(super) struct Q4_1;
impl Format for Q4_1 {
    const BYTES: usize = 20;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const OFFSET: i32 = 0;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8) {
        unsafe { pack_nibbles::<S>(blocks, 4, groups, 0, 1) };
    }
}

/// The nibbles of Q4_0, which stand for other numbers.
pub(super) struct Iq4Nl;
impl Format for Iq4Nl {
    const BYTES: usize = 18;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const OFFSET: i32 = 0;
    const SIGNED: bool = true;
    #[inline(always)]
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8) {
        let mut q = [[0i8; 32]; LANES];
        unsafe {
            for (q, block) in q.iter_mut().zip(blocks) {
                *q = S::look_up(&LEVELS, block.add(2));
            }
            let rows = q.each_ref().map(|q| q.as_ptr().cast::<u8>());
            S::pack::<true>(rows, groups);
            S::pack::<true>(each_at(rows, 16), groups.add(S::GROUP_BYTES));
        }
    }
}

pub(super) struct Q5_0;
impl Format for Q5_0 {
    const BYTES: usize = 22;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const OFFSET: i32 = 16;
    #[inline(always)]
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8) {
        unsafe { pack_scattered::<S, Self>(blocks, groups) };
    }
}
impl Scattered for Q5_0 {
    #[inline(always)]
    unsafe fn unpack(block: *const u8, q: &mut [u8]) {
        unsafe {
            five_bits(array(block.add(6)), array(block.add(2)), q);
        }
    }
}

pub(super) struct Q5_1;
impl Format for Q5_1 {
    const BYTES: usize = 24;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const OFFSET: i32 = 0;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8) {
        unsafe { pack_scattered::<S, Self>(blocks, groups) };
    }
}
impl Scattered for Q5_1 {
    #[inline(always)]
    unsafe fn unpack(block: *const u8, q: &mut [u8]) {
        unsafe {
            five_bits(array(block.add(8)), array(block.add(4)), q);
        }
    }
}

/// The scales and minima of a K block with 6-bit scales.
#[inline(always)]
unsafe fn k_scales(block: *const u8, scale: &mut [f32], min: &mut [f32]) {
    let (d, dmin) = unsafe { (half_at(block), half_at(block.add(2))) };
    let packed = unsafe { six_bit_scales(block.add(4)) };
    for j in 0..8 {
        scale[j] = d * f32::from(packed[j]);
        min[j] = -dmin * f32::from(packed[8 + j]);
    }
}

pub(super) struct Q4K;
impl Format for Q4K {
    const BYTES: usize = 144;
    const LEN: usize = 256;
    const GROUP: usize = 32;
    const OFFSET: i32 = 0;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn scales(block: *const u8, scale: &mut [f32], min: &mut [f32]) {
        unsafe { k_scales(block, scale, min) };
    }
    #[inline(always)]
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8) {
        // Each 32 bytes hold 32 values, and the 32 after them.
        for (i, low) in [0, 1, 4, 5, 8, 9, 12, 13].into_iter().enumerate() {
            unsafe { pack_nibbles::<S>(blocks, 16 + 16 * i, groups, low, low + 2) };
        }
    }
}

pub(super) struct Q5K;
impl Format for Q5K {
    const BYTES: usize = 176;
    const LEN: usize = 256;
    const GROUP: usize = 32;
    const OFFSET: i32 = 0;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn scales(block: *const u8, scale: &mut [f32], min: &mut [f32]) {
        unsafe { k_scales(block, scale, min) };
    }
    #[inline(always)]
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8) {
        unsafe { pack_scattered::<S, Self>(blocks, groups) };
    }
}
impl Scattered for Q5K {
    #[inline(always)]
    unsafe fn unpack(block: *const u8, q: &mut [u8]) {
        unsafe {
            let high = array::<32>(block.add(16));
            for (j, q) in q.chunks_exact_mut(64).enumerate() {
                let low = array::<32>(block.add(48 + 32 * j));
                for i in 0..32 {
                    q[i] = low[i] & 15 | (high[i] >> (2 * j) & 1) << 4;
                    q[i + 32] = low[i] >> 4 | (high[i] >> (2 * j + 1) & 1) << 4;
                }
            }
        }
    }
}

pub(super) struct Q6K;
impl Format for Q6K {
    const BYTES: usize = 210;
    const LEN: usize = 256;
    const GROUP: usize = 16;
    const OFFSET: i32 = 32;
    #[inline(always)]
    unsafe fn scales(block: *const u8, scale: &mut [f32], _: &mut [f32]) {
        unsafe {
            let d = half_at(block.add(208));
            let scales = array::<16>(block.add(192));
            for j in 0..16 {
                scale[j] = d * f32::from(scales[j] as i8);
            }
        }
    }
    #[inline(always)]
    unsafe fn pack<S: Products>(blocks: [*const u8; LANES], groups: *mut u8) {
        unsafe { pack_scattered::<S, Self>(blocks, groups) };
    }
}
impl Scattered for Q6K {
    #[inline(always)]
    unsafe fn unpack(block: *const u8, q: &mut [u8]) {
        unsafe {
            for (j, q) in q.chunks_exact_mut(128).enumerate() {
                let low = array::<64>(block.add(64 * j));
                let high = array::<32>(block.add(128 + 32 * j));
                for i in 0..32 {
                    q[i] = low[i] & 15 | (high[i] & 3) << 4;
                    q[i + 32] = low[i + 32] & 15 | (high[i] >> 2 & 3) << 4;
                    q[i + 64] = low[i] >> 4 | (high[i] >> 4 & 3) << 4;
                    q[i + 96] = low[i + 32] >> 4 | high[i] >> 6 << 4;
                }
            }
        }
    }
}
