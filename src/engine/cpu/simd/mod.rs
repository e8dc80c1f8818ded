//! The machine as the kernels see it: sixteen f32 lanes, sixteen i32 lanes and 64 bytes, whatever
//! registers they are made of. Each kernel is written once over [`Simd`]; each instruction set
//! implements some thirty one-line operations.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every function is an operation of `Simd`, whose contract stands there"
)]

/// `[f(a), f(b)]` without a closure. Code that calls intrinsics must be inlined into the function
/// that was compiled for the instruction set; `inline(always)` ensures that, and a closure can't
/// have it.
macro_rules! two {
    (|$x:ident| $f:expr; $a:expr, $b:expr) => {
        [
            match $a {
                $x => $f,
            },
            match $b {
                $x => $f,
            },
        ]
    };
}
pub(super) use two;

#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
#[cfg(any(not(target_arch = "aarch64"), test, feature = "internals"))]
pub(super) mod portable;

/// Largest magnitude of a quantized activation. Twice the bits of a weight: with int8 the rounding
/// of activations would be the largest error of all, several times that of Q8_0 weights. And a sum
/// of four products with weights times 256 still fits 32 bits.
pub(super) const ACTIVATION_MAX: i32 = 8191;

/// The same where the caller accepts that error: one multiplication of bytes per weight is enough then.
pub(super) const ACTIVATION_MAX_INT8: i32 = 127;

/// Lanes of [`Simd::F`] and [`Simd::I`].
pub(super) const LANES: usize = 16;

/// The eight scales of a K block and then its eight minima, 6 bits each.
///
/// # Safety
/// `p` must be valid for 12 bytes.
#[inline(always)]
pub(super) unsafe fn six_bit_scales(p: *const u8) -> [u8; 16] {
    // Four at a time: the first are the lower six bits of four bytes, the last the nibbles of the
    // last four bytes below the upper two bits of the others.
    let [a, b, c] = unsafe { p.cast::<[[u8; 4]; 3]>().read() }.map(u32::from_le_bytes);
    let (six, four, two) = (0x3f3f_3f3f, 0x0f0f_0f0f, 0x0303_0303);
    let scales = [a & six, c & four | (a >> 6 & two) << 4];
    let mins = [b & six, c >> 4 & four | (b >> 6 & two) << 4];
    bytemuck::cast([scales, mins].map(|each| each.map(u32::to_le)))
}

/// Copies `n` values, byte by byte, since neither place need be aligned.
///
/// # Safety
/// `from` must be readable and `to` writable for `n` values, and they must not overlap.
#[inline(always)]
unsafe fn copy<T>(from: *const T, to: *mut T, n: usize) {
    // SAFETY: passed on.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast(), n * size_of::<T>()) };
}

/// Operations on 16 lanes.
///
/// # Safety
/// Every function may use instructions that only some machines have, and every pointer must be
/// valid for the lanes named. Kernels call them from functions compiled for an instruction set that
/// was detected. No pointer needs alignment.
pub(super) trait Simd: Copy + 'static {
    /// 16 f32.
    type F: Copy;
    /// 16 i32.
    type I: Copy;

    /// How many [`Simd::F`] the registers hold.
    const REGISTERS: usize;

    unsafe fn splat(x: f32) -> Self::F;
    unsafe fn load(p: *const f32) -> Self::F;
    unsafe fn load_f16(p: *const u16) -> Self::F;
    unsafe fn load_bf16(p: *const u16) -> Self::F;
    unsafe fn load_i8(p: *const i8) -> Self::F;
    /// Of 16 bytes the lower nibbles, and the upper ones: 0..=15.
    unsafe fn nibbles(p: *const u8) -> [Self::F; 2];
    unsafe fn store(p: *mut f32, v: Self::F);
    /// Rounds to nearest, ties to even.
    unsafe fn store_f16(p: *mut u16, v: Self::F);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the machine can.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn sum(v: Self::F) -> f32;
    unsafe fn greatest(v: Self::F) -> f32;

    /// The sums of four vectors.
    #[inline(always)]
    unsafe fn sum4(v: [Self::F; 4]) -> [f32; 4] {
        unsafe { [Self::sum(v[0]), Self::sum(v[1]), Self::sum(v[2]), Self::sum(v[3])] }
    }

    /// The nearest integers, for lanes within ±2^22.
    unsafe fn round(v: Self::F) -> Self::I;
    /// 2 to the power of each lane, for -126..=127.
    unsafe fn exp2(v: Self::I) -> Self::F;
    unsafe fn to_f32(v: Self::I) -> Self::F;
    /// The sum of the lanes.
    unsafe fn sum_i(v: Self::I) -> i32;

    /// Writes a block of 32 activations in the order that suits the machine: 64 bytes.
    unsafe fn store_activations(p: *mut i16, low: Self::I, high: Self::I);

    /// Prefetches the cache line at `p`, which need not be valid.
    unsafe fn prefetch(p: *const u8);

    /// The first `n` lanes, 1..=16; zeros after them.
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> Self::F {
        if n == LANES {
            return unsafe { Self::load(p) };
        }
        let mut lanes = [0f32; LANES];
        // SAFETY: the caller vouches for n readable values, and n is at most 16.
        unsafe {
            copy(p, lanes.as_mut_ptr(), n);
            Self::load(lanes.as_ptr())
        }
    }

    /// As [`Simd::load_n`], for f16.
    #[inline(always)]
    unsafe fn load_f16_n(p: *const u16, n: usize) -> Self::F {
        if n == LANES {
            return unsafe { Self::load_f16(p) };
        }
        let mut lanes = [0u16; LANES];
        // SAFETY: as above.
        unsafe {
            copy(p, lanes.as_mut_ptr(), n);
            Self::load_f16(lanes.as_ptr())
        }
    }

    /// As [`Simd::load_n`], for bf16.
    #[inline(always)]
    unsafe fn load_bf16_n(p: *const u16, n: usize) -> Self::F {
        if n == LANES {
            return unsafe { Self::load_bf16(p) };
        }
        let mut lanes = [0u16; LANES];
        // SAFETY: as above.
        unsafe {
            copy(p, lanes.as_mut_ptr(), n);
            Self::load_bf16(lanes.as_ptr())
        }
    }

    /// As [`Simd::load_n`], for i8.
    #[inline(always)]
    unsafe fn load_i8_n(p: *const i8, n: usize) -> Self::F {
        if n == LANES {
            return unsafe { Self::load_i8(p) };
        }
        let mut lanes = [0i8; LANES];
        // SAFETY: as above.
        unsafe {
            copy(p, lanes.as_mut_ptr(), n);
            Self::load_i8(lanes.as_ptr())
        }
    }

    /// Stores the first `n` lanes, 1..=16.
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: Self::F, n: usize) {
        if n == LANES {
            return unsafe { Self::store(p, v) };
        }
        let mut lanes = [0f32; LANES];
        // SAFETY: the caller vouches for n writable values, and n is at most 16.
        unsafe {
            Self::store(lanes.as_mut_ptr(), v);
            copy(lanes.as_ptr(), p, n);
        }
    }

    /// As [`Simd::store_n`], for f16.
    #[inline(always)]
    unsafe fn store_f16_n(p: *mut u16, v: Self::F, n: usize) {
        if n == LANES {
            return unsafe { Self::store_f16(p, v) };
        }
        let mut lanes = [0u16; LANES];
        // SAFETY: as above.
        unsafe {
            Self::store_f16(lanes.as_mut_ptr(), v);
            copy(lanes.as_ptr(), p, n);
        }
    }

    /// e to the power of each lane, to 2 units in the last place; lanes beyond ±87 are clamped.
    #[inline(always)]
    unsafe fn exp(v: Self::F) -> Self::F {
        // e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2, and e^r by its Taylor series:
        // the term after the last is below r^8 / 8! = 5e-9.
        const LN2_HIGH: f32 = 0.693_359_4; // exact in few bits, so n * LN2_HIGH is exact
        const LN2_LOW: f32 = -2.121_944_4e-4;
        const INVERSE_FACTORIALS: [f32; 7] =
            [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
        unsafe {
            let x = Self::max(Self::min(v, Self::splat(87.0)), Self::splat(-87.0));
            let n = Self::round(Self::mul(x, Self::splat(std::f32::consts::LOG2_E)));
            let nf = Self::to_f32(n);
            let r = Self::fma(nf, Self::splat(-LN2_HIGH), x);
            let r = Self::fma(nf, Self::splat(-LN2_LOW), r);
            let mut series = Self::splat(INVERSE_FACTORIALS[0]);
            for c in &INVERSE_FACTORIALS[1..] {
                series = Self::fma(series, r, Self::splat(*c));
            }
            let e = Self::fma(series, r, Self::splat(1.0));
            Self::mul(e, Self::exp2(n))
        }
    }
    /// Four f16 from four places.
    unsafe fn f16x4(p: [*const u16; 4]) -> [f32; 4];

    /// What `table` has for the lower nibbles of the 16 bytes at `p`, then for the upper ones.
    unsafe fn look_up(table: &[i8; 16], p: *const u8) -> [i8; 32];
}

/// [`Simd`] with products of integers, for the kernels of matrix products that are written once.
///
/// # Safety
/// As for [`Simd`].
pub(super) trait Products: Simd {
    /// 64 weights, i8, of two blocks of 32, in the form that [`Products::dot`] wants.
    type W: Copy;
    /// 64 activations, up to [`ACTIVATION_MAX`] either way, of the same blocks.
    type A: Copy;

    /// Tokens whose sums fit the registers in the panel product: 2, 3, 4 or 8.
    const TILE: usize;

    /// Bytes of 16 values of 16 rows in a panel.
    const GROUP_BYTES: usize;

    /// What [`Products::halves`], [`Products::half`] and [`Products::pack`] add to signed weights.
    const BIAS: i32 = 0;

    /// `p[0]` in the lower eight lanes, `p[1]` in the upper.
    unsafe fn pair(p: *const f32) -> Self::F;

    unsafe fn splat_i(x: i32) -> Self::I;
    /// `-(v << BITS)`
    unsafe fn negated_shift<const BITS: u32>(v: Self::I) -> Self::I;

    /// 32 weights from `p0`, 32 from `p1`.
    unsafe fn halves(p0: *const i8, p1: *const i8) -> Self::W;
    /// 32 weights, then zeros.
    unsafe fn half(p: *const i8) -> Self::W;
    /// Of 16 bytes at `p0` the lower nibbles, then the upper ones; then the same of `p1`.
    unsafe fn nibbles_of_two(p0: *const u8, p1: *const u8) -> Self::W;
    /// Of 16 bytes the lower nibbles, then the upper ones, then zeros.
    unsafe fn nibbles_of_one(p: *const u8) -> Self::W;
    /// Of 32 bytes the lower nibbles, then the upper ones.
    unsafe fn nibbles_of_half(p: *const u8) -> Self::W;
    /// Of 32 bytes at `low` the nibbles as in [`Products::nibbles_of_half`], with bits `2 * j` and
    /// `2 * j + 1` of 32 bytes at `high` above them.
    unsafe fn five_bits_of_half(low: *const u8, high: *const u8, j: usize) -> Self::W;
    /// Sixteen more where a bit is set: `bits[0]` is for the first 32 weights, `bits[1]` for the others.
    unsafe fn with_fifth_bits(w: Self::W, bits: [u32; 2]) -> Self::W;
    /// Of half a Q6_K block, 64 bytes of lower bits and 32 of upper ones: its 128 weights, -32..=31.
    unsafe fn six_bits(low: *const u8, high: *const u8) -> [Self::W; 2];
    /// The eight scales and then the eight minima, 6 bits each, of 12 bytes of a K block; 16 bytes
    /// are read.
    #[inline(always)]
    unsafe fn six_bit_scales(p: *const u8) -> Self::F {
        unsafe { Self::load_i8(six_bit_scales(p).as_ptr().cast()) }
    }
    /// Two blocks.
    unsafe fn activations(p: *const i16) -> Self::A;
    /// One block, then zeros.
    unsafe fn half_activations(p: *const i16) -> Self::A;
    /// The sums of activations, those of the first block in the lower eight lanes, those of the
    /// second in the upper.
    unsafe fn lane_sums(a: Self::A) -> Self::I;
    /// Accumulates products of weights and activations: those of the first block into the lower
    /// eight lanes, those of the second into the upper.
    unsafe fn dot(acc: Self::I, w: Self::W, a: Self::A) -> Self::I;
    /// The same starting from zero, with each 16 weights multiplied by one of four numbers, each
    /// within ±128 and weights within ±32 (so that the products fit 16 bits).
    unsafe fn dot_scaled(w: Self::W, scales: *const i16, a: Self::A) -> Self::I;

    /// Writes 16 weights of each of 16 rows, i8 if `SIGNED`, as a group of a panel.
    unsafe fn pack<const SIGNED: bool>(rows: [*const u8; LANES], group: *mut u8);
    /// Writes 16 bytes of each of 16 rows as two groups of a panel: their lower nibbles as the first,
    /// their upper ones as the second.
    unsafe fn pack_nibbles(rows: [*const u8; LANES], groups: [*mut u8; 2]);
    /// Adds the products of a group with the activations of `N` tokens to the lanes, one per row of
    /// the panel: 16 values, the lower or upper half (`half`: 0 or 1) of the blocks at `a`.
    unsafe fn dot_group<const N: usize>(
        acc: &mut [Self::I; N],
        group: *const u8,
        a: [*const i16; N],
        half: usize,
    );
}
