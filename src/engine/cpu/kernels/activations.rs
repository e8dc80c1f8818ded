//! Inputs of matrix products: rows of f32, and alongside them the same values in blocks of 32
//! integers of 14 bits, or of 8, with a scale; for some kernels also as sums of bf16 numbers.

use super::super::buffer::Buffer;
use super::super::simd::{LANES, Simd};
use crate::error::Result;

/// Values that share a scale.
pub(in crate::engine::cpu) const BLOCK: usize = 32;

/// Rows up to whose next multiple there are scales and sums, if meaningless ones.
pub(super) const TILE: usize = 16;

/// Numbers in bf16 whose sum is an f32.
pub(super) const TERMS: usize = 3;

/// Rows of activations.
pub(in crate::engine::cpu) struct Activations {
    cols: usize,
    capacity: usize,
    rows: usize,
    x: Buffer<f32>,
    q: Buffer<i16>,
    scale: Buffer<f32>,
    sum: Buffer<f32>,
    half_sums: Buffer<i32>,
    terms: Option<Buffer<u16>>,
}

/// One row, to read. Valid for `cols` values and their blocks.
#[derive(Clone, Copy)]
pub(in crate::engine::cpu) struct Row {
    /// f32 values.
    pub x: *const f32,
    /// Integers in the order of [`Simd::store_activations`] or of a kernel of its own, zero after the
    /// last.
    pub q: *const i16,
    /// One scale per block.
    pub scale: *const f32,
    /// Scale times the sum of the integers, per block.
    pub sum: *const f32,
    /// The sum of the integers: two per block, of 16 values each.
    pub half_sums: *const i32,
}

/// One row, to quantize.
pub(in crate::engine::cpu) struct RowMut<'a> {
    pub x: &'a mut [f32],
    pub(super) q: &'a mut [i16],
    scale: &'a mut [f32],
    sum: &'a mut [f32],
    half_sums: &'a mut [i32],
    /// See [`Activations::terms`]; empty if there is no room for them.
    #[cfg(target_arch = "x86_64")]
    pub(super) terms: &'a mut [u16],
}

impl Activations {
    /// Room for `rows` rows of up to `capacity` values, and for their bf16 numbers if `terms`.
    pub fn new(rows: usize, capacity: usize, terms: bool) -> Result<Activations> {
        let what = "activations";
        let blocks = rows * capacity.div_ceil(BLOCK);
        // Whole tiles of rows are scaled together.
        let side = rows.next_multiple_of(TILE) * capacity.div_ceil(BLOCK);
        Ok(Activations {
            cols: capacity,
            capacity,
            rows,
            x: Buffer::new(rows * capacity, what)?,
            q: Buffer::new(rows * capacity.next_multiple_of(BLOCK), what)?,
            scale: Buffer::new(side, what)?,
            sum: Buffer::new(side, what)?,
            half_sums: Buffer::new(2 * blocks, what)?,
            terms: terms.then(|| Buffer::new(TERMS * BLOCK * blocks, what)).transpose()?,
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.x.bytes()
            + self.q.bytes()
            + self.scale.bytes()
            + self.sum.bytes()
            + self.half_sums.bytes()
            + self.terms.as_ref().map_or(0, Buffer::bytes)
    }

    /// Sets the length of a row. The previous contents of the rows become meaningless.
    pub fn set_cols(&mut self, cols: usize) {
        assert!(cols <= self.capacity, "{cols} activations, room for {}", self.capacity);
        self.cols = cols;
    }

    /// Values of a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Whether there is room for bf16 terms.
    pub fn has_terms(&self) -> bool {
        self.terms.is_some()
    }

    /// Row `index`, to read.
    #[inline(always)]
    pub fn row(&self, index: usize) -> Row {
        // The one check: there is room for all rows of the greatest width, and `cols` is not more.
        assert!(index < self.rows, "row {index} of {}", self.rows);
        let blocks = self.cols.div_ceil(BLOCK);
        Row {
            x: self.x.at(0, 0).wrapping_add(index * self.cols),
            q: self.q.at(0, 0).wrapping_add(index * blocks * BLOCK),
            scale: self.scale.at(0, 0).wrapping_add(index * blocks),
            sum: self.sum.at(0, 0).wrapping_add(index * blocks),
            half_sums: self.half_sums.at(0, 0).wrapping_add(2 * index * blocks),
        }
    }

    /// Row `index` as [`TERMS`] bf16 numbers for each value, `[cols / 32][TERMS][32]`, zero after the
    /// last; null if there is no room for them.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn terms(&self, index: usize) -> *const u16 {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        let row = TERMS * BLOCK * self.cols.div_ceil(BLOCK);
        self.terms
            .as_ref()
            .map_or(std::ptr::null(), |terms| terms.at(0, 0).wrapping_add(index * row))
    }

    /// The f32 values of row `index`, while nobody else uses the rows.
    pub fn values(&mut self, index: usize) -> &[f32] {
        &self.x.as_mut_slice()[index * self.cols..][..self.cols]
    }

    /// `len` values of row `index` from `start` on, to write.
    ///
    /// # Safety
    /// Nobody else may read or write these values meanwhile.
    #[allow(clippy::mut_from_ref, reason = "disjoint parts for the threads of a region")]
    pub unsafe fn values_mut(&self, index: usize, start: usize, len: usize) -> &mut [f32] {
        assert!(start + len <= self.cols, "{len} values from {start} on in a row of {}", self.cols);
        // SAFETY: passed on to the caller.
        unsafe { self.x.write(index * self.cols + start, len) }
    }

    /// Row `index`, to write.
    ///
    /// # Safety
    /// Nobody else may read or write this row meanwhile.
    #[allow(clippy::mut_from_ref, reason = "disjoint rows for the threads of a region")]
    pub unsafe fn row_mut(&self, index: usize) -> RowMut<'_> {
        let blocks = self.cols.div_ceil(BLOCK);
        // SAFETY: passed on to the caller.
        unsafe {
            RowMut {
                x: self.x.write(index * self.cols, self.cols),
                q: self.q.write(index * blocks * BLOCK, blocks * BLOCK),
                scale: self.scale.write(index * blocks, blocks),
                sum: self.sum.write(index * blocks, blocks),
                half_sums: self.half_sums.write(2 * index * blocks, 2 * blocks),
                #[cfg(target_arch = "x86_64")]
                terms: match &self.terms {
                    Some(terms) => {
                        let row = TERMS * BLOCK * blocks;
                        terms.write(index * row, row)
                    }
                    None => &mut [],
                },
            }
        }
    }
}

/// Fills the integers of a row from its f32 values: scale = largest magnitude / `most`.
#[inline(always)]
pub(super) unsafe fn quantize<S: Simd>(row: &mut RowMut, most: f32) {
    let cols = row.x.len();
    for (b, half_sums) in row.half_sums.chunks_exact_mut(2).enumerate() {
        let start = b * BLOCK;
        let lengths = [(cols - start).min(LANES), cols.saturating_sub(start + LANES).min(LANES)];
        // SAFETY: `lengths` stays within the row; `q` has whole blocks.
        unsafe {
            let x = row.x.as_ptr().add(start);
            let low = S::load_n(x, lengths[0]);
            let high = match lengths[1] {
                0 => S::splat(0.0),
                n => S::load_n(x.add(LANES), n),
            };
            let zero = S::splat(0.0);
            let magnitude =
                S::max(S::max(low, S::sub(zero, low)), S::max(high, S::sub(zero, high)));
            let scale = S::greatest(magnitude) / most;
            let inverse = S::splat(if scale > 0.0 { 1.0 / scale } else { 0.0 });
            // Clamped, since a NaN or an infinity must not turn into an out-of-range integer.
            let (upper, lower) = (S::splat(most), S::splat(-most));
            let low = S::round(S::max(S::min(S::mul(low, inverse), upper), lower));
            let high = S::round(S::max(S::min(S::mul(high, inverse), upper), lower));
            S::store_activations(row.q.as_mut_ptr().add(start), low, high);
            half_sums[0] = S::sum_i(low);
            half_sums[1] = S::sum_i(high);
            row.scale[b] = scale;
            row.sum[b] = scale * (half_sums[0] + half_sums[1]) as f32;
        }
    }
}
