//! [`matmul`](super::matmul::matmul) with AMX. The bytes of a block of a panel's 16 rows are a tile,
//! those of 16 tokens another. Their products, a row per token, are scaled and added by AVX-512 in the
//! order of its own kernel: the results are the same, bit by bit.

use super::super::simd::amx::{self, Products, ROWS};
use super::super::simd::avx512::{Avx512, Avx512Int8};
use super::activations::{Activations, BLOCK, RowMut, TILE};
use super::formats::{self, Format};
use super::matmul::{self, PANEL, Panel, Target};
use super::matmul_amx_bf16::{self as bf16, Float};
use crate::quant::DType;
use std::arch::x86_64::*;

/// Bits of the lower plane of activations.
const LOW_BITS: u32 = 7;

/// Activations in 14 bits as two planes of bytes: of each block the upper bits, then the lower ones,
/// both signed. Those in 8 bits are one plane. Also as bf16 terms, where there is room for them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn quantize<const PLANES: usize>(row: &mut RowMut, most: f32) {
    unsafe {
        if !row.terms.is_empty() {
            bf16::split(row);
        }
        if PLANES == 1 {
            return super::activations::quantize::<Avx512Int8>(row, most);
        }
        super::activations::quantize::<Avx512>(row, most);
        for block in row.q.chunks_exact_mut(BLOCK) {
            let p: *mut __m256i = block.as_mut_ptr().cast();
            let q = _mm512_loadu_si512(p.cast());
            // Rounded, so that what is left fits a signed byte.
            let half = _mm512_set1_epi16(1 << (LOW_BITS - 1));
            let high = _mm512_srai_epi16::<LOW_BITS>(_mm512_add_epi16(q, half));
            let low = _mm512_sub_epi16(q, _mm512_slli_epi16::<LOW_BITS>(high));
            _mm256_storeu_si256(p, _mm512_cvtepi16_epi8(high));
            _mm256_storeu_si256(p.add(1), _mm512_cvtepi16_epi8(low));
        }
    }
}

/// [`matmul`](super::matmul::matmul) with activations in one plane, or in two.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn matmul<const PLANES: usize>(
    dtype: DType,
    w: *const u8,
    rows: usize,
    x: &Activations,
    tokens: usize,
    panel: &mut Panel,
    target: Target,
) {
    unsafe {
        match dtype {
            DType::Q8_0 => packed::<formats::Q8_0, PLANES>(w, rows, x, tokens, panel, target),
            DType::Q4_0 => packed::<formats::Q4_0, PLANES>(w, rows, x, tokens, panel, target),
            DType::Q4_1 => packed::<formats::Q4_1, PLANES>(w, rows, x, tokens, panel, target),
            DType::IQ4_NL => packed::<formats::Iq4Nl, PLANES>(w, rows, x, tokens, panel, target),
            DType::Q5_0 => packed::<formats::Q5_0, PLANES>(w, rows, x, tokens, panel, target),
            DType::Q5_1 => packed::<formats::Q5_1, PLANES>(w, rows, x, tokens, panel, target),
            DType::Q4_K => packed::<formats::Q4K, PLANES>(w, rows, x, tokens, panel, target),
            DType::Q5_K => packed::<formats::Q5K, PLANES>(w, rows, x, tokens, panel, target),
            DType::Q6_K => packed::<formats::Q6K, PLANES>(w, rows, x, tokens, panel, target),
            DType::F16 => bf16::matmul(Float::F16, w, rows, x, tokens, panel, target),
            DType::BF16 => bf16::matmul(Float::Bf16, w, rows, x, tokens, panel, target),
            // Those that read f32 values, whatever the order of the integers.
            DType::F32 | DType::Q2_K | DType::Q3_K | DType::IQ4_XS | DType::MXFP4 => {
                (super::AVX512.products.matmul)(dtype, w, rows, x, tokens, panel, target)
            }
        }
    }
}

#[inline(always)]
unsafe fn packed<T: Format, const PLANES: usize>(
    w: *const u8,
    rows: usize,
    x: &Activations,
    tokens: usize,
    panel: &mut Panel,
    target: Target,
) {
    unsafe {
        unpack::<T>(w, rows, x.cols(), panel);
        match (BLOCK / T::GROUP, T::MIN) {
            (1, false) => multiply::<PLANES, 1, false>(x, tokens, panel, rows, target),
            (1, true) => multiply::<PLANES, 1, true>(x, tokens, panel, rows, target),
            _ => multiply::<PLANES, 2, false>(x, tokens, panel, rows, target),
        }
    }
}

/// Fills the panel as for AVX-512 with activations in 8 bits, but with signed weights.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn unpack<T: Format>(w: *const u8, rows: usize, cols: usize, panel: &mut Panel) {
    unsafe { matmul::unpack::<Avx512Int8, T>(w, rows, cols, panel) };
    let excess = T::excess::<Avx512Int8>() as u8;
    if excess != 0 {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(panel.parts().0);
        bytes[..PANEL * cols].iter_mut().for_each(|w| *w = w.wrapping_sub(excess));
    }
}

/// The products of a panel whose blocks have `GROUPS` scales, and a minimum if `MIN`.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply<const PLANES: usize, const GROUPS: usize, const MIN: bool>(
    x: &Activations,
    tokens: usize,
    panel: &mut Panel,
    rows: usize,
    target: Target,
) {
    // `tile` reads scales and sums of as many tokens as a tile has rows.
    const { assert!(ROWS == TILE) };
    // Fails unless there are that many.
    x.row(tokens - 1);
    unsafe {
        for first in (0..tokens).step_by(ROWS) {
            let count = ROWS.min(tokens - first);
            if first == 0 || count < ROWS {
                amx::shape(count, BLOCK / GROUPS);
            }
            match count {
                0..=4 => tile::<PLANES, GROUPS, MIN, 4>(x, first, count, panel, rows, target),
                5..=8 => tile::<PLANES, GROUPS, MIN, 8>(x, first, count, panel, rows, target),
                _ => tile::<PLANES, GROUPS, MIN, 16>(x, first, count, panel, rows, target),
            }
        }
        amx::release();
    }
}

/// Lines of a cache, which no row of a tile crosses.
#[repr(align(64))]
struct Aligned<T>(T);

/// Products of the panel with `count` tokens from `first` on, at most `N`. Those up to `N` are made
/// of whatever is there, and not delivered.
#[inline(always)]
unsafe fn tile<const PLANES: usize, const GROUPS: usize, const MIN: bool, const N: usize>(
    x: &Activations,
    first: usize,
    count: usize,
    panel: &mut Panel,
    rows: usize,
    target: Target,
) {
    unsafe {
        let row = x.row(first);
        let blocks = x.cols() / BLOCK;
        let steps = GROUPS * blocks;
        let values = BLOCK / GROUPS;
        let (weights, scales, mins) = panel.parts();
        let weights = weights.as_ptr().cast::<u8>();
        let (scales, mins) = (scales.as_ptr(), mins.as_ptr());
        let bytes = 2 * BLOCK;
        // While one group of products is scaled, the next is computed.
        let mut integers = Aligned([[[[0i32; PANEL]; ROWS]; PLANES]; 2]);
        let integers: *mut [Products; PLANES] = integers.0.as_mut_ptr();
        let multiply = |step: usize| {
            amx::products(
                integers.add(step % 2),
                row.q.cast::<i8>().add(step / GROUPS * bytes + step % GROUPS * values),
                blocks * bytes,
                weights.add(step * values * PANEL),
                step,
            );
        };
        let mut sums = [_mm512_setzero_ps(); N];
        multiply(0);
        for step in 0..steps {
            if step + 1 < steps {
                multiply(step + 1);
            }
            let block = step / GROUPS;
            let products = integers.add(step % 2).cast::<i32>();
            let scale = _mm512_loadu_ps(scales.add(step * PANEL));
            for (t, sum) in sums.iter_mut().enumerate() {
                let mut product = _mm512_load_si512(products.add(t * PANEL).cast());
                if PLANES == 2 {
                    let low = _mm512_load_si512(products.add((ROWS + t) * PANEL).cast());
                    product = _mm512_add_epi32(_mm512_slli_epi32::<LOW_BITS>(product), low);
                }
                let own = _mm512_set1_ps(*row.scale.add(t * blocks + block));
                let scale = _mm512_mul_ps(scale, own);
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scale, *sum);
            }
            if MIN {
                let min = _mm512_loadu_ps(mins.add(step * PANEL));
                for (t, sum) in sums.iter_mut().enumerate() {
                    let own = _mm512_set1_ps(*row.sum.add(t * blocks + block));
                    *sum = _mm512_fmadd_ps(min, own, *sum);
                }
            }
        }
        matmul::deliver::<Avx512>(&sums[..count], first, rows, target);
    }
}
