//! Formats that few files have: their blocks become f32 on the way, by the code that reads them
//! anywhere, and are multiplied with the activations as they are.

use super::super::simd::{LANES, Simd};
use super::activations::Row;
use super::matvec::Dot;
use crate::quant::{iq4_xs, mxfp4, q2_k, q3_k};

/// Values of the largest block.
pub(super) const MOST: usize = 256;

/// A format that is read block by block.
pub(super) trait Rare {
    const BYTES: usize;
    const LEN: usize;

    /// Writes the `LEN` values of a block.
    ///
    /// # Safety
    /// `block` must be valid for `BYTES`, `out` for `LEN` values.
    unsafe fn read(block: *const u8, out: *mut f32);
}

macro_rules! rare {
    ($($name:ident $module:ident $bytes:literal $len:literal;)*) => {$(
        pub(super) struct $name;
        impl Rare for $name {
            const BYTES: usize = $bytes;
            const LEN: usize = $len;
            #[inline(always)]
            unsafe fn read(block: *const u8, out: *mut f32) {
                // SAFETY: arrays of bytes and floats of these lengths, as the caller guarantees.
                unsafe {
                    $module::dequantize(&*block.cast::<[u8; $bytes]>(), &mut *out.cast::<[f32; $len]>());
                }
            }
        }
    )*};
}
rare! {
    Q2K q2_k 84 256;
    Q3K q3_k 110 256;
    Iq4Xs iq4_xs 136 256;
    Mxfp4 mxfp4 17 32;
}

/// Its products.
pub(super) struct Read<T>(std::marker::PhantomData<T>);

impl<S: Simd, T: Rare> Dot<S> for Read<T> {
    #[inline(always)]
    fn row_bytes(cols: usize) -> usize {
        cols / T::LEN * T::BYTES
    }

    #[inline(always)]
    unsafe fn dot<const R: usize>(w: [*const u8; R], cols: usize, x: Row) -> [S::F; R] {
        unsafe {
            // Two sums per row, so that one addition need not wait for the other.
            let mut sums = [[S::splat(0.0); R]; 2];
            let mut values = [0f32; MOST];
            for b in 0..cols / T::LEN {
                for r in 0..R {
                    T::read(w[r].add(b * T::BYTES), values.as_mut_ptr());
                    for c in 0..T::LEN / LANES {
                        let a = S::load(x.x.add(b * T::LEN + c * LANES));
                        let w = S::load(values.as_ptr().add(c * LANES));
                        sums[c % 2][r] = S::fma(w, a, sums[c % 2][r]);
                    }
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
