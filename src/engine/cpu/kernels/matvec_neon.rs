//! Matrix times vector for arm64 machines with byte products, written out for the formats that
//! models come in. What the general kernel loses here are registers: its steps of sixteen lanes and
//! four blocks spill, and half of its instructions move numbers about. These take a weight in half
//! an instruction, or in less (`benches/arm`).
//!
//! With the dot product extension both halves of the activations go through one chain of sums:
//! products with the high bytes, times 128, plus products with the low ones. With 8-bit matrix
//! products an instruction multiplies eight weights of two rows by eight high bytes and eight low
//! ones, so the second half costs nothing. Activations in 8 bits have one half, and there the dot
//! product is the better instruction on both. Formats with blocks of 32 take four rows at a time, those
//! with blocks of 256 two, which share the activations.
//!
//! Four sums advance together, in the order that suits a core that executes in order
//! ([`sdot_4`]). Others have as many instructions to execute as in any other order, so there is no
//! second kernel for them.
//!
//! Sums fit: those of the high bytes are at most 32 * 128 * 64 = 2^18 a lane, and 2^25 when
//! multiplied by 128; [`Q6K`] has its own account.

use super::super::simd::neon::{
    ByteProducts, Neon, add_two_groups, both_bytes, f16_low, half, prefetch_at, sdot, sdot_4,
    smmla, smmla_2, sri_2, zip_halves,
};
use super::activations::{BLOCK, Row};
use super::matvec::{Bf16, F16, F32, rows};
use super::rare::{self, Read};
use super::unpack_neon::{self, after, half_words, six_bits};
use crate::quant::DType;
use std::arch::aarch64::*;

/// [`matvec`](super::matvec::matvec), whose contract holds, with [`Bytes`].
#[inline(always)]
pub(super) unsafe fn matvec<M: ByteProducts>(
    dtype: DType,
    w: *const u8,
    cols: usize,
    x: Row,
    out: &mut [f32],
) {
    unsafe {
        match dtype {
            DType::Q8_0 => four_by_four::<Q8_0, M>(w, cols, x, out),
            DType::Q4_0 => four_by_four::<Q4_0, M>(w, cols, x, out),
            DType::Q4_1 => four_by_four::<Q4_1, M>(w, cols, x, out),
            DType::Q4_K => two_by_two::<Q4K, M>(w, cols, x, out),
            DType::Q5_K => two_by_two::<Q5K, M>(w, cols, x, out),
            DType::Q6_K => two_by_two::<Q6K, M>(w, cols, x, out),
            DType::F32 => rows::<Neon<M>, F32>(w, cols, x, out),
            DType::F16 => rows::<Neon<M>, F16>(w, cols, x, out),
            DType::BF16 => rows::<Neon<M>, Bf16>(w, cols, x, out),
            DType::IQ4_NL => four_by_four::<Iq4Nl, M>(w, cols, x, out),
            DType::Q5_0 => four_by_four::<Q5_0, M>(w, cols, x, out),
            DType::Q5_1 => four_by_four::<Q5_1, M>(w, cols, x, out),
            DType::Q2_K => rows::<Neon<M>, Read<rare::Q2K>>(w, cols, x, out),
            DType::Q3_K => rows::<Neon<M>, Read<rare::Q3K>>(w, cols, x, out),
            DType::IQ4_XS => rows::<Neon<M>, Read<rare::Iq4Xs>>(w, cols, x, out),
            DType::MXFP4 => rows::<Neon<M>, Read<rare::Mxfp4>>(w, cols, x, out),
        }
    }
}

/// A format with blocks of 32 that begin with an f16 scale.
trait Block {
    const BYTES: usize;
    /// Whether an f16 minimum follows the scale.
    const MIN: bool = false;
    /// Whether there are registers for scales that are read a block ahead.
    const AHEAD: bool = true;

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

struct Iq4Nl;
impl Block for Iq4Nl {
    const BYTES: usize = 18;
    #[inline(always)]
    unsafe fn weights(p: *const u8) -> [int8x16_t; 2] {
        unsafe { unpack_neon::levels(p.add(2)) }
    }
    #[inline(always)]
    unsafe fn sum(products: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_f32_s32(products) }
    }
}

struct Q5_0;
impl Block for Q5_0 {
    const BYTES: usize = 22;
    const AHEAD: bool = false;
    /// q - 16: a fifth bit that is not set makes a nibble negative.
    #[inline(always)]
    unsafe fn weights(p: *const u8) -> [int8x16_t; 2] {
        unsafe {
            let [low, high] = unpack_neon::nibbles(vld1q_u8(p.add(6)));
            let fifth = fifth_bits(p.add(2));
            let below = |set| vbicq_u8(vdupq_n_u8(0xf0), set);
            [
                vreinterpretq_s8_u8(vorrq_u8(low, below(fifth[0]))),
                vreinterpretq_s8_u8(vorrq_u8(high, below(fifth[1]))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn sum(products: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_f32_s32(products) }
    }
}

struct Q5_1;
impl Block for Q5_1 {
    const BYTES: usize = 24;
    const AHEAD: bool = false;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn weights(p: *const u8) -> [int8x16_t; 2] {
        unsafe {
            let [low, high] = unpack_neon::nibbles(vld1q_u8(p.add(8)));
            let fifth = fifth_bits(p.add(4));
            let bit = |set| vandq_u8(set, vdupq_n_u8(0x10));
            [
                vreinterpretq_s8_u8(vorrq_u8(low, bit(fifth[0]))),
                vreinterpretq_s8_u8(vorrq_u8(high, bit(fifth[1]))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn sum(products: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_f32_s32(products) }
    }
}

/// The 32 bits at `p`, each as a byte of ones or zeros.
#[inline(always)]
unsafe fn fifth_bits(p: *const u8) -> [uint8x16_t; 2] {
    const BYTE: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
    const BIT: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    unsafe {
        let word = vreinterpretq_u8_u32(vdupq_n_u32(p.cast::<u32>().read_unaligned()));
        let (byte, bit) = (vld1q_u8(BYTE.as_ptr()), vld1q_u8(BIT.as_ptr()));
        let next = vaddq_u8(byte, vdupq_n_u8(2));
        [vtstq_u8(vqtbl1q_u8(word, byte), bit), vtstq_u8(vqtbl1q_u8(word, next), bit)]
    }
}

/// Rows of a format with blocks of 32. The last rows are computed with others next to them, which
/// are then computed twice.
#[inline(always)]
unsafe fn four_by_four<T: Block, M: ByteProducts>(
    w: *const u8,
    cols: usize,
    x: Row,
    out: &mut [f32],
) {
    let blocks = cols / BLOCK;
    let stride = blocks * T::BYTES;
    let mut r = 0;
    for out in out.chunks_mut(4) {
        unsafe {
            let w: [_; 4] = std::array::from_fn(|i| w.add((r + i.min(out.len() - 1)) * stride));
            let sums = four_rows::<T, M>(w, blocks, x);
            let sums = std::mem::transmute::<float32x4_t, [f32; 4]>(sums);
            out.copy_from_slice(&sums[..out.len()]);
        }
        r += 4;
    }
}

#[inline(always)]
unsafe fn four_rows<T: Block, M: ByteProducts>(
    mut w: [*const u8; 4],
    blocks: usize,
    x: Row,
) -> float32x4_t {
    unsafe {
        let mut sums = Sums { products: [vdupq_n_f32(0.0); 4], mins: vdupq_n_f32(0.0) };
        // The next four rows, which follow these. The loop ends before their last two blocks.
        let mut ahead = w[0].wrapping_add(4 * blocks * T::BYTES);
        prefetch_two::<T>(ahead.wrapping_add(4 * blocks.saturating_sub(2) * T::BYTES));
        // Two blocks at a time, their scales read a block ahead, as long as there is one.
        let mut scales = scales_ahead::<T>(w);
        let mut b = 0;
        while b + 2 < blocks {
            prefetch_two::<T>(ahead);
            ahead = ahead.wrapping_add(2 * 4 * T::BYTES);
            let second = after(w, T::BYTES);
            let scales_of_second = scales_ahead::<T>(second);
            sums.add::<T, M>(w, scales, x, b);
            w = after(second, T::BYTES);
            scales = scales_ahead::<T>(w);
            sums.add::<T, M>(second, scales_of_second, x, b + 1);
            b += 2;
        }
        while b < blocks {
            sums.add::<T, M>(w, None, x, b);
            w = after(w, T::BYTES);
            b += 1;
        }
        let [a, b, c, d] = sums.products;
        let products = if M::VECTORS { a } else { vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)) };
        vaddq_f32(products, sums.mins)
    }
}

/// Prefetches two blocks of four rows.
#[inline(always)]
fn prefetch_two<T: Block>(p: *const u8) {
    prefetch_at::<0>(p);
    prefetch_at::<64>(p);
    prefetch_at::<128>(p);
    if 2 * 4 * T::BYTES > 192 {
        prefetch_at::<192>(p);
        prefetch_at::<256>(p);
    }
}

/// [`scales_of`] a block that comes later.
#[inline(always)]
unsafe fn scales_ahead<T: Block>(w: [*const u8; 4]) -> Option<uint16x8_t> {
    if T::AHEAD { Some(unsafe { scales_of::<T>(w) }) } else { None }
}

/// The scales of blocks of four rows, as f16, each followed by the minimum if there are any.
#[inline(always)]
unsafe fn scales_of<T: Block>(w: [*const u8; 4]) -> uint16x8_t {
    unsafe {
        if T::MIN {
            let four = vld1q_lane_u32::<0>(w[0].cast(), vdupq_n_u32(0));
            let four = vld1q_lane_u32::<1>(w[1].cast(), four);
            let four = vld1q_lane_u32::<2>(w[2].cast(), four);
            vreinterpretq_u16_u32(vld1q_lane_u32::<3>(w[3].cast(), four))
        } else {
            half_words(w)
        }
    }
}

/// Sums of four rows.
struct Sums {
    /// Of each row, in lanes that are yet to be added; with matrix products the first has a lane
    /// for each row.
    products: [float32x4_t; 4],
    /// A lane for each row.
    mins: float32x4_t,
}

impl Sums {
    /// Adds the products of block `b` of the activations with those at `w`, whose scales may have been
    /// read before.
    #[inline(always)]
    unsafe fn add<T: Block, M: ByteProducts>(
        &mut self,
        w: [*const u8; 4],
        scales: Option<uint16x8_t>,
        x: Row,
        b: usize,
    ) {
        unsafe {
            let mut q = [[vdupq_n_s8(0); 2]; 4];
            for r in 0..4 {
                q[r] = T::weights(w[r]);
            }
            let a: *const i8 = x.q.add(BLOCK * b).cast();
            let products = if M::VECTORS {
                let a =
                    [vld1q_s8(a), vld1q_s8(a.add(16)), vld1q_s8(a.add(32)), vld1q_s8(a.add(48))];
                let [one, other] = smmla_2([[q[0], q[1]], [q[2], q[3]]], [a; 2]);
                [both_bytes(one, other); 4]
            } else {
                four_products::<M>(q, a)
            };
            // Not `unwrap_or_else`: intrinsics in closures are calls.
            let scales = match scales {
                Some(scales) => scales,
                None => scales_of::<T>(w),
            };
            let (scales, mins) = if T::MIN {
                (vuzp1q_u16(scales, scales), vuzp2q_u16(scales, scales))
            } else {
                (scales, scales)
            };
            let scales = vmulq_n_f32(f16_low(scales), *x.scale.add(b));
            let sums = &mut self.products;
            if M::VECTORS {
                sums[0] = vfmaq_f32(sums[0], T::sum(products[0]), scales);
            } else {
                sums[0] = vfmaq_laneq_f32::<0>(sums[0], T::sum(products[0]), scales);
                sums[1] = vfmaq_laneq_f32::<1>(sums[1], T::sum(products[1]), scales);
                sums[2] = vfmaq_laneq_f32::<2>(sums[2], T::sum(products[2]), scales);
                sums[3] = vfmaq_laneq_f32::<3>(sums[3], T::sum(products[3]), scales);
            }
            if T::MIN {
                self.mins = vfmaq_n_f32(self.mins, f16_low(mins), *x.sum.add(b));
            }
        }
    }
}

/// Products of 32 weights of four rows with the high bytes and the low bytes at `a`.
#[inline(always)]
unsafe fn four_products<M: ByteProducts>(q: [[int8x16_t; 2]; 4], a: *const i8) -> [int32x4_t; 4] {
    unsafe {
        let q = [[q[0][0], q[1][0], q[2][0], q[3][0]], [q[0][1], q[1][1], q[2][1], q[3][1]]];
        let high = [vld1q_s8(a), vld1q_s8(a.add(16))];
        let sums = sdot_4([vdupq_n_s32(0); 4], q[0], [high[0]; 4]);
        let sums = sdot_4(sums, q[1], [high[1]; 4]);
        if !M::HALVES {
            return sums;
        }
        let low = [vld1q_s8(a.add(32)), vld1q_s8(a.add(48))];
        let sums = sdot_4(times_128(sums), q[0], [low[0]; 4]);
        sdot_4(sums, q[1], [low[1]; 4])
    }
}

#[inline(always)]
unsafe fn times_128(v: [int32x4_t; 4]) -> [int32x4_t; 4] {
    unsafe {
        [
            vshlq_n_s32::<7>(v[0]),
            vshlq_n_s32::<7>(v[1]),
            vshlq_n_s32::<7>(v[2]),
            vshlq_n_s32::<7>(v[3]),
        ]
    }
}

/// Products of 32 weights of two rows, whose activations are eight high bytes and eight low ones,
/// four times: those of one row, high and low, then those of the other.
#[inline(always)]
unsafe fn two_products(one: [int8x16_t; 2], other: [int8x16_t; 2], a: [int8x16_t; 4]) -> int32x4_t {
    unsafe {
        let sum = sixteen(vdupq_n_s32(0), one[0], other[0], [a[0], a[1]]);
        sixteen(sum, one[1], other[1], [a[2], a[3]])
    }
}

/// [`two_products`] of sixteen weights, added.
#[inline(always)]
unsafe fn sixteen(
    sum: int32x4_t,
    one: int8x16_t,
    other: int8x16_t,
    a: [int8x16_t; 2],
) -> int32x4_t {
    unsafe {
        let [lower, upper] = zip_halves(one, other);
        smmla(smmla(sum, lower, a[0]), upper, a[1])
    }
}

/// A format with blocks of 256: eight groups of 32.
trait Super {
    const BYTES: usize;
    /// Whether the dot products of a row leave no registers for those of another.
    const ALONE: bool = false;

    /// The scales of a block's groups.
    type Scales: Copy;

    /// Reads them, and adds the minima to `sums`.
    unsafe fn scales(p: *const u8, x: &Inputs, sums: &mut [float32x4_t; 2]) -> Self::Scales;

    /// The weights of groups `2 * j` and `2 * j + 1`, as integers.
    unsafe fn weights(p: *const u8, j: usize) -> [[int8x16_t; 2]; 2];

    /// Adds their products with the activations, a row at a time or two, to `sums`.
    unsafe fn add<M: ByteProducts, const R: usize>(
        q: [[[int8x16_t; 2]; 2]; R],
        x: &Inputs,
        scales: &[Self::Scales; R],
        j: usize,
        sums: &mut [[float32x4_t; 2]; R],
    );

    /// Adds the products of two rows to the lanes of `sum`: of one row, of the other, and again.
    unsafe fn add_two(
        q: [[[int8x16_t; 2]; 2]; 2],
        a: [[int8x16_t; 4]; 2],
        scales: &[Self::Scales; 2],
        j: usize,
        sum: &mut float32x4_t,
    );
}

/// A block written out for `j` from 0 to 3, which the compiler would leave a loop.
macro_rules! four_times {
    (|$j:ident| $block:block) => {
        let $j = 0usize;
        $block
        let $j = 1usize;
        $block
        let $j = 2usize;
        $block
        let $j = 3usize;
        $block
    };
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

impl Inputs {
    #[inline(always)]
    unsafe fn new(x: Row, b: usize) -> Inputs {
        unsafe {
            let eight = |p: *const f32| [vld1q_f32(p.add(8 * b)), vld1q_f32(p.add(8 * b + 4))];
            Inputs { q: x.q.cast::<i8>().add(512 * b), scale: eight(x.scale), sum: eight(x.sum) }
        }
    }

    /// Those of groups `2 * j` and `2 * j + 1`.
    #[inline(always)]
    unsafe fn two_groups(&self, j: usize) -> [[int8x16_t; 4]; 2] {
        unsafe {
            let a = |i: usize| vld1q_s8(self.q.add(128 * j + 16 * i));
            [[a(0), a(1), a(2), a(3)], [a(4), a(5), a(6), a(7)]]
        }
    }
}

#[inline(always)]
unsafe fn two_by_two<T: Super, M: ByteProducts>(
    w: *const u8,
    cols: usize,
    x: Row,
    out: &mut [f32],
) {
    let blocks = cols / 256;
    let stride = blocks * T::BYTES;
    let mut r = 0;
    let mut pairs = out.chunks_exact_mut(2);
    for pair in &mut pairs {
        unsafe {
            let w = [w.add(r * stride), w.add((r + 1) * stride)];
            pair.copy_from_slice(&match (M::VECTORS, T::ALONE) {
                (true, _) => two_rows_by_matrix::<T>(w, blocks, x),
                (_, false) => rows_by_dot::<T, M, 2>(w, blocks, x),
                _ => {
                    let [one] = rows_by_dot::<T, M, 1>([w[0]], blocks, x);
                    let [other] = rows_by_dot::<T, M, 1>([w[1]], blocks, x);
                    [one, other]
                }
            });
        }
        r += 2;
    }
    if let [last] = pairs.into_remainder() {
        unsafe {
            let w = w.add(r * stride);
            *last = match (M::VECTORS, T::ALONE) {
                (true, _) => two_rows_by_matrix::<T>([w; 2], blocks, x)[0],
                (_, false) => rows_by_dot::<T, M, 2>([w; 2], blocks, x)[0],
                _ => rows_by_dot::<T, M, 1>([w], blocks, x)[0],
            };
        }
    }
}

#[inline(always)]
unsafe fn rows_by_dot<T: Super, M: ByteProducts, const R: usize>(
    mut w: [*const u8; R],
    blocks: usize,
    x: Row,
) -> [f32; R] {
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 2]; R];
        for b in 0..blocks {
            let inputs = Inputs::new(x, b);
            let mut scales: [T::Scales; R] = [T::scales(w[0], &inputs, &mut sums[0]); R];
            for r in 1..R {
                scales[r] = T::scales(w[r], &inputs, &mut sums[r]);
            }
            four_times!(|j| {
                let mut q = [T::weights(w[0], j); R];
                for r in 1..R {
                    q[r] = T::weights(w[r], j);
                }
                T::add::<M, R>(q, &inputs, &scales, j, &mut sums);
            });
            for w in &mut w {
                *w = w.add(T::BYTES);
            }
        }
        let mut out = [0.0; R];
        for r in 0..R {
            out[r] = vaddvq_f32(vaddq_f32(sums[r][0], sums[r][1]));
        }
        out
    }
}

#[inline(always)]
unsafe fn two_rows_by_matrix<T: Super>(mut w: [*const u8; 2], blocks: usize, x: Row) -> [f32; 2] {
    unsafe {
        let mut sum = vdupq_n_f32(0.0);
        let mut mins = [[vdupq_n_f32(0.0); 2]; 2];
        for b in 0..blocks {
            let inputs = Inputs::new(x, b);
            let scales =
                [T::scales(w[0], &inputs, &mut mins[0]), T::scales(w[1], &inputs, &mut mins[1])];
            four_times!(|j| {
                let q = [T::weights(w[0], j), T::weights(w[1], j)];
                T::add_two(q, inputs.two_groups(j), &scales, j, &mut sum);
            });
            w = [w[0].add(T::BYTES), w[1].add(T::BYTES)];
        }
        let mins = [vaddq_f32(mins[0][0], mins[0][1]), vaddq_f32(mins[1][0], mins[1][1])];
        let mins = vpaddq_f32(mins[0], mins[1]);
        let sums = vadd_f32(vget_low_f32(sum), vget_high_f32(sum));
        let sums = vadd_f32(sums, vpadd_f32(vget_low_f32(mins), vget_high_f32(mins)));
        std::mem::transmute::<float32x2_t, [f32; 2]>(sums)
    }
}

/// Blocks of eight groups of 32 with 6-bit scales and minima: d, dmin, both packed in 12 bytes.
/// Returns the scale of each product, that of its activations included, after having added the
/// minima.
#[inline(always)]
unsafe fn eight_groups(p: *const u8, x: &Inputs, sums: &mut [float32x4_t; 2]) -> [float32x4_t; 2] {
    unsafe {
        let ([scales, mins], [d, dmin]) = six_bits(p);
        for i in 0..2 {
            sums[i] = vfmsq_f32(sums[i], vmulq_n_f32(mins[i], dmin), x.sum[i]);
        }
        [
            vmulq_f32(vmulq_n_f32(scales[0], d), x.scale[0]),
            vmulq_f32(vmulq_n_f32(scales[1], d), x.scale[1]),
        ]
    }
}

/// What formats with [`eight_groups`] have in common.
macro_rules! eight_groups {
    () => {
        type Scales = [float32x4_t; 2];

        #[inline(always)]
        unsafe fn scales(p: *const u8, x: &Inputs, sums: &mut [float32x4_t; 2]) -> Self::Scales {
            unsafe { eight_groups(p, x, sums) }
        }
        #[inline(always)]
        unsafe fn add<M: ByteProducts, const R: usize>(
            q: [[[int8x16_t; 2]; 2]; R],
            x: &Inputs,
            scales: &[Self::Scales; R],
            j: usize,
            sums: &mut [[float32x4_t; 2]; R],
        ) {
            assert!(R == 2, "two groups of two rows are four sums");
            unsafe {
                let q = [
                    [q[0][0][0], q[0][1][0], q[1][0][0], q[1][1][0]],
                    [q[0][0][1], q[0][1][1], q[1][0][1], q[1][1][1]],
                ];
                let four = [sums[0][0], sums[0][1], sums[1][0], sums[1][1]];
                let scales = [scales[0][j / 2], scales[1][j / 2]];
                let four = match j {
                    0 => add_two_groups::<M, 0, 0>(four, q, scales, x.q),
                    1 => add_two_groups::<M, 128, 2>(four, q, scales, x.q),
                    2 => add_two_groups::<M, 256, 0>(four, q, scales, x.q),
                    _ => add_two_groups::<M, 384, 2>(four, q, scales, x.q),
                };
                [sums[0], sums[1]] = [[four[0], four[1]], [four[2], four[3]]];
            }
        }
        #[inline(always)]
        unsafe fn add_two(
            q: [[[int8x16_t; 2]; 2]; 2],
            a: [[int8x16_t; 4]; 2],
            scales: &[Self::Scales; 2],
            j: usize,
            sum: &mut float32x4_t,
        ) {
            unsafe {
                let products =
                    [two_products(q[0][0], q[1][0], a[0]), two_products(q[0][1], q[1][1], a[1])];
                let products = vcvtq_f32_s32(both_bytes(products[0], products[1]));
                let [one, other] = [scales[0][j / 2], scales[1][j / 2]];
                let scales =
                    if j % 2 == 0 { vzip1q_f32(one, other) } else { vzip2q_f32(one, other) };
                *sum = vfmaq_f32(*sum, products, scales);
            }
        }
    };
}

struct Q4K;
impl Super for Q4K {
    const BYTES: usize = 144;
    eight_groups!();

    #[inline(always)]
    unsafe fn weights(p: *const u8, j: usize) -> [[int8x16_t; 2]; 2] {
        unsafe {
            let two = p.add(16 + 32 * j);
            let [low_0, high_0] = nibbles(vld1q_u8(two));
            let [low_1, high_1] = nibbles(vld1q_u8(two.add(16)));
            [[low_0, low_1], [high_0, high_1]]
        }
    }
}

struct Q5K;
impl Super for Q5K {
    const BYTES: usize = 176;
    eight_groups!();

    #[inline(always)]
    unsafe fn weights(p: *const u8, j: usize) -> [[int8x16_t; 2]; 2] {
        let mut q = [[unsafe { vdupq_n_s8(0) }; 2]; 2];
        for i in 0..2 {
            unsafe {
                // The fifth bits of group g are bits g; they go to bit 4.
                let fifth = vld1q_u8(p.add(16 + 16 * i));
                let (low, high) = match j {
                    0 => (vshlq_n_u8::<4>(fifth), vshlq_n_u8::<3>(fifth)),
                    1 => (vshlq_n_u8::<2>(fifth), vshlq_n_u8::<1>(fifth)),
                    2 => (fifth, vshrq_n_u8::<1>(fifth)),
                    _ => (vshrq_n_u8::<2>(fifth), vshrq_n_u8::<3>(fifth)),
                };
                let four = nibbles(vld1q_u8(p.add(48 + 32 * j + 16 * i)));
                let bit = |v| vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(0x10)));
                q[0][i] = vorrq_s8(four[0], bit(low));
                q[1][i] = vorrq_s8(four[1], bit(high));
            }
        }
        q
    }
}

/// Groups of 16 with an 8-bit scale, by which sums are multiplied as integers. They are those of
/// 4 (q - 32), so the sum of 16 products is at most 16 * 128 * 8191 < 2^24, and 2^31 with its
/// scale; where the sum is spread over four lanes a lane has a quarter of that.
struct Q6K;

/// Of Q6_K.
#[derive(Clone, Copy)]
struct SixteenScales {
    /// 8 bits each.
    bytes: int8x16_t,
    /// For each 32: the block's scale times that of the activations.
    d: [float32x4_t; 2],
}

impl Super for Q6K {
    const BYTES: usize = 210;
    const ALONE: bool = true;
    type Scales = SixteenScales;

    #[inline(always)]
    unsafe fn scales(p: *const u8, x: &Inputs, _: &mut [float32x4_t; 2]) -> SixteenScales {
        unsafe {
            let d = half(p.add(208).cast());
            SixteenScales {
                bytes: vld1q_s8(p.add(192).cast()),
                d: [vmulq_n_f32(x.scale[0], d), vmulq_n_f32(x.scale[1], d)],
            }
        }
    }
    #[inline(always)]
    unsafe fn weights(p: *const u8, j: usize) -> [[int8x16_t; 2]; 2] {
        let mut q = [[unsafe { vdupq_n_s8(0) }; 2]; 2];
        for i in 0..2 {
            unsafe {
                // Of each pair of bits the upper one is inverted, which makes it the sign of q - 32.
                let pairs = vld1q_u8(p.add(128 + 32 * (j / 2) + 16 * i));
                let pairs = veorq_u8(pairs, vdupq_n_u8(0xaa));
                let four = |g: usize| vld1q_u8(p.add(64 * (j / 2) + 32 * g + 16 * i));
                // The pair of bits, then the four, then two zeros.
                let [one, other] = if j % 2 == 0 {
                    [
                        sri_2(vshlq_n_u8::<6>(pairs), vshlq_n_u8::<4>(four(0))),
                        sri_2(vshlq_n_u8::<4>(pairs), vshlq_n_u8::<4>(four(1))),
                    ]
                } else {
                    let upper = |v| vandq_u8(v, vdupq_n_u8(0xf0));
                    [sri_2(vshlq_n_u8::<2>(pairs), upper(four(0))), sri_2(pairs, upper(four(1)))]
                };
                q[0][i] = vreinterpretq_s8_u8(one);
                q[1][i] = vreinterpretq_s8_u8(other);
            }
        }
        q
    }
    #[inline(always)]
    unsafe fn add<M: ByteProducts, const R: usize>(
        q: [[[int8x16_t; 2]; 2]; R],
        x: &Inputs,
        scales: &[SixteenScales; R],
        j: usize,
        sums: &mut [[float32x4_t; 2]; R],
    ) {
        assert!(R == 1, "two groups of one row, in halves, are four sums");
        unsafe {
            let (q, scales, sums) = (q[0], &scales[0], &mut sums[0]);
            let [low, high] = [vmovl_s8(vget_low_s8(scales.bytes)), vmovl_high_s8(scales.bytes)];
            let four = match j {
                0 => vmovl_s16(vget_low_s16(low)),
                1 => vmovl_high_s16(low),
                2 => vmovl_s16(vget_low_s16(high)),
                _ => vmovl_high_s16(high),
            };
            let q = [q[0][0], q[0][1], q[1][0], q[1][1]];
            let a = |i: usize| vld1q_s8(x.q.add(128 * j + 16 * i));
            let mut dots = [vdupq_n_s32(0); 4];
            if M::HALVES {
                dots = sdot_4(dots, q, [a(0), a(1), a(4), a(5)]);
                dots = sdot_4(times_128(dots), q, [a(2), a(3), a(6), a(7)]);
            } else {
                // Without low bytes the compiler's order is no worse, and needs fewer registers.
                for (i, a) in [a(0), a(1), a(4), a(5)].into_iter().enumerate() {
                    dots[i] = sdot(dots[i], q[i], a);
                }
            }
            let pairs = [vpaddq_s32(dots[0], dots[1]), vpaddq_s32(dots[2], dots[3])];
            let products = vmulq_s32(vpaddq_s32(pairs[0], pairs[1]), four);
            let d = scales.d[j / 2];
            let d = if j % 2 == 0 { vzip1q_f32(d, d) } else { vzip2q_f32(d, d) };
            sums[j % 2] = vfmaq_f32(sums[j % 2], vcvtq_n_f32_s32::<2>(products), d);
        }
    }
    #[inline(always)]
    unsafe fn add_two(
        q: [[[int8x16_t; 2]; 2]; 2],
        a: [[int8x16_t; 4]; 2],
        scales: &[SixteenScales; 2],
        j: usize,
        sum: &mut float32x4_t,
    ) {
        unsafe {
            let [one, other] = [scales[0].bytes, scales[1].bytes];
            // Of the four groups of 16: of one row, of the other.
            let both = if j < 2 { vzip1q_s8(one, other) } else { vzip2q_s8(one, other) };
            let eight = if j % 2 == 0 { vmovl_s8(vget_low_s8(both)) } else { vmovl_high_s8(both) };
            let fours = [vmovl_s16(vget_low_s16(eight)), vmovl_high_s16(eight)];
            let [one, other] = [scales[0].d[j / 2], scales[1].d[j / 2]];
            let d = if j % 2 == 0 { vzip1q_f32(one, other) } else { vzip2q_f32(one, other) };
            for i in 0..2 {
                let zero = vdupq_n_s32(0);
                let sums = both_bytes(
                    sixteen(zero, q[0][i][0], q[1][i][0], [a[i][0], a[i][1]]),
                    sixteen(zero, q[0][i][1], q[1][i][1], [a[i][2], a[i][3]]),
                );
                let products = vcvtq_n_f32_s32::<2>(vmulq_s32(sums, fours[i]));
                let d = match i {
                    0 => vcombine_f32(vget_low_f32(d), vget_low_f32(d)),
                    _ => vcombine_f32(vget_high_f32(d), vget_high_f32(d)),
                };
                *sum = vfmaq_f32(*sum, products, d);
            }
        }
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
