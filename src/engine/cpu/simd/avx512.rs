//! [`Simd`] with AVX-512 (F, BW, VL) and VNNI: one register for sixteen lanes.

use super::{LANES, Simd};
use std::arch::x86_64::*;

/// The features that [`Avx512`] needs.
pub(crate) fn detected() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("fma")
}

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

type F = __m512;
type I = __m512i;
type B = __m512i;
/// 16-bit, as the halves of 128-bit lanes: values 0-7 and 16-23 of both blocks, then the others.
type A = [__m512i; 2];

impl Simd for Avx512 {
    type F = F;
    type I = I;
    type B = B;
    type A = A;

    const TILE: usize = 12;
    // Weights are widened into the upper halves of 16 bits.
    const WIDE_SCALE: f32 = 1.0 / 256.0;
    const GROUP_BYTES: usize = 512;

    #[inline(always)]
    unsafe fn splat(x: f32) -> F {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> F {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> F {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> F {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: F) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: F) {
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)) }
    }
    #[inline(always)]
    unsafe fn add(a: F, b: F) -> F {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: F, b: F) -> F {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: F, b: F) -> F {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: F, b: F) -> F {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: F, b: F) -> F {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: F, b: F) -> F {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: F, b: F, c: F) -> F {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn sum(v: F) -> f32 {
        unsafe { _mm512_reduce_add_ps(v) }
    }
    #[inline(always)]
    unsafe fn greatest(v: F) -> f32 {
        unsafe { _mm512_reduce_max_ps(v) }
    }
    #[inline(always)]
    unsafe fn sum4(v: [F; 4]) -> [f32; 4] {
        unsafe {
            // Two transposing additions leave the four sums side by side in each 128-bit lane.
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
            let low = _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd);
            let high = _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd);
            let lanes = _mm512_add_ps(low, high);
            let half = _mm256_add_ps(
                _mm512_castps512_ps256(lanes),
                _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(lanes))),
            );
            let sums = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
            std::mem::transmute::<__m128, [f32; 4]>(sums)
        }
    }
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> F {
        unsafe {
            let two = _mm512_castpd_ps(_mm512_set1_pd(p.cast::<f64>().read_unaligned()));
            let index = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
            _mm512_permutexvar_ps(index, two)
        }
    }
    #[inline(always)]
    unsafe fn pair_f16(p0: *const u16, p1: *const u16) -> F {
        unsafe {
            let both = u32::from(p0.read_unaligned()) | u32::from(p1.read_unaligned()) << 16;
            let two = _mm_cvtph_ps(_mm_cvtsi32_si128(both as i32));
            let index = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
            _mm512_permutexvar_ps(index, _mm512_castps128_ps512(two))
        }
    }
    #[inline(always)]
    unsafe fn quad(p: *const f32) -> F {
        unsafe {
            let index = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
            _mm512_permutexvar_ps(index, _mm512_castps128_ps512(_mm_loadu_ps(p)))
        }
    }
    #[inline(always)]
    unsafe fn round(v: F) -> I {
        unsafe { _mm512_cvtps_epi32(v) }
    }
    #[inline(always)]
    unsafe fn exp2(v: I) -> F {
        unsafe {
            let exponent = _mm512_add_epi32(v, _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }
    #[inline(always)]
    unsafe fn splat_i(x: i32) -> I {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn to_f32(v: I) -> F {
        unsafe { _mm512_cvtepi32_ps(v) }
    }
    #[inline(always)]
    unsafe fn negated_shift<const BITS: u32>(v: I) -> I {
        unsafe { _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32::<BITS>(v)) }
    }
    #[inline(always)]
    unsafe fn sum_i(v: I) -> i32 {
        unsafe { _mm512_reduce_add_epi32(v) }
    }
    #[inline(always)]
    unsafe fn bytes(p: *const u8) -> B {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn halves(p0: *const u8, p1: *const u8) -> B {
        unsafe {
            let low = _mm512_castsi256_si512(_mm256_loadu_si256(p0.cast()));
            _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(p1.cast()))
        }
    }
    #[inline(always)]
    unsafe fn half(p: *const u8) -> B {
        unsafe { _mm512_zextsi256_si512(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn nibbles_of_two(p0: *const u8, p1: *const u8) -> B {
        unsafe {
            let both = _mm512_broadcast_i32x4(_mm_loadu_si128(p0.cast()));
            let both = _mm512_mask_broadcast_i32x4(both, 0xff00, _mm_loadu_si128(p1.cast()));
            split_nibbles(both)
        }
    }
    #[inline(always)]
    unsafe fn nibbles_of_one(p: *const u8) -> B {
        unsafe { split_nibbles(_mm512_maskz_broadcast_i32x4(0x00ff, _mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn nibbles_of_half(p: *const u8) -> B {
        unsafe {
            let both = _mm512_broadcast_i64x4(_mm256_loadu_si256(p.cast()));
            let shift = _mm512_set_epi64(4, 4, 4, 4, 0, 0, 0, 0);
            _mm512_and_si512(_mm512_srlv_epi64(both, shift), _mm512_set1_epi8(15))
        }
    }
    #[inline(always)]
    unsafe fn splat_b(x: u8) -> B {
        unsafe { _mm512_set1_epi8(x as i8) }
    }
    #[inline(always)]
    unsafe fn and(a: B, b: B) -> B {
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn or(a: B, b: B) -> B {
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn shr<const BITS: u32>(v: B) -> B {
        unsafe { _mm512_srli_epi16::<BITS>(v) }
    }
    #[inline(always)]
    unsafe fn shl<const BITS: u32>(v: B) -> B {
        unsafe { _mm512_slli_epi16::<BITS>(v) }
    }
    #[inline(always)]
    unsafe fn store_activations(p: *mut i16, low: I, high: I) {
        unsafe {
            // 16-bit values 0-7, 8-15, 16-23, 24-31 in lanes; the two in the middle change places.
            let narrow = _mm512_inserti64x4::<1>(
                _mm512_castsi256_si512(_mm512_cvtepi32_epi16(low)),
                _mm512_cvtepi32_epi16(high),
            );
            _mm512_storeu_si512(p.cast(), _mm512_shuffle_i64x2::<0b11_01_10_00>(narrow, narrow));
        }
    }
    #[inline(always)]
    unsafe fn activations(p: *const i16) -> A {
        unsafe {
            let quarter = |i: usize| _mm256_loadu_si256(p.add(16 * i).cast());
            let join = |a, b| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b);
            [join(quarter(0), quarter(2)), join(quarter(1), quarter(3))]
        }
    }
    #[inline(always)]
    unsafe fn half_activations(p: *const i16) -> A {
        unsafe { [p, p.add(16)].map(|p| _mm512_zextsi256_si512(_mm256_loadu_si256(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn lane_sums(a: A) -> I {
        unsafe {
            let ones = _mm512_set1_epi16(1);
            _mm512_dpwssd_epi32(_mm512_madd_epi16(a[0], ones), a[1], ones)
        }
    }
    #[inline(always)]
    unsafe fn dot_u7(acc: I, w: B, a: A) -> I {
        unsafe {
            let zero = _mm512_setzero_si512();
            let sum = _mm512_dpwssd_epi32(acc, _mm512_unpacklo_epi8(w, zero), a[0]);
            _mm512_dpwssd_epi32(sum, _mm512_unpackhi_epi8(w, zero), a[1])
        }
    }
    #[inline(always)]
    unsafe fn dot_i8(acc: I, w: B, a: A) -> I {
        unsafe {
            let zero = _mm512_setzero_si512();
            let sum = _mm512_dpwssd_epi32(acc, _mm512_unpacklo_epi8(zero, w), a[0]);
            _mm512_dpwssd_epi32(sum, _mm512_unpackhi_epi8(zero, w), a[1])
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
                let weights = _mm512_loadu_si512(group.add(64 * k).cast());
                // Where the values 16 half + 2 k and the next stand in the block.
                let at = 8 * half + if k < 4 { 2 * k } else { 16 + 2 * (k - 4) };
                for t in 0..N {
                    let pair = a[t].add(at).cast::<i32>().read_unaligned();
                    acc[t] = _mm512_dpwssd_epi32(acc[t], weights, _mm512_set1_epi32(pair));
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> F {
        unsafe { _mm512_maskz_loadu_ps(mask(n), p) }
    }
    #[inline(always)]
    unsafe fn load_f16_n(p: *const u16, n: usize) -> F {
        unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(n), p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: F, n: usize) {
        unsafe { _mm512_mask_storeu_ps(p, mask(n), v) }
    }
    #[inline(always)]
    unsafe fn store_f16_n(p: *mut u16, v: F, n: usize) {
        unsafe {
            let half = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v);
            _mm256_mask_storeu_epi16(p.cast(), mask(n), half);
        }
    }
}

/// The first `n` of sixteen lanes.
#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    debug_assert!((1..=LANES).contains(&n));
    u16::MAX >> (LANES - n)
}

/// 128-bit lanes a a b b to lower nibbles of a, upper of a, lower of b, upper of b.
#[inline(always)]
unsafe fn split_nibbles(lanes: __m512i) -> __m512i {
    unsafe {
        let shift = _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0);
        _mm512_and_si512(_mm512_srlv_epi64(lanes, shift), _mm512_set1_epi8(15))
    }
}
