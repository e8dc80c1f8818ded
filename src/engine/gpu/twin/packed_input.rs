//! How integer products round their input: pieces of integers with a scale each.

use super::super::format::PIECE;

/// The largest integer, as in `shaders/shared/packed_input.wgsl`.
const GREATEST: f32 = 32512.0;

/// Rounds `values` in place.
pub(super) fn round(values: &mut [f32]) {
    for piece in values.chunks_mut(PIECE) {
        let greatest = piece.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let inverse = if greatest > 1e-30 { GREATEST / greatest } else { 0.0 };
        for value in piece {
            *value = greatest / GREATEST * (*value * inverse).round_ties_even();
        }
    }
}
