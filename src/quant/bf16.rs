//! BF16: the upper half of an f32, 2 bytes per value.
//!
//! Rounded to nearest, ties to even. A NaN keeps its upper bits and becomes quiet: its payload
//! might be in the lower half only, and what is left would be an infinity.

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8; 2], out: &mut [f32; 1]) {
    *out = [f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16)];
}

#[inline(always)]
pub(super) fn quantize(value: &[f32; 1], out: &mut [u8; 2]) {
    let bits = value[0].to_bits();
    let upper = if bits & 0x7fff_ffff > 0x7f80_0000 {
        bits >> 16 | 0x40
    } else {
        (bits + 0x7fff + (bits >> 16 & 1)) >> 16
    };
    *out = (upper as u16).to_le_bytes();
}
