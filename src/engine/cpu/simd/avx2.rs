//! [`Simd`] with AVX2, FMA and F16C, two registers for sixteen lanes; with or without AVX-VNNI.

use super::Simd;
use std::arch::x86_64::*;

/// The features that [`Avx2`] needs.
pub(crate) fn detected() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// What [`Avx2`] with VNNI needs beside that.
pub(crate) fn vnni_detected() -> bool {
    detected() && is_x86_feature_detected!("avxvnni")
}

/// `VNNI`: whether the byte products may use the AVX-VNNI instruction.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>;

type F = [__m256; 2];
type I = [__m256i; 2];
type B = [__m256i; 2];
/// Of each block the 16-bit values 0-7 and 16-23, then the others.
type A = [[__m256i; 2]; 2];

macro_rules! lanewise {
    ($($name:ident($($arg:ident),+): $kind:ty = $op:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $kind),+) -> $kind {
            unsafe { [$op($($arg[0]),+), $op($($arg[1]),+)] }
        }
    )+};
}

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type F = F;
    type I = I;
    type B = B;
    type A = A;

    const TILE: usize = 3;
    // Weights are widened into the upper halves of 16 bits.
    const WIDE_SCALE: f32 = 1.0 / 256.0;
    const GROUP_BYTES: usize = 512;

    lanewise! {
        add(a, b): F = _mm256_add_ps;
        sub(a, b): F = _mm256_sub_ps;
        mul(a, b): F = _mm256_mul_ps;
        div(a, b): F = _mm256_div_ps;
        max(a, b): F = _mm256_max_ps;
        min(a, b): F = _mm256_min_ps;
        fma(a, b, c): F = _mm256_fmadd_ps;
        and(a, b): B = _mm256_and_si256;
        or(a, b): B = _mm256_or_si256;
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> F {
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> F {
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> F {
        unsafe { [p, p.add(8)].map(|p| _mm256_cvtph_ps(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> F {
        unsafe {
            [p, p.add(8)].map(|p| {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            })
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: F) {
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: F) {
        unsafe {
            let [a, b] = v.map(|x| _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x));
            _mm_storeu_si128(p.cast(), a);
            _mm_storeu_si128(p.add(8).cast(), b);
        }
    }
    #[inline(always)]
    unsafe fn sum(v: F) -> f32 {
        unsafe {
            let eight = _mm256_add_ps(v[0], v[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn greatest(v: F) -> f32 {
        unsafe {
            let eight = _mm256_max_ps(v[0], v[1]);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn sum4(v: [F; 4]) -> [f32; 4] {
        unsafe {
            let [a, b, c, d] = v.map(|x| _mm256_add_ps(x[0], x[1]));
            let lanes = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            let sums = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
            std::mem::transmute::<__m128, [f32; 4]>(sums)
        }
    }
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> F {
        unsafe { [_mm256_set1_ps(p.read_unaligned()), _mm256_set1_ps(p.add(1).read_unaligned())] }
    }
    #[inline(always)]
    unsafe fn pair_f16(p0: *const u16, p1: *const u16) -> F {
        unsafe { [p0, p1].map(|p| _mm256_cvtph_ps(_mm_set1_epi16(p.read_unaligned() as i16))) }
    }
    #[inline(always)]
    unsafe fn quad(p: *const f32) -> F {
        unsafe {
            let four = _mm256_broadcast_ps(&p.cast::<__m128>().read_unaligned());
            [
                _mm256_permutevar8x32_ps(four, _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0)),
                _mm256_permutevar8x32_ps(four, _mm256_set_epi32(3, 3, 3, 3, 2, 2, 2, 2)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn round(v: F) -> I {
        unsafe { v.map(|x| _mm256_cvtps_epi32(x)) }
    }
    #[inline(always)]
    unsafe fn exp2(v: I) -> F {
        unsafe {
            v.map(|x| {
                let exponent = _mm256_add_epi32(x, _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            })
        }
    }
    #[inline(always)]
    unsafe fn splat_i(x: i32) -> I {
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    unsafe fn to_f32(v: I) -> F {
        unsafe { v.map(|x| _mm256_cvtepi32_ps(x)) }
    }
    #[inline(always)]
    unsafe fn negated_shift<const BITS: u32>(v: I) -> I {
        // The shift intrinsic wants a signed constant; a variable count costs the same.
        unsafe {
            let count = _mm_cvtsi32_si128(BITS as i32);
            v.map(|x| _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_sll_epi32(x, count)))
        }
    }
    #[inline(always)]
    unsafe fn sum_i(v: I) -> i32 {
        unsafe {
            let eight = _mm256_add_epi32(v[0], v[1]);
            let high = _mm256_extracti128_si256::<1>(eight);
            let four = _mm_add_epi32(_mm256_castsi256_si128(eight), high);
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two)))
        }
    }
    #[inline(always)]
    unsafe fn bytes(p: *const u8) -> B {
        unsafe { Self::halves(p, p.add(32)) }
    }
    #[inline(always)]
    unsafe fn halves(p0: *const u8, p1: *const u8) -> B {
        unsafe { [_mm256_loadu_si256(p0.cast()), _mm256_loadu_si256(p1.cast())] }
    }
    #[inline(always)]
    unsafe fn half(p: *const u8) -> B {
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_setzero_si256()] }
    }
    #[inline(always)]
    unsafe fn nibbles_of_two(p0: *const u8, p1: *const u8) -> B {
        unsafe { [split_nibbles(p0), split_nibbles(p1)] }
    }
    #[inline(always)]
    unsafe fn nibbles_of_one(p: *const u8) -> B {
        unsafe { [split_nibbles(p), _mm256_setzero_si256()] }
    }
    #[inline(always)]
    unsafe fn nibbles_of_half(p: *const u8) -> B {
        unsafe {
            let v = _mm256_loadu_si256(p.cast());
            let mask = _mm256_set1_epi8(15);
            [_mm256_and_si256(v, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(v), mask)]
        }
    }
    #[inline(always)]
    unsafe fn splat_b(x: u8) -> B {
        unsafe { [_mm256_set1_epi8(x as i8); 2] }
    }
    #[inline(always)]
    unsafe fn shr<const BITS: u32>(v: B) -> B {
        unsafe {
            let count = _mm_cvtsi32_si128(BITS as i32);
            v.map(|x| _mm256_srl_epi16(x, count))
        }
    }
    #[inline(always)]
    unsafe fn shl<const BITS: u32>(v: B) -> B {
        unsafe {
            let count = _mm_cvtsi32_si128(BITS as i32);
            v.map(|x| _mm256_sll_epi16(x, count))
        }
    }
    #[inline(always)]
    unsafe fn store_activations(p: *mut i16, low: I, high: I) {
        unsafe {
            // Packing interleaves the 128-bit lanes: 0-3 8-11 4-7 12-15 in fours of a half.
            let [a, b] = [low, high].map(|v| {
                let packed = _mm256_packs_epi32(v[0], v[1]);
                _mm256_permute4x64_epi64::<0b11_01_10_00>(packed)
            });
            let first = _mm256_permute2x128_si256::<0x20>(a, b);
            let second = _mm256_permute2x128_si256::<0x31>(a, b);
            _mm256_storeu_si256(p.cast(), first);
            _mm256_storeu_si256(p.add(16).cast(), second);
        }
    }
    #[inline(always)]
    unsafe fn activations(p: *const i16) -> A {
        unsafe {
            let quarter = |i: usize| _mm256_loadu_si256(p.add(16 * i).cast());
            [[quarter(0), quarter(1)], [quarter(2), quarter(3)]]
        }
    }
    #[inline(always)]
    unsafe fn half_activations(p: *const i16) -> A {
        unsafe {
            let quarter = |i: usize| _mm256_loadu_si256(p.add(16 * i).cast());
            [[quarter(0), quarter(1)], [_mm256_setzero_si256(); 2]]
        }
    }
    #[inline(always)]
    unsafe fn lane_sums(a: A) -> I {
        unsafe {
            let ones = _mm256_set1_epi16(1);
            a.map(|[first, second]| {
                let sum = _mm256_madd_epi16(first, ones);
                _mm256_add_epi32(sum, _mm256_madd_epi16(second, ones))
            })
        }
    }
    #[inline(always)]
    unsafe fn dot_u7(acc: I, w: B, a: A) -> I {
        unsafe {
            let zero = _mm256_setzero_si256();
            std::array::from_fn(|i| {
                let sum = dot::<VNNI>(acc[i], _mm256_unpacklo_epi8(w[i], zero), a[i][0]);
                dot::<VNNI>(sum, _mm256_unpackhi_epi8(w[i], zero), a[i][1])
            })
        }
    }
    #[inline(always)]
    unsafe fn dot_i8(acc: I, w: B, a: A) -> I {
        unsafe {
            let zero = _mm256_setzero_si256();
            std::array::from_fn(|i| {
                let sum = dot::<VNNI>(acc[i], _mm256_unpacklo_epi8(zero, w[i]), a[i][0]);
                dot::<VNNI>(sum, _mm256_unpackhi_epi8(zero, w[i]), a[i][1])
            })
        }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn pack(q: *const i8, row: usize, group: *mut u8) {
        unsafe {
            let wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(q.cast()));
            let pairs = std::mem::transmute::<__m256i, [u32; 8]>(wide);
            for (k, pair) in pairs.into_iter().enumerate() {
                group.add(k * 64 + row * 4).cast::<u32>().write_unaligned(pair);
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
        for k in 0..8 {
            unsafe {
                let weights = Self::bytes(group.add(64 * k));
                // Where the values 16 half + 2 k and the next stand in the block.
                let at = 8 * half + if k < 4 { 2 * k } else { 16 + 2 * (k - 4) };
                for t in 0..N {
                    let pair = _mm256_set1_epi32(a[t].add(at).cast::<i32>().read_unaligned());
                    acc[t] = std::array::from_fn(|i| dot::<VNNI>(acc[t][i], weights[i], pair));
                }
            }
        }
    }
}

/// Adds to each 32-bit lane the products of two 16-bit pairs.
#[inline(always)]
unsafe fn dot<const VNNI: bool>(acc: __m256i, w: __m256i, a: __m256i) -> __m256i {
    unsafe {
        if VNNI {
            return _mm256_dpwssd_avx_epi32(acc, w, a);
        }
        _mm256_add_epi32(acc, _mm256_madd_epi16(w, a))
    }
}

#[inline(always)]
unsafe fn split_nibbles(p: *const u8) -> __m256i {
    unsafe {
        let v = _mm_loadu_si128(p.cast());
        let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(v), _mm_srli_epi16::<4>(v));
        _mm256_and_si256(both, _mm256_set1_epi8(15))
    }
}
