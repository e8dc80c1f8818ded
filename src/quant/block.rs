//! Code shared by the formats: loops over blocks, parts of a block, small arithmetic that
//! vectorizes.

/// Calls `read` on each block of `bytes` with the values to fill.
#[inline(always)]
pub(super) fn read_blocks<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    read: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (blocks, _) = bytes.as_chunks();
    let (values, _) = out.as_chunks_mut();
    blocks.iter().zip(values).for_each(|(block, values)| read(block, values));
}

/// Calls `write` on each block's values with the bytes to fill.
#[inline(always)]
pub(super) fn write_blocks<const BYTES: usize, const LEN: usize>(
    values: &[f32],
    out: &mut [u8],
    write: impl Fn(&[f32; LEN], &mut [u8; BYTES]),
) {
    let (values, _) = values.as_chunks();
    let (blocks, _) = out.as_chunks_mut();
    values.iter().zip(blocks).for_each(|(values, block)| write(values, block));
}

/// The `N` bytes from `AT` on. That the block has them is checked when this is compiled, whatever a
/// file holds, so that the other arm is never reached.
#[inline(always)]
pub(super) fn part<const AT: usize, const N: usize, const BYTES: usize>(
    block: &[u8; BYTES],
) -> &[u8; N] {
    const { assert!(AT + N <= BYTES) };
    match block[AT..].first_chunk() {
        Some(part) => part,
        None => unreachable!(),
    }
}

/// [`part`], mutable.
#[inline(always)]
pub(super) fn part_mut<const AT: usize, const N: usize, const BYTES: usize>(
    block: &mut [u8; BYTES],
) -> &mut [u8; N] {
    const { assert!(AT + N <= BYTES) };
    match block[AT..].first_chunk_mut() {
        Some(part) => part,
        None => unreachable!(),
    }
}

/// The f16 at byte `AT` of a block.
#[inline(always)]
pub(super) fn f16_at<const AT: usize, const BYTES: usize>(block: &[u8; BYTES]) -> f32 {
    half::f16::from_le_bytes(*part::<AT, 2, BYTES>(block)).to_f32()
}

/// Writes `value`, rounded to the nearest f16, at byte `AT` of a block.
#[inline(always)]
pub(super) fn put_f16<const AT: usize, const BYTES: usize>(block: &mut [u8; BYTES], value: f32) {
    *part_mut::<AT, 2, BYTES>(block) = half::f16::from_f32(value).to_le_bytes();
}

/// The largest magnitude; NaN if there is one.
#[inline(always)]
pub(super) fn max_abs(values: &[f32]) -> f32 {
    // Without their sign the bits of floats are ordered like the floats, and NaNs come last.
    let bits = values.iter().fold(0, |max, v| max.max(v.to_bits() & 0x7fff_ffff));
    f32::from_bits(bits)
}

/// 1 / `step`, or 0 if that is not usable as a factor: when the step is zero or close to it.
///
/// The f16 scale of such a block is zero, so that its numbers don't matter.
#[inline(always)]
pub(super) fn inverse(step: f32) -> f32 {
    let inverse = 1.0 / step;
    if inverse.is_infinite() { 0.0 } else { inverse }
}

/// 1.5 * 2^23: the sum of this and a small float has the whole number nearest to the float in its
/// lowest bits, in two's complement.
const ROUNDER: f32 = 12_582_912.0;

/// The nearest whole number, ties to even, of a float in ±2^21.
///
/// `f32::round_ties_even` is a function call where the processor may lack the instruction, which
/// keeps the surrounding loop from being vectorized.
#[inline(always)]
pub(super) fn round(x: f32) -> f32 {
    (x + ROUNDER) - ROUNDER
}

/// The lowest byte of a whole number in ±2^21, in two's complement.
#[inline(always)]
pub(super) fn low_byte(whole: f32) -> u8 {
    (whole + ROUNDER).to_bits() as u8
}

/// `x` clamped between `low` and `high`; NaN becomes `low`, whereas `f32::clamp` would preserve it
/// at a cost.
#[inline(always)]
pub(super) fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}
