//! [`Simd`] with AVX2, FMA and F16C, two registers for sixteen lanes; with or without AVX-VNNI.

use super::{LANES, Products, Simd};
use std::arch::x86_64::*;

/// The features that [`Avx2`] needs.
pub(crate) fn detected() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// What [`Avx2`] with VNNI needs in addition.
pub(crate) fn vnni_detected() -> bool {
    detected() && is_x86_feature_detected!("avxvnni")
}

/// `VNNI`: whether products may use the AVX-VNNI instructions. `INT8`: whether activations are bytes,
/// for [`Avx2Int8`].
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool, const INT8: bool = false>;

/// For activations in 8 bits: they are multiplied with unsigned bytes, which makes weights that are
/// signed 128 larger. Without VNNI sums of such products would not fit their 16 bits.
pub(crate) type Avx2Int8 = Avx2<true, true>;

type F = [__m256; 2];
type I = [__m256i; 2];
/// 16-bit: the first 16 weights of both blocks, then the others.
type W = [[__m256i; 2]; 2];
/// The same for activations.
type A = [[__m256i; 2]; 2];

macro_rules! lanewise {
    ($($name:ident($($arg:ident),+): $kind:ty = $op:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $kind),+) -> $kind {
            unsafe { [$op($($arg[0]),+), $op($($arg[1]),+)] }
        }
    )+};
}

impl<const VNNI: bool, const INT8: bool> Simd for Avx2<VNNI, INT8> {
    type F = F;
    type I = I;

    const REGISTERS: usize = 8;

    lanewise! {
        add(a, b): F = _mm256_add_ps;
        sub(a, b): F = _mm256_sub_ps;
        mul(a, b): F = _mm256_mul_ps;
        div(a, b): F = _mm256_div_ps;
        max(a, b): F = _mm256_max_ps;
        min(a, b): F = _mm256_min_ps;
        fma(a, b, c): F = _mm256_fmadd_ps;
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
        unsafe { two!(|p| _mm256_cvtph_ps(_mm_loadu_si128(p.cast())); p, p.add(8)) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> F {
        unsafe {
            two!(|p| {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            }; p, p.add(8))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> F {
        unsafe {
            two!(|p| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast())));
                p, p.add(8))
        }
    }
    #[inline(always)]
    unsafe fn nibbles(p: *const u8) -> [F; 2] {
        unsafe {
            let bytes = two!(|p| _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast())); p, p.add(8));
            let fifteen = _mm256_set1_epi32(15);
            [
                two!(|x| _mm256_cvtepi32_ps(_mm256_and_si256(x, fifteen)); bytes[0], bytes[1]),
                two!(|x| _mm256_cvtepi32_ps(_mm256_srli_epi32::<4>(x)); bytes[0], bytes[1]),
            ]
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
            let [a, b] = two!(|x| _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x); v[0], v[1]);
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
            let [a, b] = two!(|x| _mm256_add_ps(x[0], x[1]); v[0], v[1]);
            let [c, d] = two!(|x| _mm256_add_ps(x[0], x[1]); v[2], v[3]);
            let lanes = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            let sums = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
            std::mem::transmute::<__m128, [f32; 4]>(sums)
        }
    }
    #[inline(always)]
    unsafe fn round(v: F) -> I {
        unsafe { two!(|x| _mm256_cvtps_epi32(x); v[0], v[1]) }
    }
    #[inline(always)]
    unsafe fn exp2(v: I) -> F {
        unsafe {
            two!(|x| {
                let exponent = _mm256_add_epi32(x, _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            }; v[0], v[1])
        }
    }
    #[inline(always)]
    unsafe fn to_f32(v: I) -> F {
        unsafe { two!(|x| _mm256_cvtepi32_ps(x); v[0], v[1]) }
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
    unsafe fn store_activations(p: *mut i16, low: I, high: I) {
        unsafe {
            if INT8 {
                let low = _mm256_packs_epi32(low[0], low[1]);
                let high = _mm256_packs_epi32(high[0], high[1]);
                // Packing goes by halves of registers.
                let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
                let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
                return _mm256_storeu_si256(p.cast(), bytes);
            }
            for (i, v) in [low, high].into_iter().enumerate() {
                // Packing works within 128-bit lanes and leaves the middle two quarters swapped.
                let packed = _mm256_packs_epi32(v[0], v[1]);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                _mm256_storeu_si256(p.add(16 * i).cast(), ordered);
            }
        }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
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

impl<const VNNI: bool> Products for Avx2<VNNI, false> {
    type W = W;
    type A = A;

    const TILE: usize = 3;
    const GROUP_BYTES: usize = 512;
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> F {
        unsafe { [_mm256_set1_ps(p.read_unaligned()), _mm256_set1_ps(p.add(1).read_unaligned())] }
    }
    #[inline(always)]
    unsafe fn splat_i(x: i32) -> I {
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    unsafe fn negated_shift<const BITS: u32>(v: I) -> I {
        // The shift intrinsic wants a signed constant; a variable count costs the same.
        unsafe {
            let count = _mm_cvtsi32_si128(BITS as i32);
            two!(|x| _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_sll_epi32(x, count)); v[0], v[1])
        }
    }
    #[inline(always)]
    unsafe fn halves(p0: *const i8, p1: *const i8) -> W {
        unsafe { [[widened(p0), widened(p1)], [widened(p0.add(16)), widened(p1.add(16))]] }
    }
    #[inline(always)]
    unsafe fn half(p: *const i8) -> W {
        unsafe {
            let zero = _mm256_setzero_si256();
            [[widened(p), zero], [widened(p.add(16)), zero]]
        }
    }
    #[inline(always)]
    unsafe fn nibbles_of_two(p0: *const u8, p1: *const u8) -> W {
        unsafe {
            let ([a, b], [c, d]) = (split_nibbles(p0), split_nibbles(p1));
            [[a, c], [b, d]]
        }
    }
    #[inline(always)]
    unsafe fn nibbles_of_one(p: *const u8) -> W {
        unsafe {
            let ([a, b], zero) = (split_nibbles(p), _mm256_setzero_si256());
            [[a, zero], [b, zero]]
        }
    }
    #[inline(always)]
    unsafe fn nibbles_of_half(p: *const u8) -> W {
        unsafe { [split_nibbles(p), split_nibbles(p.add(16))] }
    }
    #[inline(always)]
    unsafe fn five_bits_of_half(low: *const u8, high: *const u8, j: usize) -> W {
        unsafe {
            let counts = [_mm_cvtsi32_si128(2 * j as i32), _mm_cvtsi32_si128(2 * j as i32 + 1)];
            two!(|i| {
                let four = split_nibbles(low.add(i));
                let high = _mm256_cvtepu8_epi16(_mm_loadu_si128(high.add(i).cast()));
                let high = _mm256_slli_epi16::<4>(high);
                two!(|block| {
                    let fifth = _mm256_srl_epi16(high, counts[block]);
                    _mm256_or_si256(four[block], _mm256_and_si256(fifth, _mm256_set1_epi16(16)))
                }; 0, 1)
            }; 0, 16)
        }
    }
    #[inline(always)]
    unsafe fn with_fifth_bits(w: W, bits: [u32; 2]) -> W {
        unsafe {
            let each = _mm256_setr_epi16(
                1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768,
            );
            two!(|i| two!(|block| {
                let mine = _mm256_set1_epi16((bits[block] >> (16 * i)) as i16);
                let set = _mm256_cmpeq_epi16(_mm256_and_si256(mine, each), each);
                _mm256_add_epi16(w[i][block], _mm256_and_si256(set, _mm256_set1_epi16(16)))
            }; 0, 1); 0, 1)
        }
    }
    #[inline(always)]
    unsafe fn six_bits(low: *const u8, high: *const u8) -> [W; 2] {
        unsafe {
            let ([a, b], [c, d]) =
                (six_bits_of::<0>(low, high), six_bits_of::<2>(low.add(32), high));
            let ([e, f], [g, h]) = (
                six_bits_of::<0>(low.add(16), high.add(16)),
                six_bits_of::<2>(low.add(48), high.add(16)),
            );
            [[[a, c], [e, g]], [[b, d], [f, h]]]
        }
    }
    #[inline(always)]
    unsafe fn six_bit_scales(p: *const u8) -> F {
        unsafe {
            let bytes = six_bit_bytes(p);
            let [low, high] = two!(|v| _mm256_cvtepu8_epi32(v); bytes, _mm_srli_si128::<8>(bytes));
            two!(|v| _mm256_cvtepi32_ps(v); low, high)
        }
    }
    #[inline(always)]
    unsafe fn activations(p: *const i16) -> A {
        unsafe { two!(|p| two!(|p| _mm256_loadu_si256(p.cast()); p, p.add(32)); p, p.add(16)) }
    }
    #[inline(always)]
    unsafe fn half_activations(p: *const i16) -> A {
        unsafe {
            let zero = _mm256_setzero_si256();
            two!(|p| [_mm256_loadu_si256(p.cast()), zero]; p, p.add(16))
        }
    }
    #[inline(always)]
    unsafe fn lane_sums(a: A) -> I {
        unsafe {
            let ones = _mm256_set1_epi16(1);
            two!(|block| {
                let first = _mm256_madd_epi16(a[0][block], ones);
                _mm256_add_epi32(first, _mm256_madd_epi16(a[1][block], ones))
            }; 0, 1)
        }
    }
    #[inline(always)]
    unsafe fn dot(acc: I, w: W, a: A) -> I {
        unsafe {
            two!(|block| {
                let first = dot::<VNNI>(acc[block], w[0][block], a[0][block]);
                dot::<VNNI>(first, w[1][block], a[1][block])
            }; 0, 1)
        }
    }
    #[inline(always)]
    unsafe fn dot_scaled(w: W, scales: *const i16, a: A) -> I {
        unsafe {
            let scales = scales.cast::<[i16; 4]>().read_unaligned();
            two!(|block| {
                let zero = _mm256_setzero_si256();
                let first = dot::<VNNI>(zero, scaled(w[0][block], scales[2 * block]), a[0][block]);
                dot::<VNNI>(first, scaled(w[1][block], scales[2 * block + 1]), a[1][block])
            }; 0, 1)
        }
    }
    #[inline(always)]
    unsafe fn pack<const SIGNED: bool>(rows: [*const u8; LANES], group: *mut u8) {
        for half in 0..2 {
            unsafe {
                let orders = widened_pairs().map(|order| _mm256_broadcastsi128_si256(order));
                for (k, four) in fours(&rows[8 * half..]).into_iter().enumerate() {
                    for (i, order) in orders.into_iter().enumerate() {
                        let pair = _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(four, order));
                        let to = group.add(128 * k + 64 * i + 32 * half);
                        _mm256_storeu_si256(to.cast(), pair);
                    }
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn pack_nibbles(rows: [*const u8; LANES], groups: [*mut u8; 2]) {
        for half in 0..2 {
            unsafe {
                let orders = zero_extended_pairs().map(|order| _mm256_broadcastsi128_si256(order));
                for (k, four) in fours(&rows[8 * half..]).into_iter().enumerate() {
                    for (i, order) in orders.into_iter().enumerate() {
                        let pair = _mm256_shuffle_epi8(four, order);
                        let low = _mm256_and_si256(pair, _mm256_set1_epi16(15));
                        let high = _mm256_srli_epi16::<4>(pair);
                        let at = 128 * k + 64 * i + 32 * half;
                        _mm256_storeu_si256(groups[0].add(at).cast(), low);
                        _mm256_storeu_si256(groups[1].add(at).cast(), high);
                    }
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
                let p = group.add(64 * k);
                let weights = two!(|p| _mm256_loadu_si256(p.cast()); p, p.add(32));
                for t in 0..N {
                    let pair = a[t].add(16 * half + 2 * k).cast::<i32>().read_unaligned();
                    let pair = _mm256_set1_epi32(pair);
                    acc[t] = two!(|i| dot::<VNNI>(acc[t][i], weights[i], pair); 0, 1);
                }
            }
        }
    }
}

impl Products for Avx2<true, true> {
    /// Unsigned: 32 bytes of each block.
    type W = [__m256i; 2];
    type A = [__m256i; 2];

    const TILE: usize = 3;
    const GROUP_BYTES: usize = 256;
    const BIAS: i32 = 128;
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> F {
        unsafe { Avx2::<true, false>::pair(p) }
    }
    #[inline(always)]
    unsafe fn splat_i(x: i32) -> I {
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    unsafe fn negated_shift<const BITS: u32>(v: I) -> I {
        unsafe { Avx2::<true, false>::negated_shift::<BITS>(v) }
    }
    #[inline(always)]
    unsafe fn halves(p0: *const i8, p1: *const i8) -> Self::W {
        unsafe { two!(|p| biased(_mm256_loadu_si256(p.cast())); p0, p1) }
    }
    #[inline(always)]
    unsafe fn half(p: *const i8) -> Self::W {
        unsafe { [biased(_mm256_loadu_si256(p.cast())), _mm256_setzero_si256()] }
    }
    #[inline(always)]
    unsafe fn nibbles_of_two(p0: *const u8, p1: *const u8) -> Self::W {
        unsafe { two!(|p| nibbles_of_block(p); p0, p1) }
    }
    #[inline(always)]
    unsafe fn nibbles_of_one(p: *const u8) -> Self::W {
        unsafe { [nibbles_of_block(p), _mm256_setzero_si256()] }
    }
    #[inline(always)]
    unsafe fn nibbles_of_half(p: *const u8) -> Self::W {
        unsafe {
            let bytes = _mm256_loadu_si256(p.cast());
            two!(|v| lower_nibbles(v); bytes, _mm256_srli_epi16::<4>(bytes))
        }
    }
    #[inline(always)]
    unsafe fn five_bits_of_half(low: *const u8, high: *const u8, j: usize) -> Self::W {
        unsafe {
            let counts = [_mm_cvtsi32_si128(2 * j as i32), _mm_cvtsi32_si128(2 * j as i32 + 1)];
            let four = Self::nibbles_of_half(low);
            let high = _mm256_loadu_si256(high.cast());
            two!(|block| {
                let bit = _mm256_srl_epi16(high, counts[block]);
                let bit = _mm256_and_si256(bit, _mm256_set1_epi8(1));
                _mm256_or_si256(four[block], _mm256_slli_epi16::<4>(bit))
            }; 0, 1)
        }
    }
    #[inline(always)]
    unsafe fn with_fifth_bits(w: Self::W, bits: [u32; 2]) -> Self::W {
        unsafe {
            let byte = _mm256_setr_epi64x(
                0,
                0x0101_0101_0101_0101,
                0x0202_0202_0202_0202,
                0x0303_0303_0303_0303,
            );
            let each = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            two!(|block| {
                let mine = _mm256_shuffle_epi8(_mm256_set1_epi32(bits[block] as i32), byte);
                let set = _mm256_cmpeq_epi8(_mm256_and_si256(mine, each), each);
                _mm256_or_si256(w[block], _mm256_and_si256(set, _mm256_set1_epi8(16)))
            }; 0, 1)
        }
    }
    /// 0..=63
    #[inline(always)]
    unsafe fn six_bits(low: *const u8, high: *const u8) -> [Self::W; 2] {
        unsafe {
            let low = two!(|p| _mm256_loadu_si256(p.cast()); low, low.add(32));
            let high = _mm256_loadu_si256(high.cast());
            let two_bits = _mm256_set1_epi8(0x30);
            // Bits 0-1 and 2-3 belong to the first 64 values, 4-5 and 6-7 to the others.
            let of_first = [_mm256_slli_epi16::<4>(high), _mm256_slli_epi16::<2>(high)];
            let of_second = [high, _mm256_srli_epi16::<2>(high)];
            [
                two!(|block| {
                    let upper = _mm256_and_si256(of_first[block], two_bits);
                    _mm256_or_si256(lower_nibbles(low[block]), upper)
                }; 0, 1),
                two!(|block| {
                    let upper = _mm256_and_si256(of_second[block], two_bits);
                    _mm256_or_si256(lower_nibbles(_mm256_srli_epi16::<4>(low[block])), upper)
                }; 0, 1),
            ]
        }
    }
    #[inline(always)]
    unsafe fn six_bit_scales(p: *const u8) -> F {
        unsafe { Avx2::<true, false>::six_bit_scales(p) }
    }
    #[inline(always)]
    unsafe fn activations(p: *const i16) -> Self::A {
        unsafe { two!(|p| _mm256_loadu_si256(p.cast()); p, p.add(32)) }
    }
    #[inline(always)]
    unsafe fn half_activations(p: *const i16) -> Self::A {
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_setzero_si256()] }
    }
    #[inline(always)]
    unsafe fn lane_sums(a: Self::A) -> I {
        unsafe { Self::dot(Self::splat_i(0), [_mm256_set1_epi8(1); 2], a) }
    }
    #[inline(always)]
    unsafe fn dot(acc: I, w: Self::W, a: Self::A) -> I {
        unsafe { two!(|b| _mm256_dpbusd_avx_epi32(acc[b], w[b], a[b]); 0, 1) }
    }
    #[inline(always)]
    unsafe fn dot_scaled(w: Self::W, scales: *const i16, a: Self::A) -> I {
        unsafe {
            // 32 less than what `six_bits` returns.
            let sums = Self::dot(Self::negated_shift::<5>(Self::lane_sums(a)), w, a);
            let scales = scales.cast::<[i16; 4]>().read_unaligned();
            two!(|block| {
                let first = _mm_set1_epi32(i32::from(scales[2 * block]));
                let second = _mm_set1_epi32(i32::from(scales[2 * block + 1]));
                _mm256_mullo_epi32(sums[block], _mm256_set_m128i(second, first))
            }; 0, 1)
        }
    }
    #[inline(always)]
    unsafe fn pack<const SIGNED: bool>(rows: [*const u8; LANES], group: *mut u8) {
        for half in 0..2 {
            unsafe {
                for (k, four) in fours(&rows[8 * half..]).into_iter().enumerate() {
                    let four = if SIGNED { biased(four) } else { four };
                    _mm256_storeu_si256(group.add(64 * k + 32 * half).cast(), four);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn pack_nibbles(rows: [*const u8; LANES], groups: [*mut u8; 2]) {
        for half in 0..2 {
            unsafe {
                for (k, four) in fours(&rows[8 * half..]).into_iter().enumerate() {
                    let high = lower_nibbles(_mm256_srli_epi16::<4>(four));
                    let at = 64 * k + 32 * half;
                    _mm256_storeu_si256(groups[0].add(at).cast(), lower_nibbles(four));
                    _mm256_storeu_si256(groups[1].add(at).cast(), high);
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
        for k in 0..4 {
            unsafe {
                let weights = two!(|p| _mm256_loadu_si256(p.cast()); group.add(64 * k), group.add(64 * k + 32));
                for t in 0..N {
                    let four = a[t].cast::<i8>().add(16 * half + 4 * k).cast::<i32>();
                    let four = _mm256_set1_epi32(four.read_unaligned());
                    acc[t] = Self::dot(acc[t], weights, [four; 2]);
                }
            }
        }
    }
}

/// The lower nibbles of 16 bytes, then the upper ones.
#[inline(always)]
unsafe fn nibbles_of_block(p: *const u8) -> __m256i {
    unsafe {
        let bytes = _mm_loadu_si128(p.cast());
        lower_nibbles(_mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes))
    }
}

#[inline(always)]
unsafe fn lower_nibbles(bytes: __m256i) -> __m256i {
    unsafe { _mm256_and_si256(bytes, _mm256_set1_epi8(15)) }
}

/// [`Simd::look_up`]
#[inline(always)]
pub(super) unsafe fn look_up(table: &[i8; 16], p: *const u8) -> [i8; 32] {
    unsafe {
        let table = _mm_loadu_si128(table.as_ptr().cast());
        let (bytes, four) = (_mm_loadu_si128(p.cast()), _mm_set1_epi8(15));
        let low = _mm_shuffle_epi8(table, _mm_and_si128(bytes, four));
        let high = _mm_and_si128(_mm_srli_epi16::<4>(bytes), four);
        std::mem::transmute([low, _mm_shuffle_epi8(table, high)])
    }
}

/// Signed bytes plus 128.
#[inline(always)]
unsafe fn biased(bytes: __m256i) -> __m256i {
    unsafe { _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)) }
}

/// Of 16 bytes of each of eight rows the first four of all rows, then the second, third and last four.
#[inline(always)]
unsafe fn fours(rows: &[*const u8]) -> [__m256i; 4] {
    unsafe {
        // Rows r and r + 4.
        let pair = |r: usize| {
            let v = _mm256_castsi128_si256(_mm_loadu_si128(rows[r].cast()));
            _mm256_inserti128_si256::<1>(v, _mm_loadu_si128(rows[r + 4].cast()))
        };
        let pairs = [pair(0), pair(1), pair(2), pair(3)];
        let [a, b] =
            [_mm256_unpacklo_epi32(pairs[0], pairs[1]), _mm256_unpacklo_epi32(pairs[2], pairs[3])];
        let [c, d] =
            [_mm256_unpackhi_epi32(pairs[0], pairs[1]), _mm256_unpackhi_epi32(pairs[2], pairs[3])];
        [
            _mm256_unpacklo_epi64(a, b),
            _mm256_unpackhi_epi64(a, b),
            _mm256_unpacklo_epi64(c, d),
            _mm256_unpackhi_epi64(c, d),
        ]
    }
}

/// [`Products::six_bit_scales`] as bytes. By way of a general register they would have to be stored
/// in parts and loaded in one, which waits for the stores.
#[inline(always)]
pub(super) unsafe fn six_bit_bytes(p: *const u8) -> __m128i {
    unsafe {
        let v = _mm_loadu_si128(p.cast());
        let lower = _mm_and_si128(v, _mm_set1_epi8(0x3f));
        // The last four bytes: their lower nibbles, their upper ones.
        let last = _mm_shuffle_epi32::<0b10_10_10_10>(v);
        let last = _mm_unpacklo_epi32(last, _mm_srli_epi32::<4>(last));
        let two = _mm_and_si128(_mm_srli_epi32::<2>(v), _mm_set1_epi8(0x30));
        let upper = _mm_or_si128(_mm_and_si128(last, _mm_set1_epi8(15)), two);
        _mm_unpacklo_epi32(lower, upper)
    }
}

/// For a shuffle that moves the first two of each four bytes to the lower halves of 16 bits, and one
/// for the other two.
#[inline(always)]
pub(super) fn zero_extended_pairs() -> [__m128i; 2] {
    // SAFETY: numbers to a register; every machine of this architecture has the instruction.
    unsafe {
        [
            _mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1),
            _mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1),
        ]
    }
}

/// For a shuffle that moves the first two of each four bytes to the upper halves of 16 bits, and one
/// for the other two.
#[inline(always)]
pub(super) fn widened_pairs() -> [__m128i; 2] {
    // SAFETY: numbers to a register; every machine of this architecture has the instruction.
    unsafe {
        [
            _mm_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13),
            _mm_setr_epi8(-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15),
        ]
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

/// The lower nibbles of 16 bytes, 16 bits each, then the upper ones.
#[inline(always)]
unsafe fn split_nibbles(p: *const u8) -> [__m256i; 2] {
    unsafe {
        let wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(p.cast()));
        [_mm256_and_si256(wide, _mm256_set1_epi16(15)), _mm256_srli_epi16::<4>(wide)]
    }
}

/// 16 bytes, signed, 16 bits each.
#[inline(always)]
unsafe fn widened(p: *const i8) -> __m256i {
    unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(p.cast())) }
}

#[inline(always)]
unsafe fn scaled(w: __m256i, scale: i16) -> __m256i {
    unsafe { _mm256_mullo_epi16(w, _mm256_set1_epi16(scale)) }
}

/// From 16 bytes of lower bits and 16 of upper ones, the latter shifted by `SHIFT`: 16 weights of
/// the first 64 of half a Q6_K block, and 16 of the others.
#[inline(always)]
unsafe fn six_bits_of<const SHIFT: i32>(low: *const u8, high: *const u8) -> [__m256i; 2] {
    unsafe {
        let low = _mm256_cvtepu8_epi16(_mm_loadu_si128(low.cast()));
        let high = _mm256_cvtepu8_epi16(_mm_loadu_si128(high.cast()));
        let high = _mm256_srli_epi16::<SHIFT>(high);
        let (nibble, two_bits) = (_mm256_set1_epi16(15), _mm256_set1_epi16(0x30));
        let first = _mm256_or_si256(
            _mm256_and_si256(low, nibble),
            _mm256_and_si256(_mm256_slli_epi16::<4>(high), two_bits),
        );
        let second = _mm256_or_si256(_mm256_srli_epi16::<4>(low), _mm256_and_si256(high, two_bits));
        two!(|q| _mm256_sub_epi16(q, _mm256_set1_epi16(32)); first, second)
    }
}
