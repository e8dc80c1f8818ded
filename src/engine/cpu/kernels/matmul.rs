//! Matrix times many vectors: the kernel of prefill. Sixteen rows of weights are unpacked once into
//! a panel in cache, four values of each row side by side, and multiplied with all the tokens.

use super::super::buffer::Buffer;
use super::super::simd::{LANES, Products, Simd};
use super::activations::{Activations, BLOCK};
use super::formats::{self, Format};
use super::matvec::{Ahead, Bf16, F16, F32, Plain};
use super::rare::{self, Rare};
use crate::error::Result;
use crate::quant::DType;

/// Rows of a panel.
pub(in crate::engine::cpu) const PANEL: usize = LANES;

/// A thread's buffer for one panel.
pub(in crate::engine::cpu) struct Panel {
    /// Groups of 16 values of the 16 rows as [`Products::pack`] writes them, `[cols / 16]`; or plain
    /// f32, `[cols][16]`.
    q: Buffer<u32>,
    /// `[cols / 16][16]`
    scale: Buffer<f32>,
    /// `[cols / 32][16]`
    min: Buffer<f32>,
}

impl Panel {
    /// Room for rows of up to `cols` values; `plain` if any matrix is F32, F16 or BF16.
    pub fn new(cols: usize, plain: bool) -> Result<Panel> {
        let what = "a panel of weights";
        Ok(Panel {
            q: Buffer::new(cols.next_multiple_of(BLOCK) * PANEL / if plain { 1 } else { 2 }, what)?,
            scale: Buffer::new(cols.div_ceil(16) * PANEL, what)?,
            min: Buffer::new(cols.div_ceil(BLOCK) * PANEL, what)?,
        })
    }

    /// Values, scales and minima, for kernels with a layout of their own.
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    pub fn parts(&mut self) -> (&mut [u32], &mut [f32], &mut [f32]) {
        (self.q.as_mut_slice(), self.scale.as_mut_slice(), self.min.as_mut_slice())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.q.bytes() + self.scale.bytes() + self.min.bytes()
    }
}

/// Where the products of a panel go: `out[token * stride + row]`, either stored or accumulated.
#[derive(Clone, Copy)]
pub(in crate::engine::cpu) struct Target {
    /// Product of the panel's first row with the first token.
    pub out: *mut f32,
    /// Distance from one token to the next, in values.
    pub stride: usize,
    /// Whether to accumulate.
    pub add: bool,
}

/// The products of `rows` (at most 16) rows at `w` with `tokens` activations.
///
/// # Safety
/// `w` must hold the rows in format `dtype`, each of `x.cols()` values; `target` must be valid for
/// every token; nobody else may touch that part of the target or the panel.
#[inline(always)]
pub(super) unsafe fn matmul<S: Products>(
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
            DType::Q8_0 => packed::<S, formats::Q8_0>(w, rows, x, tokens, panel, target),
            DType::Q4_0 => packed::<S, formats::Q4_0>(w, rows, x, tokens, panel, target),
            DType::Q4_1 => packed::<S, formats::Q4_1>(w, rows, x, tokens, panel, target),
            DType::IQ4_NL => packed::<S, formats::Iq4Nl>(w, rows, x, tokens, panel, target),
            DType::Q5_0 => packed::<S, formats::Q5_0>(w, rows, x, tokens, panel, target),
            DType::Q5_1 => packed::<S, formats::Q5_1>(w, rows, x, tokens, panel, target),
            DType::Q4_K => packed::<S, formats::Q4K>(w, rows, x, tokens, panel, target),
            DType::Q5_K => packed::<S, formats::Q5K>(w, rows, x, tokens, panel, target),
            DType::Q6_K => packed::<S, formats::Q6K>(w, rows, x, tokens, panel, target),
            _ => plain::<S>(dtype, w, rows, x, tokens, panel, target),
        }
    }
}

#[inline(always)]
unsafe fn packed<S: Products, T: Format>(
    w: *const u8,
    rows: usize,
    x: &Activations,
    tokens: usize,
    panel: &mut Panel,
    target: Target,
) {
    unsafe {
        unpack::<S, T>(w, rows, x.cols(), panel);
        let mut token = 0;
        while token < tokens {
            let left = tokens - token;
            // A tile with a few tokens missing takes less time than those left in smaller tiles.
            let whole = |tile: usize| left + tile / 4 >= tile;
            // The size is a constant of each machine, but generics can't name it.
            token += match S::TILE {
                8 if whole(8) => tile::<S, T, 8>(x, token, left, rows, panel, target),
                4 | 8 if whole(4) => tile::<S, T, 4>(x, token, left, rows, panel, target),
                3 if whole(3) => tile::<S, T, 3>(x, token, left, rows, panel, target),
                2 if whole(2) => tile::<S, T, 2>(x, token, left, rows, panel, target),
                _ => tile::<S, T, 1>(x, token, left, rows, panel, target),
            };
        }
    }
}

/// Fills the panel. Its rows beyond `rows` repeat the last one: their products are not delivered.
#[inline(always)]
pub(super) unsafe fn unpack<S: Products, T: Format>(
    w: *const u8,
    rows: usize,
    cols: usize,
    panel: &mut Panel,
) {
    let groups = T::LEN / T::GROUP;
    let stride = cols / T::LEN * T::BYTES;
    let in_block = T::LEN / LANES * S::GROUP_BYTES;
    let packed: &mut [u8] = bytemuck::cast_slice_mut(panel.q.as_mut_slice());
    let all_scale = panel.scale.as_mut_slice();
    let all_min = panel.min.as_mut_slice();
    let mut ahead = Ahead::of([w; PANEL], stride);
    for b in 0..cols / T::LEN {
        let packed = &mut packed[b * in_block..][..in_block];
        let scale_out = &mut all_scale[b * groups * PANEL..][..groups * PANEL];
        let min_out = match T::MIN {
            true => &mut all_min[b * groups * PANEL..][..groups * PANEL],
            false => &mut [],
        };
        let mut blocks = [w; PANEL];
        for (r, block) in blocks.iter_mut().enumerate() {
            unsafe { *block = w.add(r.min(rows - 1) * stride + b * T::BYTES) };
        }
        unsafe {
            ahead.fetch::<S>(PANEL * T::BYTES);
            T::pack::<S>(blocks, packed.as_mut_ptr());
        }
        if T::LEN == 32 {
            // All rows' together.
            let (mut scales, mut mins) = ([0u16; PANEL], [0u16; PANEL]);
            for r in 0..PANEL {
                [scales[r], mins[r]] = unsafe { blocks[r].cast::<[u16; 2]>().read_unaligned() };
            }
            for (out, halves) in [(scale_out, scales), (min_out, mins)] {
                if let Some(out) = out.first_chunk_mut::<PANEL>() {
                    unsafe { S::store(out.as_mut_ptr(), S::load_f16(halves.as_ptr())) };
                }
            }
        } else {
            for (r, block) in blocks.into_iter().enumerate() {
                let (mut scale, mut min) = ([0f32; 16], [0f32; 16]);
                unsafe { T::scales(block, &mut scale, &mut min) };
                for g in 0..groups {
                    scale_out[g * PANEL + r] = scale[g];
                    if T::MIN {
                        min_out[g * PANEL + r] = min[g];
                    }
                }
            }
        }
    }
}

/// Products of the panel with `N` tokens from `first` on, or with the `left` that there are: then
/// the last is computed several times. Returns how many tokens that makes.
#[inline(always)]
unsafe fn tile<S: Products, T: Format, const N: usize>(
    x: &Activations,
    first: usize,
    left: usize,
    rows: usize,
    panel: &mut Panel,
    target: Target,
) -> usize {
    unsafe {
        let count = left.min(N);
        let x_rows: [_; N] = std::array::from_fn(|t| x.row(first + t.min(count - 1)));
        let q = panel.q.as_mut_slice().as_ptr().cast::<u8>();
        let scale = panel.scale.as_mut_slice().as_ptr();
        let min = panel.min.as_mut_slice().as_ptr();
        let per_block = BLOCK / T::GROUP;
        let mut sums = [S::splat(0.0); N];
        for b in 0..x.cols() / BLOCK {
            let a: [_; N] = std::array::from_fn(|t| x_rows[t].q.add(b * BLOCK));
            for g in 0..per_block {
                let group = b * per_block + g;
                let mut products = [S::splat_i(0); N];
                let excess = T::excess::<S>();
                if excess != 0 {
                    for t in 0..N {
                        let halves = x_rows[t].half_sums.add(2 * b);
                        let total = match per_block {
                            1 => *halves + *halves.add(1),
                            _ => *halves.add(g),
                        };
                        products[t] = S::splat_i(-excess * total);
                    }
                }
                let weights = q.add((2 * b + g) * S::GROUP_BYTES);
                S::dot_group(&mut products, weights, a, g);
                if per_block == 1 {
                    S::dot_group(&mut products, weights.add(S::GROUP_BYTES), a, 1);
                }
                let scale = S::load(scale.add(group * PANEL));
                for t in 0..N {
                    let scale = S::mul(scale, S::splat(*x_rows[t].scale.add(b)));
                    sums[t] = S::fma(S::to_f32(products[t]), scale, sums[t]);
                }
                if T::MIN {
                    let min = S::load(min.add(group * PANEL));
                    for t in 0..N {
                        sums[t] = S::fma(min, S::splat(*x_rows[t].sum.add(b)), sums[t]);
                    }
                }
            }
        }
        deliver::<S>(&sums[..count], first, rows, target);
        count
    }
}

/// Stores or adds the products of the tokens from `first` on with the first `rows` rows.
#[inline(always)]
pub(super) unsafe fn deliver<S: Simd>(sums: &[S::F], first: usize, rows: usize, target: Target) {
    for (t, &sum) in sums.iter().enumerate() {
        unsafe {
            let out = target.out.add((first + t) * target.stride);
            let sum = match target.add {
                true => S::add(sum, S::load_n(out, rows)),
                false => sum,
            };
            S::store_n(out, sum, rows);
        }
    }
}

/// [`matmul`] for F32, F16, BF16 and rare formats.
#[inline(always)]
pub(super) unsafe fn plain<S: Simd>(
    dtype: DType,
    w: *const u8,
    rows: usize,
    x: &Activations,
    tokens: usize,
    panel: &mut Panel,
    target: Target,
) {
    let cols = x.cols();
    let weights: &mut [f32] = bytemuck::cast_slice_mut(panel.q.as_mut_slice());
    unsafe {
        match dtype {
            DType::Q2_K => read::<rare::Q2K>(w, rows, cols, weights),
            DType::Q3_K => read::<rare::Q3K>(w, rows, cols, weights),
            DType::IQ4_XS => read::<rare::Iq4Xs>(w, rows, cols, weights),
            DType::MXFP4 => read::<rare::Mxfp4>(w, rows, cols, weights),
            DType::F32 => load::<S, F32>(w, rows, cols, weights),
            DType::F16 => load::<S, F16>(w, rows, cols, weights),
            _ => load::<S, Bf16>(w, rows, cols, weights),
        }
    }
    let weights = weights.as_ptr();
    let mut token = 0;
    unsafe {
        while token + 4 <= tokens {
            plain_tile::<S, 4>(weights, x, token, rows, target);
            token += 4;
        }
        while token < tokens {
            plain_tile::<S, 1>(weights, x, token, rows, target);
            token += 1;
        }
    }
}

/// Fills a panel with floats, and with zeros beyond `rows`.
#[inline(always)]
unsafe fn load<S: Simd, P: Plain>(w: *const u8, rows: usize, cols: usize, weights: &mut [f32]) {
    for r in 0..PANEL {
        for (chunk, c) in (0..cols).step_by(LANES).enumerate() {
            let n = (cols - c).min(LANES);
            let mut lanes = [0f32; LANES];
            if r < rows {
                // SAFETY: within row `r`, which the caller vouches for.
                unsafe {
                    let values = P::load::<S>(w.add((r * cols + c) * P::BYTES), n);
                    S::store(lanes.as_mut_ptr(), values);
                }
            }
            for (i, value) in lanes[..n].iter().enumerate() {
                weights[(chunk * LANES + i) * PANEL + r] = *value;
            }
        }
    }
}

/// [`load`] for a rare format, compiled once for all instruction sets.
#[inline(never)]
unsafe fn read<T: Rare>(w: *const u8, rows: usize, cols: usize, weights: &mut [f32]) {
    let blocks = cols / T::LEN;
    for r in 0..PANEL {
        let mut values = [0f32; rare::MOST];
        for (b, out) in weights.chunks_exact_mut(T::LEN * PANEL).take(blocks).enumerate() {
            if r < rows {
                // SAFETY: within row `r`, which the caller vouches for.
                unsafe { T::read(w.add((r * blocks + b) * T::BYTES), values.as_mut_ptr()) };
            }
            for (out, value) in out.chunks_exact_mut(PANEL).zip(values) {
                out[r] = value;
            }
        }
    }
}

#[inline(always)]
unsafe fn plain_tile<S: Simd, const N: usize>(
    weights: *const f32,
    x: &Activations,
    first: usize,
    rows: usize,
    target: Target,
) {
    unsafe {
        let x_rows: [_; N] = std::array::from_fn(|t| x.row(first + t));
        let mut sums = [S::splat(0.0); N];
        for c in 0..x.cols() {
            let w = S::load(weights.add(c * PANEL));
            for t in 0..N {
                sums[t] = S::fma(w, S::splat(*x_rows[t].x.add(c)), sums[t]);
            }
        }
        deliver::<S>(&sums, first, rows, target);
    }
}
