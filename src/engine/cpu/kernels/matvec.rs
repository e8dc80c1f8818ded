//! Matrix times vector: the kernel of decode. Weights are read once, as they lie in the file, four
//! rows at a time so that the activations stay in registers.

use super::super::simd::{LANES, Simd};
use super::activations::{BLOCK, Row};
use super::formats::{self, Format, k_scales};
use crate::quant::DType;

/// Rows that share the activations.
const ROWS: usize = 4;

/// `out[r] = W[r] . x` for the rows that begin at `w`.
///
/// # Safety
/// `w` holds `out.len()` rows of `cols` values in format `dtype`; `x` holds `cols` activations,
/// quantised if the format is.
#[inline(always)]
pub(super) unsafe fn matvec<S: Simd>(
    dtype: DType,
    w: *const u8,
    cols: usize,
    x: Row,
    out: &mut [f32],
) {
    unsafe {
        match dtype {
            DType::F32 => rows::<S, F32>(w, cols, x, out),
            DType::F16 => rows::<S, F16>(w, cols, x, out),
            DType::BF16 => rows::<S, Bf16>(w, cols, x, out),
            DType::Q8_0 => rows::<S, formats::Q8_0>(w, cols, x, out),
            DType::Q4_0 => rows::<S, formats::Q4_0>(w, cols, x, out),
            DType::Q4_1 => rows::<S, formats::Q4_1>(w, cols, x, out),
            DType::Q4_K => rows::<S, formats::Q4K>(w, cols, x, out),
            DType::Q6_K => rows::<S, formats::Q6K>(w, cols, x, out),
            DType::Q5_0 => rows::<S, Unpacked<formats::Q5_0>>(w, cols, x, out),
            DType::Q5_1 => rows::<S, Unpacked<formats::Q5_1>>(w, cols, x, out),
            DType::Q5_K => rows::<S, Unpacked<formats::Q5K>>(w, cols, x, out),
        }
    }
}

/// A format with a dot product of its own.
trait Dot {
    /// Bytes of a row of `cols` values.
    fn row_bytes(cols: usize) -> usize;

    /// The products of `R` rows with the activations.
    ///
    /// # Safety
    /// As [`matvec`].
    unsafe fn dot<S: Simd, const R: usize>(w: [*const u8; R], cols: usize, x: Row) -> [S::F; R];
}

#[inline(always)]
unsafe fn rows<S: Simd, D: Dot>(w: *const u8, cols: usize, x: Row, out: &mut [f32]) {
    let stride = D::row_bytes(cols);
    let row = |r: usize| unsafe { w.add(r * stride) };
    let mut fours = out.chunks_exact_mut(ROWS);
    let mut r = 0;
    for four in &mut fours {
        unsafe {
            let products = D::dot::<S, ROWS>([row(r), row(r + 1), row(r + 2), row(r + 3)], cols, x);
            four.copy_from_slice(&S::sum4(products));
        }
        r += ROWS;
    }
    for one in fours.into_remainder() {
        unsafe {
            let [product] = D::dot::<S, 1>([row(r)], cols, x);
            *one = S::sum(product);
        }
        r += 1;
    }
}

/// Row formats of plain numbers.
trait Plain {
    const BYTES: usize;
    unsafe fn load<S: Simd>(p: *const u8, n: usize) -> S::F;
}

struct F32;
impl Plain for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8, n: usize) -> S::F {
        unsafe { S::load_n(p.cast(), n) }
    }
}

struct F16;
impl Plain for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8, n: usize) -> S::F {
        unsafe { S::load_f16_n(p.cast(), n) }
    }
}

struct Bf16;
impl Plain for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8, n: usize) -> S::F {
        if n == LANES {
            return unsafe { S::load_bf16(p.cast()) };
        }
        let mut lanes = [0u16; LANES];
        unsafe {
            std::ptr::copy_nonoverlapping(p.cast(), lanes.as_mut_ptr(), n);
            S::load_bf16(lanes.as_ptr())
        }
    }
}

impl<P: Plain> Dot for P {
    #[inline(always)]
    fn row_bytes(cols: usize) -> usize {
        cols * P::BYTES
    }

    #[inline(always)]
    unsafe fn dot<S: Simd, const R: usize>(w: [*const u8; R], cols: usize, x: Row) -> [S::F; R] {
        unsafe {
            // Two sums a row, so that one addition need not wait for the other.
            let mut sums = [[S::splat(0.0); R]; 2];
            let whole = cols / LANES * LANES;
            let mut c = 0;
            while c < whole {
                let a = S::load(x.x.add(c));
                prefetch::<S, R>(w.map(|w| w.add(c * P::BYTES)), cols * P::BYTES);
                let sums = &mut sums[c / LANES % 2];
                for r in 0..R {
                    sums[r] = S::fma(P::load::<S>(w[r].add(c * P::BYTES), LANES), a, sums[r]);
                }
                c += LANES;
            }
            if whole < cols {
                let n = cols - whole;
                let a = S::load_n(x.x.add(whole), n);
                for r in 0..R {
                    let p = w[r].add(whole * P::BYTES);
                    sums[0][r] = S::fma(P::load::<S>(p, n), a, sums[0][r]);
                }
            }
            std::array::from_fn(|r| S::add(sums[0][r], sums[1][r]))
        }
    }
}

/// Asks for the same columns of the rows that come next. Several rows at once are several short
/// streams, which no machine's prefetcher follows.
#[inline(always)]
unsafe fn prefetch<S: Simd, const R: usize>(w: [*const u8; R], row_bytes: usize) {
    for p in w {
        unsafe { S::prefetch(p.wrapping_add(R * row_bytes)) };
    }
}

/// Formats with blocks of 32 under f16 scales, two blocks at a step.
macro_rules! two_blocks_at_a_step {
    ($format:ty, $step:ident) => {
        impl Dot for $format {
            #[inline(always)]
            fn row_bytes(cols: usize) -> usize {
                cols / BLOCK * Self::BYTES
            }

            #[inline(always)]
            unsafe fn dot<S: Simd, const R: usize>(
                w: [*const u8; R],
                cols: usize,
                x: Row,
            ) -> [S::F; R] {
                let blocks = cols / BLOCK;
                let mut sums = unsafe { [S::splat(0.0); R] };
                for pair in 0..blocks / 2 {
                    let b = 2 * pair;
                    unsafe {
                        let a = S::activations(x.q.add(b * BLOCK));
                        let scale = S::pair(x.scale.add(b));
                        let p = w.map(|w| w.add(b * Self::BYTES));
                        prefetch::<S, R>(p, Self::row_bytes(cols));
                        $step::<S, R, true>(p, a, scale, &mut sums);
                    }
                }
                if blocks % 2 == 1 {
                    let b = blocks - 1;
                    unsafe {
                        let a = S::half_activations(x.q.add(b * BLOCK));
                        let scale = S::splat(*x.scale.add(b));
                        let p = w.map(|w| w.add(b * Self::BYTES));
                        $step::<S, R, false>(p, a, scale, &mut sums);
                    }
                }
                sums
            }
        }
    };
}

/// The scales of two blocks, or of one.
#[inline(always)]
unsafe fn scales<S: Simd, const TWO: bool>(p: *const u8, block: usize) -> S::F {
    unsafe { S::pair_f16(p.cast(), if TWO { p.add(block) } else { p }.cast()) }
}

#[inline(always)]
unsafe fn q8_0<S: Simd, const R: usize, const TWO: bool>(
    p: [*const u8; R],
    a: S::A,
    scale: S::F,
    sums: &mut [S::F; R],
) {
    unsafe {
        let scale = S::mul(scale, S::splat(S::WIDE_SCALE));
        for r in 0..R {
            let q = match TWO {
                true => S::halves(p[r].add(2), p[r].add(36)),
                false => S::half(p[r].add(2)),
            };
            let product = S::to_f32(S::dot_i8(S::splat_i(0), q, a));
            let scale = S::mul(scales::<S, TWO>(p[r], 34), scale);
            sums[r] = S::fma(product, scale, sums[r]);
        }
    }
}
two_blocks_at_a_step!(formats::Q8_0, q8_0);

#[inline(always)]
unsafe fn q4_0<S: Simd, const R: usize, const TWO: bool>(
    p: [*const u8; R],
    a: S::A,
    scale: S::F,
    sums: &mut [S::F; R],
) {
    unsafe {
        let excess = S::negated_shift::<3>(S::lane_sums(a));
        for r in 0..R {
            let q = match TWO {
                true => S::nibbles_of_two(p[r].add(2), p[r].add(20)),
                false => S::nibbles_of_one(p[r].add(2)),
            };
            let product = S::to_f32(S::dot_u7(excess, q, a));
            let scale = S::mul(scales::<S, TWO>(p[r], 18), scale);
            sums[r] = S::fma(product, scale, sums[r]);
        }
    }
}
two_blocks_at_a_step!(formats::Q4_0, q4_0);

#[inline(always)]
unsafe fn q4_1<S: Simd, const R: usize, const TWO: bool>(
    p: [*const u8; R],
    a: S::A,
    scale: S::F,
    sums: &mut [S::F; R],
) {
    unsafe {
        let total = S::mul(S::to_f32(S::lane_sums(a)), scale);
        for r in 0..R {
            let q = match TWO {
                true => S::nibbles_of_two(p[r].add(4), p[r].add(24)),
                false => S::nibbles_of_one(p[r].add(4)),
            };
            let product = S::to_f32(S::dot_u7(S::splat_i(0), q, a));
            let scale = S::mul(scales::<S, TWO>(p[r], 20), scale);
            let min = scales::<S, TWO>(p[r].add(2), 20);
            sums[r] = S::fma(product, scale, S::fma(min, total, sums[r]));
        }
    }
}
two_blocks_at_a_step!(formats::Q4_1, q4_1);

impl Dot for formats::Q4K {
    #[inline(always)]
    fn row_bytes(cols: usize) -> usize {
        cols / Self::LEN * Self::BYTES
    }

    #[inline(always)]
    unsafe fn dot<S: Simd, const R: usize>(w: [*const u8; R], cols: usize, x: Row) -> [S::F; R] {
        unsafe {
            let mut sums = [S::splat(0.0); R];
            for b in 0..cols / Self::LEN {
                let groups = b * 8;
                for line in 0..Self::BYTES.div_ceil(64) {
                    let p = w.map(|w| w.add(b * Self::BYTES + 64 * line));
                    prefetch::<S, R>(p, Self::row_bytes(cols));
                }
                let mut scale = [[0f32; 8]; R];
                for r in 0..R {
                    // The upper lanes stay zero: there are eight minima.
                    let mut min = [0f32; LANES];
                    k_scales(w[r].add(b * Self::BYTES), &mut scale[r], &mut min);
                    let total = S::load(x.sum.add(groups));
                    sums[r] = S::fma(S::load(min.as_ptr()), total, sums[r]);
                }
                for j in 0..4 {
                    let a = S::activations(x.q.add(b * Self::LEN + 64 * j));
                    let a_scale = S::pair(x.scale.add(groups + 2 * j));
                    for r in 0..R {
                        let q = S::nibbles_of_half(w[r].add(b * Self::BYTES + 16 + 32 * j));
                        let product = S::to_f32(S::dot_u7(S::splat_i(0), q, a));
                        let scale = S::mul(S::pair(scale[r].as_ptr().add(2 * j)), a_scale);
                        sums[r] = S::fma(product, scale, sums[r]);
                    }
                }
            }
            sums
        }
    }
}

/// Bits 4 and 5 of the first 32 bytes, and of the others.
static TWO_BITS: [[u8; 64]; 2] = {
    let mut masks = [[0; 64]; 2];
    let mut i = 0;
    while i < 64 {
        masks[i / 32][i] = 0x30;
        i += 1;
    }
    masks
};

impl Dot for formats::Q6K {
    #[inline(always)]
    fn row_bytes(cols: usize) -> usize {
        cols / Self::LEN * Self::BYTES
    }

    #[inline(always)]
    unsafe fn dot<S: Simd, const R: usize>(w: [*const u8; R], cols: usize, x: Row) -> [S::F; R] {
        unsafe {
            let mut sums = [S::splat(0.0); R];
            let low_nibble = S::splat_b(0x0f);
            let first = S::bytes(TWO_BITS[0].as_ptr());
            let second = S::bytes(TWO_BITS[1].as_ptr());
            for b in 0..cols / Self::LEN {
                for line in 0..Self::BYTES.div_ceil(64) {
                    let p = w.map(|w| w.add(b * Self::BYTES + 64 * line));
                    prefetch::<S, R>(p, Self::row_bytes(cols));
                }
                let mut scale = [[0f32; LANES]; R];
                for r in 0..R {
                    let p = w[r].add(b * Self::BYTES);
                    let d = formats::half_at(p.add(208));
                    for (j, scale) in scale[r].iter_mut().enumerate() {
                        *scale = d * f32::from(*p.add(192 + j) as i8);
                    }
                }
                for half in 0..2 {
                    let groups = b * 8 + 4 * half;
                    let a = [0, 64].map(|i| S::activations(x.q.add(groups * BLOCK + i)));
                    let a_scale = [0, 2].map(|i| S::pair(x.scale.add(groups + i)));
                    let excess = a.map(|a| S::negated_shift::<5>(S::lane_sums(a)));
                    for r in 0..R {
                        let p = w[r].add(b * Self::BYTES);
                        let low = S::bytes(p.add(64 * half));
                        let high = p.add(128 + 32 * half);
                        // Bits 0-1 and 2-3 of each byte belong to the first 64 values, 4-5 and
                        // 6-7 to the others; all go to bits 4-5 of their value.
                        let high = S::halves(high, high);
                        let q = [
                            S::or(
                                S::and(low, low_nibble),
                                S::or(
                                    S::and(S::shl::<4>(high), first),
                                    S::and(S::shl::<2>(high), second),
                                ),
                            ),
                            S::or(
                                S::and(S::shr::<4>(low), low_nibble),
                                S::or(S::and(high, first), S::and(S::shr::<2>(high), second)),
                            ),
                        ];
                        for i in 0..2 {
                            let product = S::to_f32(S::dot_u7(excess[i], q[i], a[i]));
                            let scale = S::quad(scale[r].as_ptr().add(8 * half + 4 * i));
                            sums[r] = S::fma(product, S::mul(scale, a_scale[i]), sums[r]);
                        }
                    }
                }
            }
            sums
        }
    }
}

/// Formats without a fast path: blocks are unpacked one by one.
struct Unpacked<T>(std::marker::PhantomData<T>);

impl<T: Format> Dot for Unpacked<T> {
    #[inline(always)]
    fn row_bytes(cols: usize) -> usize {
        cols / T::LEN * T::BYTES
    }

    #[inline(always)]
    unsafe fn dot<S: Simd, const R: usize>(w: [*const u8; R], cols: usize, x: Row) -> [S::F; R] {
        unsafe {
            let mut sums = [S::splat(0.0); R];
            for b in 0..cols / T::LEN {
                for r in 0..R {
                    let mut q = [0u8; 256];
                    let (mut scale, mut min) = ([0f32; 16], [0f32; 16]);
                    let block = w[r].add(b * T::BYTES);
                    T::unpack(block, &mut q[..T::LEN], &mut scale, &mut min);
                    for g in 0..T::LEN / BLOCK {
                        let at = b * T::LEN / BLOCK + g;
                        let a = S::half_activations(x.q.add(at * BLOCK));
                        let product =
                            S::dot_u7(S::splat_i(0), S::half(q.as_ptr().add(g * BLOCK)), a);
                        let scaled = S::splat(scale[g] * *x.scale.add(at));
                        sums[r] = S::fma(S::to_f32(product), scaled, sums[r]);
                        // One lane is enough for what does not depend on the values.
                        let shift = min[g] - scale[g] * T::OFFSET as f32;
                        let mut lane = [0f32; LANES];
                        lane[0] = shift * *x.sum.add(at);
                        sums[r] = S::add(sums[r], S::load(lane.as_ptr()));
                    }
                }
            }
            sums
        }
    }
}
