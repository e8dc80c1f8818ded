//! Matrix times vector: the kernel of decode. Weights are read once, in the layout of the file,
//! four rows at a time so that the activations stay in registers.

use super::super::simd::{LANES, Products, Simd, two};
use super::activations::{BLOCK, Row};
use super::formats::{self, Format};
use super::rare::{self, Read};
use crate::quant::DType;
use crate::quant::iq4_nl::LEVELS;

/// Rows that share the activations.
const ROWS: usize = 4;

/// `out[r] = W[r] . x` for the rows that begin at `w`.
///
/// # Safety
/// `w` must hold `out.len()` rows of `cols` values in format `dtype`; `x` must hold `cols`
/// activations, quantized if the format is.
#[inline(always)]
pub(super) unsafe fn matvec<S: Products>(
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
            DType::Q5_0 => rows::<S, formats::Q5_0>(w, cols, x, out),
            DType::Q5_1 => rows::<S, formats::Q5_1>(w, cols, x, out),
            DType::Q5_K => rows::<S, formats::Q5K>(w, cols, x, out),
            DType::Q2_K => rows::<S, Read<rare::Q2K>>(w, cols, x, out),
            DType::Q3_K => rows::<S, Read<rare::Q3K>>(w, cols, x, out),
            DType::IQ4_NL => rows::<S, formats::Iq4Nl>(w, cols, x, out),
            DType::IQ4_XS => rows::<S, Read<rare::Iq4Xs>>(w, cols, x, out),
            DType::MXFP4 => rows::<S, Read<rare::Mxfp4>>(w, cols, x, out),
        }
    }
}

/// A format with its own dot product.
pub(super) trait Dot<S: Simd> {
    /// Bytes of a row of `cols` values.
    fn row_bytes(cols: usize) -> usize;

    /// The products of `R` rows with the activations.
    ///
    /// # Safety
    /// As [`matvec`].
    unsafe fn dot<const R: usize>(w: [*const u8; R], cols: usize, x: Row) -> [S::F; R];
}

/// Weights that follow those in use, to be prefetched at the pace of their use.
pub(super) struct Ahead(*const u8);

impl Ahead {
    /// For `R` rows that are read side by side: several short streams, which no hardware prefetcher
    /// follows.
    #[inline(always)]
    pub fn of<const R: usize>(w: [*const u8; R], row_bytes: usize) -> Ahead {
        /// Beyond these rows, which their first blocks already need: about what one thread reads
        /// in the time of one read from memory.
        const AHEAD: usize = 4096;
        Ahead(w[0].wrapping_add(R * row_bytes + AHEAD))
    }

    /// The next `bytes`, when as many are used.
    #[inline(always)]
    pub unsafe fn fetch<S: Simd>(&mut self, bytes: usize) {
        for line in (0..bytes).step_by(64) {
            unsafe { S::prefetch(self.0.wrapping_add(line)) };
        }
        self.0 = self.0.wrapping_add(bytes);
    }
}

/// [`matvec`] for one format.
#[inline(always)]
pub(super) unsafe fn rows<S: Simd, D: Dot<S>>(w: *const u8, cols: usize, x: Row, out: &mut [f32]) {
    let stride = D::row_bytes(cols);
    let row = |r: usize| unsafe { w.add(r * stride) };
    let mut fours = out.chunks_exact_mut(ROWS);
    let mut r = 0;
    for four in &mut fours {
        unsafe {
            let products = D::dot::<ROWS>([row(r), row(r + 1), row(r + 2), row(r + 3)], cols, x);
            four.copy_from_slice(&S::sum4(products));
        }
        r += ROWS;
    }
    for one in fours.into_remainder() {
        unsafe {
            let [product] = D::dot::<1>([row(r)], cols, x);
            *one = S::sum(product);
        }
        r += 1;
    }
}

/// Row formats of plain floats.
pub(super) trait Plain {
    const BYTES: usize;
    unsafe fn load<S: Simd>(p: *const u8, n: usize) -> S::F;
}

pub(super) struct F32;
impl Plain for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8, n: usize) -> S::F {
        unsafe { S::load_n(p.cast(), n) }
    }
}

pub(super) struct F16;
impl Plain for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8, n: usize) -> S::F {
        unsafe { S::load_f16_n(p.cast(), n) }
    }
}

pub(super) struct Bf16;
impl Plain for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8, n: usize) -> S::F {
        unsafe { S::load_bf16_n(p.cast(), n) }
    }
}

impl<S: Simd, P: Plain> Dot<S> for P {
    #[inline(always)]
    fn row_bytes(cols: usize) -> usize {
        cols * P::BYTES
    }

    #[inline(always)]
    unsafe fn dot<const R: usize>(w: [*const u8; R], cols: usize, x: Row) -> [S::F; R] {
        unsafe {
            // Two sums per row, so that one addition need not wait for the other, where they fit the
            // registers; where a sum takes several there are as many that don't wait.
            let sets = if S::REGISTERS > 2 * ROWS { 2 } else { 1 };
            let mut sums = [[S::splat(0.0); R]; 2];
            let mut ahead = Ahead::of(w, cols * P::BYTES);
            let whole = cols / LANES * LANES;
            let mut c = 0;
            while c < whole {
                let a = S::load(x.x.add(c));
                ahead.fetch::<S>(R * LANES * P::BYTES);
                let sums = &mut sums[c / LANES % sets];
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
            let [mut total, other] = sums;
            for r in 0..R {
                total[r] = S::add(total[r], other[r]);
            }
            total
        }
    }
}

/// Formats with blocks of 32 that begin with an f16 scale.
trait Blocks: Format {
    /// Offset of the weights in a block.
    const WEIGHTS: usize;
    unsafe fn two<S: Products>(p0: *const u8, p1: *const u8) -> S::W;
    unsafe fn one<S: Products>(p: *const u8) -> S::W;
}

impl Blocks for formats::Q8_0 {
    const WEIGHTS: usize = 2;
    #[inline(always)]
    unsafe fn two<S: Products>(p0: *const u8, p1: *const u8) -> S::W {
        unsafe { S::halves(p0.cast(), p1.cast()) }
    }
    #[inline(always)]
    unsafe fn one<S: Products>(p: *const u8) -> S::W {
        unsafe { S::half(p.cast()) }
    }
}

impl Blocks for formats::Q4_0 {
    const WEIGHTS: usize = 2;
    #[inline(always)]
    unsafe fn two<S: Products>(p0: *const u8, p1: *const u8) -> S::W {
        unsafe { S::nibbles_of_two(p0, p1) }
    }
    #[inline(always)]
    unsafe fn one<S: Products>(p: *const u8) -> S::W {
        unsafe { S::nibbles_of_one(p) }
    }
}

impl Blocks for formats::Q4_1 {
    const WEIGHTS: usize = 4;
    #[inline(always)]
    unsafe fn two<S: Products>(p0: *const u8, p1: *const u8) -> S::W {
        unsafe { S::nibbles_of_two(p0, p1) }
    }
    #[inline(always)]
    unsafe fn one<S: Products>(p: *const u8) -> S::W {
        unsafe { S::nibbles_of_one(p) }
    }
}

impl Blocks for formats::Iq4Nl {
    const WEIGHTS: usize = 2;
    #[inline(always)]
    unsafe fn two<S: Products>(p0: *const u8, p1: *const u8) -> S::W {
        unsafe {
            let (a, b) = (S::look_up(&LEVELS, p0), S::look_up(&LEVELS, p1));
            S::halves(a.as_ptr(), b.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn one<S: Products>(p: *const u8) -> S::W {
        unsafe { S::half(S::look_up(&LEVELS, p).as_ptr()) }
    }
}

/// Four bits of each value, after 32 fifth bits.
macro_rules! five_bit_blocks {
    ($($format:ident: $weights:literal),+) => {$(
        impl Blocks for formats::$format {
            const WEIGHTS: usize = $weights;
            #[inline(always)]
            unsafe fn two<S: Products>(p0: *const u8, p1: *const u8) -> S::W {
                unsafe {
                    let four = S::nibbles_of_two(p0.add(4), p1.add(4));
                    S::with_fifth_bits(four, [fifth_bits(p0), fifth_bits(p1)])
                }
            }
            #[inline(always)]
            unsafe fn one<S: Products>(p: *const u8) -> S::W {
                unsafe { S::with_fifth_bits(S::nibbles_of_one(p.add(4)), [fifth_bits(p), 0]) }
            }
        }
    )+};
}
five_bit_blocks!(Q5_0: 2, Q5_1: 4);

#[inline(always)]
unsafe fn fifth_bits(p: *const u8) -> u32 {
    u32::from_le_bytes(unsafe { p.cast::<[u8; 4]>().read() })
}

/// What a step needs to know about the activations, independent of the row.
struct Inputs<S: Products> {
    a: S::A,
    /// The excess of each product, negated.
    excess: S::I,
    /// Sums of activations, scaled, for minima.
    total: S::F,
}

impl<S: Products> Inputs<S> {
    #[inline(always)]
    unsafe fn new<T: Blocks>(a: S::A, scale: S::F) -> Inputs<S> {
        unsafe {
            let excess = match T::excess::<S>() {
                8 => S::negated_shift::<3>(S::lane_sums(a)),
                16 => S::negated_shift::<4>(S::lane_sums(a)),
                128 => S::negated_shift::<7>(S::lane_sums(a)),
                _ => S::splat_i(0),
            };
            let total = match T::MIN {
                true => S::mul(S::to_f32(S::lane_sums(a)), scale),
                false => scale,
            };
            Inputs { a, excess, total }
        }
    }

    #[inline(always)]
    unsafe fn add<T: Blocks>(&self, w: S::W, scale: S::F, min: *const f32, sum: S::F) -> S::F {
        unsafe {
            let sum = S::fma(S::to_f32(S::dot(self.excess, w, self.a)), scale, sum);
            if T::MIN { S::fma(S::pair(min), self.total, sum) } else { sum }
        }
    }
}

/// Four blocks per step: their scales are converted together.
#[inline(always)]
unsafe fn dot_blocks<S: Products, T: Blocks, const R: usize>(
    w: [*const u8; R],
    cols: usize,
    x: Row,
) -> [S::F; R] {
    let blocks = cols / BLOCK;
    unsafe {
        let mut sums = [S::splat(0.0); R];
        let mut ahead = Ahead::of(w, blocks * T::BYTES);
        let mut b = 0;
        while b + 4 <= blocks {
            ahead.fetch::<S>(4 * R * T::BYTES);
            let inputs = two!(|i| {
                let a = S::activations(x.q.add((b + i) * BLOCK));
                Inputs::<S>::new::<T>(a, S::pair(x.scale.add(b + i)))
            }; 0, 2);
            let a_scale = x.scale.add(b).cast::<[f32; 4]>().read();
            for r in 0..R {
                let p: [_; 4] = std::array::from_fn(|i| w[r].add((b + i) * T::BYTES));
                let scales = S::f16x4(p.map(|p| p.cast()));
                let scales: [f32; 4] = std::array::from_fn(|i| scales[i] * a_scale[i]);
                let mut mins = [0f32; 4];
                if T::MIN {
                    mins = S::f16x4(p.map(|p| p.add(2).cast()));
                }
                for i in [0, 2] {
                    let weights = T::two::<S>(p[i].add(T::WEIGHTS), p[i + 1].add(T::WEIGHTS));
                    let scale = S::pair(scales.as_ptr().add(i));
                    let min = mins.as_ptr().add(i);
                    sums[r] = inputs[i / 2].add::<T>(weights, scale, min, sums[r]);
                }
            }
            b += 4;
        }
        while b < blocks {
            let a = S::half_activations(x.q.add(b * BLOCK));
            let inputs = Inputs::<S>::new::<T>(a, S::splat(*x.scale.add(b)));
            for r in 0..R {
                let p = w[r].add(b * T::BYTES);
                let scale = S::splat(formats::half_at(p) * *x.scale.add(b));
                let min = [if T::MIN { formats::half_at(p.add(2)) } else { 0.0 }; 2];
                let weights = T::one::<S>(p.add(T::WEIGHTS));
                sums[r] = inputs.add::<T>(weights, scale, min.as_ptr(), sums[r]);
            }
            b += 1;
        }
        sums
    }
}

macro_rules! dot_by_blocks {
    ($($format:ty),+) => {$(
        impl<S: Products> Dot<S> for $format {
            #[inline(always)]
            fn row_bytes(cols: usize) -> usize {
                cols / BLOCK * Self::BYTES
            }
            #[inline(always)]
            unsafe fn dot<const R: usize>(
                w: [*const u8; R],
                cols: usize,
                x: Row,
            ) -> [S::F; R] {
                unsafe { dot_blocks::<S, Self, R>(w, cols, x) }
            }
        }
    )+};
}
dot_by_blocks!(
    formats::Q8_0,
    formats::Q4_0,
    formats::Q4_1,
    formats::Iq4Nl,
    formats::Q5_0,
    formats::Q5_1
);

/// K blocks of eight groups with scales and minima of six bits.
trait EightGroups: Format {
    /// The weights of groups `2 * j` and `2 * j + 1` of the block at `p`.
    unsafe fn two_groups<S: Products>(p: *const u8, j: usize) -> S::W;
}

impl EightGroups for formats::Q4K {
    #[inline(always)]
    unsafe fn two_groups<S: Products>(p: *const u8, j: usize) -> S::W {
        unsafe { S::nibbles_of_half(p.add(16 + 32 * j)) }
    }
}

impl EightGroups for formats::Q5K {
    #[inline(always)]
    unsafe fn two_groups<S: Products>(p: *const u8, j: usize) -> S::W {
        unsafe { S::five_bits_of_half(p.add(48 + 32 * j), p.add(16), j) }
    }
}

macro_rules! dot_by_eight_groups {
    ($($format:ty),+) => {$(
        impl<S: Products> Dot<S> for $format {
            #[inline(always)]
            fn row_bytes(cols: usize) -> usize {
                cols / Self::LEN * Self::BYTES
            }
            #[inline(always)]
            unsafe fn dot<const R: usize>(
                w: [*const u8; R],
                cols: usize,
                x: Row,
            ) -> [S::F; R] {
                unsafe { dot_eight_groups::<S, Self, R>(w, cols, x) }
            }
        }
    )+};
}
dot_by_eight_groups!(formats::Q4K, formats::Q5K);

#[inline(always)]
unsafe fn dot_eight_groups<S: Products, T: EightGroups, const R: usize>(
    w: [*const u8; R],
    cols: usize,
    x: Row,
) -> [S::F; R] {
    const GROUPS: usize = 8;
    unsafe {
        let mut sums = [S::splat(0.0); R];
        let mut ahead = Ahead::of(w, cols / T::LEN * T::BYTES);
        for b in 0..cols / T::LEN {
            let p = w.map(|w| w.add(b * T::BYTES));
            ahead.fetch::<S>(R * T::BYTES);
            let groups = b * GROUPS;
            let d = S::f16x4(std::array::from_fn(|r| p[r % R].cast()));
            let dmin = S::f16x4(std::array::from_fn(|r| p[r % R].add(2).cast()));
            let mut totals = [0f32; LANES];
            totals[GROUPS..].copy_from_slice(&x.sum.add(groups).cast::<[f32; GROUPS]>().read());
            let totals = S::load(totals.as_ptr()); // lanes of the minima
            let mut scale = [[0f32; LANES]; R];
            for r in 0..R {
                // A scale and a minimum side by side would be stored one by one and loaded as
                // two, which waits for the stores.
                let six_bits = S::six_bit_scales(p[r].add(4));
                S::store(scale[r].as_mut_ptr(), S::mul(six_bits, S::splat(d[r])));
                sums[r] = S::fma(six_bits, S::mul(totals, S::splat(-dmin[r])), sums[r]);
            }
            for j in 0..4 {
                let a = S::activations(x.q.add(b * T::LEN + 64 * j));
                let a_scale = S::pair(x.scale.add(groups + 2 * j));
                for r in 0..R {
                    let q = T::two_groups::<S>(p[r], j);
                    let product = S::to_f32(S::dot(S::splat_i(0), q, a));
                    let scale = S::mul(S::pair(scale[r].as_ptr().add(2 * j)), a_scale);
                    sums[r] = S::fma(product, scale, sums[r]);
                }
            }
        }
        sums
    }
}

impl<S: Products> Dot<S> for formats::Q6K {
    #[inline(always)]
    fn row_bytes(cols: usize) -> usize {
        cols / Self::LEN * Self::BYTES
    }

    #[inline(always)]
    unsafe fn dot<const R: usize>(w: [*const u8; R], cols: usize, x: Row) -> [S::F; R] {
        unsafe {
            let mut sums = [S::splat(0.0); R];
            let mut ahead = Ahead::of(w, <Self as Dot<S>>::row_bytes(cols));
            for b in 0..cols / Self::LEN {
                let p = w.map(|w| w.add(b * Self::BYTES));
                ahead.fetch::<S>(R * Self::BYTES);
                let scales = p.map(|p| {
                    let bytes = p.add(192).cast::<[i8; 16]>().read();
                    bytes.map(i16::from)
                });
                let d = S::f16x4(std::array::from_fn(|r| p[r % R].add(208).cast()));
                for half in 0..2 {
                    let groups = b * 8 + 4 * half;
                    let a = two!(|i| S::activations(x.q.add((groups + i) * BLOCK)); 0, 2);
                    let a_scale = two!(|i| S::pair(x.scale.add(groups + i)); 0, 2);
                    for r in 0..R {
                        let low = p[r].add(64 * half);
                        let weights = S::six_bits(low, p[r].add(128 + 32 * half));
                        for i in 0..2 {
                            let scales = scales[r].as_ptr().add(8 * half + 4 * i);
                            let product = S::to_f32(S::dot_scaled(weights[i], scales, a[i]));
                            let scale = S::mul(S::splat(d[r]), a_scale[i]);
                            sums[r] = S::fma(product, scale, sums[r]);
                        }
                    }
                }
            }
            sums
        }
    }
}
