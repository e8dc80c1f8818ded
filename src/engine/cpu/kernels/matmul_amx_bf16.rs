//! [`matmul`](super::matmul::matmul) of F16 and BF16 weights with AMX, whose tiles of bf16 have 8 of
//! an f32's 24 bits. So numbers are sums: an activation is three terms exactly, an F16 weight two, a
//! BF16 weight one. The products of the terms make the product, but for the least of an F16 weight,
//! which is 2^-24 of it.

use super::super::simd::amx::{self, Floats, ROWS};
use super::super::simd::avx512::{Avx512, fours};
use super::activations::{Activations, BLOCK, RowMut, TERMS};
use super::matmul::{self, PANEL, Panel, Target};
use std::arch::x86_64::*;

/// Bytes of a block of one term of a panel's weights: two values of each row side by side, 16 times.
const PANEL_BLOCK: usize = 2 * BLOCK * PANEL;

/// Values of a register.
const HALF: usize = BLOCK / 2;

/// The formats multiplied here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Float {
    F16,
    Bf16,
}

/// The first `n` of the 16 lanes of a register, or all.
fn lanes(n: usize) -> __mmask16 {
    if n >= HALF { !0 } else { (1 << n) - 1 }
}

/// The upper halves of f32 values: bf16, rounded towards zero.
#[inline(always)]
unsafe fn upper(x: __m512) -> __m256i {
    unsafe { _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_castps_si512(x))) }
}

/// What of `x` is not in the `term`; nothing of an infinity.
#[inline(always)]
unsafe fn rest(x: __m512, term: __m512) -> __m512 {
    unsafe {
        let infinity = _mm512_set1_ps(f32::INFINITY);
        let finite = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(_mm512_abs_ps(x), infinity);
        _mm512_maskz_sub_ps(finite, x, term)
    }
}

/// Writes the terms of a row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn split(row: &mut RowMut) {
    let cols = row.x.len();
    // A bf16 number of 8 bits is the upper half of an f32: what is left has 16 bits, then 8.
    let upper_half = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    for (block, terms) in row.terms.chunks_exact_mut(TERMS * BLOCK).enumerate() {
        for half in 0..2 {
            let start = block * BLOCK + half * HALF;
            // SAFETY: no lane beyond the row is read; a block has three terms of two registers each.
            unsafe {
                let here = lanes(cols.saturating_sub(start));
                let mut x = _mm512_maskz_loadu_ps(here, row.x.as_ptr().wrapping_add(start));
                for t in 0..TERMS {
                    let term = _mm512_and_si512(_mm512_castps_si512(x), upper_half);
                    let out = terms.as_mut_ptr().add(t * BLOCK + half * HALF);
                    _mm256_storeu_si256(out.cast(), upper(x));
                    x = rest(x, _mm512_castsi512_ps(term));
                }
            }
        }
    }
}

/// [`matmul`](super::matmul::matmul) of weights in `format`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn matmul(
    format: Float,
    w: *const u8,
    rows: usize,
    x: &Activations,
    tokens: usize,
    panel: &mut Panel,
    target: Target,
) {
    let cols = x.cols();
    let blocks = cols.div_ceil(BLOCK);
    let weights: &mut [u8] = bytemuck::cast_slice_mut(panel.parts().0);
    // Fails unless there are that many tokens.
    x.row(tokens - 1);
    assert!(blocks > 0);
    unsafe {
        match format {
            Float::F16 => unpack_f16(w, rows, cols, &mut weights[..2 * PANEL_BLOCK * blocks]),
            Float::Bf16 => unpack_bf16(w, rows, cols, &mut weights[..PANEL_BLOCK * blocks]),
        }
        let weights = weights.as_ptr();
        for first in (0..tokens).step_by(ROWS) {
            let count = ROWS.min(tokens - first);
            if first == 0 || count < ROWS {
                amx::shape_floats(count);
            }
            let mut products = [[[0f32; PANEL]; ROWS]; 5];
            let p: *mut Floats = products.as_mut_ptr();
            let (terms, stride) = (x.terms(first), 2 * TERMS * BLOCK * blocks);
            match format {
                Float::F16 => amx::products_of_two_terms(p, terms, stride, weights, blocks),
                Float::Bf16 => amx::products_of_one_term(p, terms, stride, weights, blocks),
            }
            for t in 0..count {
                // The smallest first.
                let product = |i: usize| _mm512_loadu_ps(p.add(i).cast::<f32>().add(t * PANEL));
                let mut sum = _mm512_add_ps(product(1), product(2));
                if format == Float::F16 {
                    sum = _mm512_add_ps(sum, _mm512_add_ps(product(3), product(4)));
                }
                sum = _mm512_add_ps(product(0), sum);
                matmul::deliver::<Avx512>(&[sum], first + t, rows, target);
            }
        }
        amx::release();
    }
}

/// Two values of each row side by side, of 16 rows of 32 values.
#[inline(always)]
unsafe fn interleave(rows: [*const u8; PANEL], out: *mut u8) {
    unsafe {
        for quarter in 0..4 {
            for (line, four) in fours(rows.map(|row| row.add(16 * quarter))).into_iter().enumerate()
            {
                _mm512_storeu_si512(out.add(64 * (4 * quarter + line)).cast(), four);
            }
        }
    }
}

/// Fills the panel, with zeros after the last column. Its rows beyond `rows` repeat the last one:
/// their products are not delivered.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn unpack_bf16(w: *const u8, rows: usize, cols: usize, panel: &mut [u8]) {
    for (block, out) in panel.chunks_exact_mut(PANEL_BLOCK).enumerate() {
        let start = block * BLOCK;
        let row = |r: usize| w.wrapping_add(2 * (r.min(rows - 1) * cols + start));
        // SAFETY: the caller's rows; a short block is copied first.
        unsafe {
            if start + BLOCK <= cols {
                interleave(std::array::from_fn(row), out.as_mut_ptr());
            } else {
                let mut copy = [[0u16; BLOCK]; PANEL];
                for (r, copy) in copy.iter_mut().enumerate() {
                    row(r).copy_to_nonoverlapping(copy.as_mut_ptr().cast(), 2 * (cols - start));
                }
                interleave(copy.each_ref().map(|row| row.as_ptr().cast()), out.as_mut_ptr());
            }
        }
    }
}

/// [`unpack_bf16`] with two terms for each weight: blocks of the first, of the second, and so on.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn unpack_f16(w: *const u8, rows: usize, cols: usize, panel: &mut [u8]) {
    let upper_half = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    for (block, out) in panel.chunks_exact_mut(2 * PANEL_BLOCK).enumerate() {
        let mut terms = [[[0u16; BLOCK]; PANEL]; 2];
        for r in 0..PANEL {
            for half in 0..2 {
                let start = block * BLOCK + half * HALF;
                let row = w.wrapping_add(2 * (r.min(rows - 1) * cols + start));
                // SAFETY: no lane beyond the row is read.
                unsafe {
                    let here = lanes(cols.saturating_sub(start));
                    let w = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(here, row.cast()));
                    // Rounded, so that what is left has 3 of a half's 11 bits and either sign. No
                    // half is so large that this would make it infinite.
                    let bits = _mm512_castps_si512(w);
                    let rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x8000));
                    let term = _mm512_castsi512_ps(_mm512_and_si512(rounded, upper_half));
                    for (term, value) in terms.iter_mut().zip([term, rest(w, term)]) {
                        _mm256_storeu_si256(
                            term[r][half * HALF..].as_mut_ptr().cast(),
                            upper(value),
                        );
                    }
                }
            }
        }
        for (term, out) in terms.iter().zip(out.chunks_exact_mut(PANEL_BLOCK)) {
            // SAFETY: 16 rows of 32 values.
            unsafe {
                interleave(term.each_ref().map(|row| row.as_ptr().cast()), out.as_mut_ptr());
            }
        }
    }
}
