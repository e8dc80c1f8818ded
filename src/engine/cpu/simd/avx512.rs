//! [`Simd`] with AVX-512 (F, BW, VL) and VNNI: one register for sixteen lanes.

use super::avx2::{look_up, six_bit_bytes, widened_pairs, zero_extended_pairs};
use super::{LANES, Products, Simd};
use std::arch::asm;
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

/// `INT8`: whether activations are bytes, for [`Avx512Int8`].
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const INT8: bool = false>;

/// For activations in 8 bits: they are multiplied with unsigned bytes, 64 at a time, which makes
/// weights that are signed 128 larger.
pub(crate) type Avx512Int8 = Avx512<true>;

type F = __m512;
type I = __m512i;
/// 16-bit: the first 16 weights of both blocks, then the others.
type W = [__m512i; 2];
/// The same for activations.
type A = [__m512i; 2];

impl<const INT8: bool> Simd for Avx512<INT8> {
    type F = F;
    type I = I;

    const REGISTERS: usize = 32;

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
    unsafe fn load_i8(p: *const i8) -> F {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn nibbles(p: *const u8) -> [F; 2] {
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
            let low = _mm512_and_si512(bytes, _mm512_set1_epi32(15));
            [_mm512_cvtepi32_ps(low), _mm512_cvtepi32_ps(_mm512_srli_epi32::<4>(bytes))]
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
    unsafe fn to_f32(v: I) -> F {
        unsafe { _mm512_cvtepi32_ps(v) }
    }
    #[inline(always)]
    unsafe fn sum_i(v: I) -> i32 {
        unsafe { _mm512_reduce_add_epi32(v) }
    }
    #[inline(always)]
    unsafe fn store_activations(p: *mut i16, low: I, high: I) {
        unsafe {
            if INT8 {
                let bytes = pair_of(_mm512_cvtepi32_epi8(low), _mm512_cvtepi32_epi8(high));
                return _mm256_storeu_si256(p.cast(), bytes);
            }
            _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(low));
            _mm256_storeu_si256(p.add(16).cast(), _mm512_cvtepi32_epi16(high));
        }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
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
    #[inline(always)]
    unsafe fn f16x4(p: [*const u16; 4]) -> [f32; 4] {
        unsafe {
            let bits = |i: usize| u64::from(p[i].read_unaligned()) << (16 * i);
            let four = _mm_cvtsi64_si128((bits(0) | bits(1) | bits(2) | bits(3)) as i64);
            std::mem::transmute::<__m128, [f32; 4]>(_mm_cvtph_ps(four))
        }
    }
    #[inline(always)]
    unsafe fn look_up(table: &[i8; 16], p: *const u8) -> [i8; 32] {
        unsafe { look_up(table, p) }
    }
}

impl Products for Avx512<false> {
    type W = W;
    type A = A;

    const TILE: usize = 8;
    const GROUP_BYTES: usize = 512;
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> F {
        unsafe {
            let two = _mm512_castpd_ps(_mm512_set1_pd(p.cast::<f64>().read_unaligned()));
            let index = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
            _mm512_permutexvar_ps(index, two)
        }
    }
    #[inline(always)]
    unsafe fn splat_i(x: i32) -> I {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn negated_shift<const BITS: u32>(v: I) -> I {
        unsafe { _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32::<BITS>(v)) }
    }
    #[inline(always)]
    unsafe fn halves(p0: *const i8, p1: *const i8) -> W {
        unsafe {
            let first = join(_mm_loadu_si128(p0.cast()), p1.cast());
            let second = join(_mm_loadu_si128(p0.add(16).cast()), p1.add(16).cast());
            [_mm512_cvtepi8_epi16(first), _mm512_cvtepi8_epi16(second)]
        }
    }
    #[inline(always)]
    unsafe fn half(p: *const i8) -> W {
        unsafe {
            two!(|p| _mm512_cvtepi8_epi16(_mm256_zextsi128_si256(_mm_loadu_si128(p.cast()))); p, p.add(16))
        }
    }
    #[inline(always)]
    unsafe fn nibbles_of_two(p0: *const u8, p1: *const u8) -> W {
        unsafe { split_nibbles(join(_mm_loadu_si128(p0.cast()), p1.cast())) }
    }
    #[inline(always)]
    unsafe fn nibbles_of_one(p: *const u8) -> W {
        unsafe { split_nibbles(_mm256_zextsi128_si256(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn nibbles_of_half(p: *const u8) -> W {
        unsafe {
            // Each 16 bytes twice: unshifted for the first block, shifted for the second.
            two!(|p| {
                let v = _mm_loadu_si128(p.cast());
                let both = pair_of(v, _mm_srli_epi16::<4>(v));
                _mm512_cvtepu8_epi16(_mm256_and_si256(both, _mm256_set1_epi8(15)))
            }; p, p.add(16))
        }
    }
    #[inline(always)]
    unsafe fn five_bits_of_half(low: *const u8, high: *const u8, j: usize) -> W {
        unsafe {
            let counts = [_mm_cvtsi32_si128(2 * j as i32), _mm_cvtsi32_si128(2 * j as i32 + 1)];
            two!(|i| {
                let four = _mm_loadu_si128(low.add(i).cast());
                let four = pair_of(four, _mm_srli_epi16::<4>(four));
                let high = _mm_loadu_si128(high.add(i).cast());
                let fifth =
                    pair_of(_mm_srl_epi16(high, counts[0]), _mm_srl_epi16(high, counts[1]));
                let fifth = _mm256_slli_epi16::<4>(_mm256_and_si256(fifth, _mm256_set1_epi8(1)));
                let four = _mm256_and_si256(four, _mm256_set1_epi8(15));
                _mm512_cvtepu8_epi16(_mm256_or_si256(four, fifth))
            }; 0, 16)
        }
    }
    #[inline(always)]
    unsafe fn with_fifth_bits(w: W, bits: [u32; 2]) -> W {
        unsafe {
            let first = bits[0] & 0xffff | bits[1] << 16;
            let second = bits[0] >> 16 | bits[1] & 0xffff_0000;
            let sixteen = _mm512_set1_epi16(16);
            [
                _mm512_mask_add_epi16(w[0], first, w[0], sixteen),
                _mm512_mask_add_epi16(w[1], second, w[1], sixteen),
            ]
        }
    }
    #[inline(always)]
    unsafe fn six_bits(low: *const u8, high: *const u8) -> [W; 2] {
        unsafe {
            let [first, second] = two!(|i| {
                let low = join(_mm_loadu_si128(low.add(i).cast()), low.add(32 + i));
                let high = join(_mm_loadu_si128(high.add(i).cast()), high.add(i));
                six_bits_of(_mm512_cvtepu8_epi16(low), _mm512_cvtepu8_epi16(high))
            }; 0, 16);
            [[first[0], second[0]], [first[1], second[1]]]
        }
    }
    #[inline(always)]
    unsafe fn six_bit_scales(p: *const u8) -> F {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(six_bit_bytes(p))) }
    }
    #[inline(always)]
    unsafe fn activations(p: *const i16) -> A {
        unsafe {
            two!(|p| {
                let first = _mm512_castsi256_si512(_mm256_loadu_si256(p.cast()));
                _mm512_inserti64x4::<1>(first, _mm256_loadu_si256(p.add(32).cast()))
            }; p, p.add(16))
        }
    }
    #[inline(always)]
    unsafe fn half_activations(p: *const i16) -> A {
        unsafe { two!(|p| _mm512_zextsi256_si512(_mm256_loadu_si256(p.cast())); p, p.add(16)) }
    }
    #[inline(always)]
    unsafe fn lane_sums(a: A) -> I {
        unsafe {
            let ones = _mm512_set1_epi16(1);
            dpwssd(_mm512_madd_epi16(a[0], ones), a[1], ones)
        }
    }
    #[inline(always)]
    unsafe fn dot(acc: I, w: W, a: A) -> I {
        unsafe { dpwssd(dpwssd(acc, w[0], a[0]), w[1], a[1]) }
    }
    #[inline(always)]
    unsafe fn dot_scaled(w: W, scales: *const i16, a: A) -> I {
        unsafe {
            let four = _mm512_set1_epi64(scales.cast::<i64>().read_unaligned());
            let first = scaled(w[0], four, 0x0100_0100_0100_0100, 0x0504_0504_0504_0504);
            let second = scaled(w[1], four, 0x0302_0302_0302_0302, 0x0706_0706_0706_0706);
            dpwssd(dpwssd(_mm512_setzero_si512(), first, a[0]), second, a[1])
        }
    }
    #[inline(always)]
    unsafe fn pack<const SIGNED: bool>(rows: [*const u8; LANES], group: *mut u8) {
        unsafe {
            let orders = widened_pairs().map(|order| _mm512_broadcast_i32x4(order));
            for (k, four) in fours(rows).into_iter().enumerate() {
                for (i, order) in orders.into_iter().enumerate() {
                    let pair = _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(four, order));
                    _mm512_storeu_si512(group.add(128 * k + 64 * i).cast(), pair);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn pack_nibbles(rows: [*const u8; LANES], groups: [*mut u8; 2]) {
        unsafe {
            let orders = zero_extended_pairs().map(|order| _mm512_broadcast_i32x4(order));
            for (k, four) in fours(rows).into_iter().enumerate() {
                for (i, order) in orders.into_iter().enumerate() {
                    let pair = _mm512_shuffle_epi8(four, order);
                    let low = _mm512_and_si512(pair, _mm512_set1_epi16(15));
                    let high = _mm512_srli_epi16::<4>(pair);
                    _mm512_storeu_si512(groups[0].add(128 * k + 64 * i).cast(), low);
                    _mm512_storeu_si512(groups[1].add(128 * k + 64 * i).cast(), high);
                }
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
                for t in 0..N {
                    let pair = a[t].add(16 * half + 2 * k).cast::<i32>().read_unaligned();
                    acc[t] = dpwssd(acc[t], weights, _mm512_set1_epi32(pair));
                }
            }
        }
    }
}

impl Products for Avx512<true> {
    /// Unsigned: 32 bytes of each block.
    type W = __m512i;
    type A = __m512i;

    const TILE: usize = 8;
    const GROUP_BYTES: usize = 256;
    const BIAS: i32 = 128;
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> F {
        unsafe { Avx512::<false>::pair(p) }
    }
    #[inline(always)]
    unsafe fn splat_i(x: i32) -> I {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn negated_shift<const BITS: u32>(v: I) -> I {
        unsafe { Avx512::<false>::negated_shift::<BITS>(v) }
    }
    #[inline(always)]
    unsafe fn halves(p0: *const i8, p1: *const i8) -> __m512i {
        unsafe { biased(blocks(p0.cast(), p1.cast())) }
    }
    #[inline(always)]
    unsafe fn half(p: *const i8) -> __m512i {
        unsafe { biased(_mm512_zextsi256_si512(_mm256_loadu_si256(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn nibbles_of_two(p0: *const u8, p1: *const u8) -> __m512i {
        unsafe {
            // Each 16 bytes twice: unshifted, then shifted.
            let first = _mm512_broadcast_i32x4(_mm_loadu_si128(p0.cast()));
            let second = _mm512_broadcast_i32x4(_mm_loadu_si128(p1.cast()));
            let both = _mm512_mask_blend_epi64(0xf0, first, second);
            lower_nibbles(_mm512_srlv_epi64(both, _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0)))
        }
    }
    #[inline(always)]
    unsafe fn nibbles_of_one(p: *const u8) -> __m512i {
        unsafe {
            let twice = _mm256_broadcastsi128_si256(_mm_loadu_si128(p.cast()));
            let shifts = _mm512_set_epi64(0, 0, 0, 0, 4, 4, 0, 0);
            lower_nibbles(_mm512_srlv_epi64(_mm512_zextsi256_si512(twice), shifts))
        }
    }
    #[inline(always)]
    unsafe fn nibbles_of_half(p: *const u8) -> __m512i {
        unsafe { lower_nibbles(twice_shifted(p, 0, 4)) }
    }
    #[inline(always)]
    unsafe fn five_bits_of_half(low: *const u8, high: *const u8, j: usize) -> __m512i {
        unsafe {
            let fifth = twice_shifted(high, 2 * j as i64, 2 * j as i64 + 1);
            let fifth = _mm512_slli_epi16::<4>(_mm512_and_si512(fifth, _mm512_set1_epi8(1)));
            _mm512_or_si512(Self::nibbles_of_half(low), fifth)
        }
    }
    #[inline(always)]
    unsafe fn with_fifth_bits(w: __m512i, bits: [u32; 2]) -> __m512i {
        unsafe {
            let mask = u64::from(bits[0]) | u64::from(bits[1]) << 32;
            _mm512_mask_add_epi8(w, mask, w, _mm512_set1_epi8(16))
        }
    }
    /// 0..=63
    #[inline(always)]
    unsafe fn six_bits(low: *const u8, high: *const u8) -> [__m512i; 2] {
        unsafe {
            let low = _mm512_loadu_si512(low.cast());
            let two_bits = _mm512_set1_epi8(0x30);
            // Bits 0-1 and 2-3 belong to the first 64 values, 4-5 and 6-7 to the others.
            let upper = twice_shifted(high, 0, 2);
            let first = _mm512_and_si512(_mm512_slli_epi16::<4>(upper), two_bits);
            let second = _mm512_and_si512(upper, two_bits);
            [
                _mm512_or_si512(lower_nibbles(low), first),
                _mm512_or_si512(lower_nibbles(_mm512_srli_epi16::<4>(low)), second),
            ]
        }
    }
    #[inline(always)]
    unsafe fn six_bit_scales(p: *const u8) -> F {
        unsafe { Avx512::<false>::six_bit_scales(p) }
    }
    #[inline(always)]
    unsafe fn activations(p: *const i16) -> __m512i {
        unsafe { blocks(p.cast(), p.add(32).cast()) }
    }
    #[inline(always)]
    unsafe fn half_activations(p: *const i16) -> __m512i {
        unsafe { _mm512_zextsi256_si512(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn lane_sums(a: __m512i) -> I {
        unsafe { dpbusd(_mm512_setzero_si512(), _mm512_set1_epi8(1), a) }
    }
    #[inline(always)]
    unsafe fn dot(acc: I, w: __m512i, a: __m512i) -> I {
        unsafe { dpbusd(acc, w, a) }
    }
    #[inline(always)]
    unsafe fn dot_scaled(w: __m512i, scales: *const i16, a: __m512i) -> I {
        unsafe {
            // 32 less than what `six_bits` returns.
            let excess = Self::negated_shift::<5>(Self::lane_sums(a));
            let four = _mm_loadl_epi64(scales.cast());
            let lanes = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
            let four = _mm512_castsi128_si512(_mm_cvtepi16_epi32(four));
            _mm512_mullo_epi32(dpbusd(excess, w, a), _mm512_permutexvar_epi32(lanes, four))
        }
    }
    #[inline(always)]
    unsafe fn pack<const SIGNED: bool>(rows: [*const u8; LANES], group: *mut u8) {
        unsafe {
            for (k, four) in fours(rows).into_iter().enumerate() {
                let four = if SIGNED { biased(four) } else { four };
                _mm512_storeu_si512(group.add(64 * k).cast(), four);
            }
        }
    }
    #[inline(always)]
    unsafe fn pack_nibbles(rows: [*const u8; LANES], groups: [*mut u8; 2]) {
        unsafe {
            for (k, four) in fours(rows).into_iter().enumerate() {
                let high = lower_nibbles(_mm512_srli_epi16::<4>(four));
                _mm512_storeu_si512(groups[0].add(64 * k).cast(), lower_nibbles(four));
                _mm512_storeu_si512(groups[1].add(64 * k).cast(), high);
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
        for k in 0..4 {
            unsafe {
                let weights = _mm512_loadu_si512(group.add(64 * k).cast());
                for t in 0..N {
                    let four = a[t].cast::<i8>().add(16 * half + 4 * k).cast::<i32>();
                    let four = _mm512_set1_epi32(four.read_unaligned());
                    acc[t] = dpbusd(acc[t], weights, four);
                }
            }
        }
    }
}

/// 32 bytes from `p0`, 32 from `p1`.
#[inline(always)]
unsafe fn blocks(p0: *const u8, p1: *const u8) -> __m512i {
    unsafe {
        let first = _mm512_castsi256_si512(_mm256_loadu_si256(p0.cast()));
        _mm512_inserti64x4::<1>(first, _mm256_loadu_si256(p1.cast()))
    }
}

/// 32 bytes shifted right by `first` as 64-bit numbers, then the same shifted by `second`.
#[inline(always)]
unsafe fn twice_shifted(p: *const u8, first: i64, second: i64) -> __m512i {
    unsafe {
        let twice = _mm512_broadcast_i64x4(_mm256_loadu_si256(p.cast()));
        let shifts = _mm512_set_epi64(second, second, second, second, first, first, first, first);
        _mm512_srlv_epi64(twice, shifts)
    }
}

#[inline(always)]
unsafe fn lower_nibbles(bytes: __m512i) -> __m512i {
    unsafe { _mm512_and_si512(bytes, _mm512_set1_epi8(15)) }
}

/// Signed bytes plus 128.
#[inline(always)]
unsafe fn biased(bytes: __m512i) -> __m512i {
    unsafe { _mm512_xor_si512(bytes, _mm512_set1_epi8(-128)) }
}

/// Of 16 bytes of each row the first four of all rows, then the second, third and last four.
#[inline(always)]
pub(crate) unsafe fn fours(rows: [*const u8; LANES]) -> [__m512i; 4] {
    unsafe {
        // Rows r, r + 4, r + 8 and r + 12.
        let quad = |r: usize| {
            let row = |i: usize| _mm_loadu_si128(rows[r + i].cast());
            let v = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(row(0)), row(4));
            _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(v, row(8)), row(12))
        };
        let quads = [quad(0), quad(1), quad(2), quad(3)];
        let [a, b] =
            [_mm512_unpacklo_epi32(quads[0], quads[1]), _mm512_unpacklo_epi32(quads[2], quads[3])];
        let [c, d] =
            [_mm512_unpackhi_epi32(quads[0], quads[1]), _mm512_unpackhi_epi32(quads[2], quads[3])];
        [
            _mm512_unpacklo_epi64(a, b),
            _mm512_unpackhi_epi64(a, b),
            _mm512_unpacklo_epi64(c, d),
            _mm512_unpackhi_epi64(c, d),
        ]
    }
}

/// The first `n` of sixteen lanes.
#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    debug_assert!((1..=LANES).contains(&n));
    u16::MAX >> (LANES - n)
}

/// 16 bytes, then 16 from `p`.
#[inline(always)]
unsafe fn join(first: __m128i, p: *const u8) -> __m256i {
    unsafe { pair_of(first, _mm_loadu_si128(p.cast())) }
}

/// 16 bytes, then 16 others.
#[inline(always)]
unsafe fn pair_of(first: __m128i, second: __m128i) -> __m256i {
    unsafe { _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(first), second) }
}

/// The lower nibbles of 32 bytes, 16 bits each, then the upper ones.
#[inline(always)]
unsafe fn split_nibbles(bytes: __m256i) -> W {
    unsafe {
        let wide = _mm512_cvtepu8_epi16(bytes);
        [_mm512_and_si512(wide, _mm512_set1_epi16(15)), _mm512_srli_epi16::<4>(wide)]
    }
}

/// From 16-bit groups with 8 lower and 8 upper bits of Q6_K: weights of the block's first 64 values,
/// then of the others. The upper half of the registers is the second block of each.
#[inline(always)]
unsafe fn six_bits_of(low: __m512i, high: __m512i) -> W {
    unsafe {
        let (nibble, two_bits) = (_mm512_set1_epi16(15), _mm512_set1_epi16(0x30));
        let second_block = _mm512_set_epi64(2, 2, 2, 2, 0, 0, 0, 0);
        let high = _mm512_srlv_epi64(high, second_block);
        let first = _mm512_or_si512(
            _mm512_and_si512(low, nibble),
            _mm512_and_si512(_mm512_slli_epi16::<4>(high), two_bits),
        );
        let second = _mm512_or_si512(_mm512_srli_epi16::<4>(low), _mm512_and_si512(high, two_bits));
        two!(|q| _mm512_sub_epi16(q, _mm512_set1_epi16(32)); first, second)
    }
}

/// Weights times the 16-bit number of `four` that the bytes `a` pick for the first block, `b` for
/// the second.
#[inline(always)]
unsafe fn scaled(w: __m512i, four: __m512i, a: i64, b: i64) -> __m512i {
    unsafe {
        let pick = _mm512_set_epi64(b, b, b, b, a, a, a, a);
        _mm512_mullo_epi16(w, _mm512_shuffle_epi8(four, pick))
    }
}

/// Instructions of VNNI as inline assembly: LLVM splits the intrinsics of the same names into two
/// instructions, which halves the speed of matrix products.
macro_rules! vnni {
    ($($(#[$doc:meta])* $name:ident = $instruction:literal;)+) => {$(
        $(#[$doc])*
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn $name(mut acc: __m512i, w: __m512i, a: __m512i) -> __m512i {
            // SAFETY: registers only; the instruction was detected with the others.
            unsafe {
                asm!(
                    concat!($instruction, " {acc}, {w}, {a}"),
                    acc = inout(zmm_reg) acc,
                    w = in(zmm_reg) w,
                    a = in(zmm_reg) a,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
            acc
        }
    )+};
}
vnni! {
    /// Adds to each 32-bit lane the products of two 16-bit pairs.
    dpwssd = "vpdpwssd";
    /// Adds to each 32-bit lane the products of four unsigned bytes of `w` with signed ones of `a`.
    dpbusd = "vpdpbusd";
}
