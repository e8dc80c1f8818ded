//! The scales and minima of Q4_K and Q5_K: eight of each, 6 bits, in 12 bytes.
//!
//! | bytes | bits 0..4 | bits 4..6 | bits 6..8 |
//! |---|---|---|---|
//! | `j`, j < 4 | scale `j` | scale `j` | top of scale `j + 4` |
//! | `4 + j` | minimum `j` | minimum `j` | top of minimum `j + 4` |
//! | `8 + j` | scale `j + 4` | minimum `j + 4` | minimum `j + 4` |
//!
//! Layout: `get_scale_min_k4` of ggml.

/// Scale and minimum, both in 0..64, of group `j` of the eight.
#[inline(always)]
pub(crate) fn k_scale_min(packed: &[u8; 12], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    }
}

/// The 12 bytes of eight scales and minima in 0..64.
pub(super) fn pack(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    for j in 0..4 {
        packed[j] = scales[j] | scales[j + 4] >> 4 << 6;
        packed[j + 4] = mins[j] | mins[j + 4] >> 4 << 6;
        packed[j + 8] = scales[j + 4] & 15 | (mins[j + 4] & 15) << 4;
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_scales_unpack(scales: [u8; 8], mins: [u8; 8]) {
            let (scales, mins) = (scales.map(|s| s & 63), mins.map(|m| m & 63));
            let packed = pack(&scales, &mins);
            for j in 0..8 {
                prop_assert_eq!(k_scale_min(&packed, j), (scales[j], mins[j]));
            }
        }
    }
}
