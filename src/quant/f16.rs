//! F16: IEEE half precision, 2 bytes per value.
//!
//! Rounded to nearest, ties to even; infinite beyond ±65504. NaNs stay NaNs and become quiet.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Values converted at a time: enough for the widest vectors, small enough for the stack.
const RUN: usize = 64;

pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let mut halves = [f16::ZERO; RUN];
    for (bytes, out) in bytes.chunks(2 * RUN).zip(out.chunks_mut(RUN)) {
        let halves = &mut halves[..out.len()];
        for (half, &b) in halves.iter_mut().zip(bytes.as_chunks().0) {
            *half = f16::from_le_bytes(b);
        }
        halves.convert_to_f32_slice(out);
    }
}

pub(super) fn quantize(values: &[f32], out: &mut [u8]) {
    let mut halves = [f16::ZERO; RUN];
    for (values, out) in values.chunks(RUN).zip(out.chunks_mut(2 * RUN)) {
        let halves = &mut halves[..values.len()];
        halves.convert_from_f32_slice(values);
        for (half, b) in halves.iter().zip(out.as_chunks_mut().0) {
            *b = half.to_le_bytes();
        }
    }
}
