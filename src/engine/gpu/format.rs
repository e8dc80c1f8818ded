//! The layout of weights on the GPU: quants and scales are separate, and those of four rows, a *quad*,
//! lie together, a word of each in a vector. So one load brings several values of each row, and
//! neighboring invocations read neighboring vectors. A *piece* is 16 values of a row; rows are padded
//! with zeros to whole pieces.

use crate::quant::{DType, iq4_nl, iq4_xs, k_scale_min, mxfp4, q3_k};
use half::f16;

/// Values per piece.
pub(super) const PIECE: usize = 16;

/// Rows per quad.
pub(super) const QUAD: usize = 4;

/// A layout of weights, named after the GGUF format it is closest to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the field writes these names so")]
pub enum Format {
    /// Single precision.
    F32,
    /// Half precision, in pairs.
    F16,
    /// Upper halves of singles, in pairs.
    BF16,
    /// 8 bits, f16 scales in pairs.
    Q8_0,
    /// 8 bits, an f32 scale and minimum.
    Q8_1,
    /// 4 bits, f16 scales in pairs.
    Q4_0,
    /// 4 bits, an f16 scale and minimum.
    Q4_1,
    /// 2 bits, the scales of a GGUF block.
    Q2_K,
    /// 4 bits, the scales of a GGUF block.
    Q4_K,
    /// 4 bits and 2 bits, i8 scales under an f16.
    Q6_K,
}

impl Format {
    /// All the layouts.
    pub const ALL: [Format; 10] = [
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::Q8_0,
        Format::Q8_1,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q2_K,
        Format::Q4_K,
        Format::Q6_K,
    ];

    /// The layout for weights of a type. Rare formats become wider ones that hold the same values.
    pub fn of(dtype: DType) -> Format {
        match dtype {
            DType::F32 => Format::F32,
            DType::F16 => Format::F16,
            DType::BF16 => Format::BF16,
            DType::Q8_0 | DType::Q5_0 | DType::IQ4_NL => Format::Q8_0,
            DType::Q5_1 | DType::Q5_K | DType::IQ4_XS | DType::MXFP4 => Format::Q8_1,
            DType::Q4_0 => Format::Q4_0,
            DType::Q4_1 => Format::Q4_1,
            DType::Q2_K => Format::Q2_K,
            DType::Q4_K => Format::Q4_K,
            DType::Q6_K | DType::Q3_K => Format::Q6_K,
        }
    }

    /// Words of a row's quants.
    pub(super) fn quant_words(self, pieces: usize) -> usize {
        pieces
            * match self {
                Format::F32 => 16,
                Format::F16 | Format::BF16 => 8,
                Format::Q8_0 | Format::Q8_1 => 4,
                Format::Q4_0 | Format::Q4_1 => 2,
                Format::Q6_K => 3,
                Format::Q2_K => 1,
                Format::Q4_K => 2,
            }
    }

    /// Words of a row's scales.
    pub(super) fn scale_words(self, pieces: usize) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::BF16 => 0,
            Format::Q8_0 | Format::Q4_0 => pieces.div_ceil(4),
            Format::Q8_1 => pieces,
            Format::Q4_1 => pieces / 2,
            Format::Q4_K => pieces / 4,
            Format::Q2_K | Format::Q6_K => pieces / 16 * 5,
        }
    }

    /// Bits of word `k` of a row's scales that stay together in its quad: shaders read those of four
    /// rows at once.
    fn grain(self, k: usize) -> usize {
        match self {
            Format::Q8_0 | Format::Q4_0 => 16,
            Format::Q4_K => [32, 8, 8, 8][k % 4],
            Format::Q2_K => [8, 8, 8, 8, 32][k % 5],
            Format::Q6_K => [8, 8, 8, 8, 16][k % 5],
            _ => 32,
        }
    }
}

/// A row on its way to the GPU.
#[derive(Default)]
pub(super) struct Row {
    quants: Vec<u32>,
    scales: Vec<u32>,
    grains: Vec<usize>,
}

impl Row {
    /// Takes a row of a GGUF tensor.
    pub fn read(&mut self, dtype: DType, bytes: &[u8], pieces: usize) {
        let format = Format::of(dtype);
        for (words, len) in [
            (&mut self.quants, format.quant_words(pieces)),
            (&mut self.scales, format.scale_words(pieces)),
        ] {
            words.clear();
            words.resize(len, 0);
        }
        self.grains.clear();
        self.grains.extend((0..self.scales.len()).map(|k| format.grain(k)));
        repack(dtype, bytes, &mut self.quants, &mut self.scales);
    }

    /// Writes it as row `row` of some quads, where there are zeros.
    pub fn put(&self, row: usize, quants: &mut [u32], scales: &mut [u32]) {
        let (quad, lane) = (row / QUAD, row % QUAD);
        let out = quants[QUAD * quad * self.quants.len()..].as_chunks_mut::<QUAD>().0;
        for (out, word) in out.iter_mut().zip(&self.quants) {
            out[lane] = *word;
        }
        let out = scales[QUAD * quad * self.scales.len()..].as_chunks_mut::<QUAD>().0;
        for ((out, word), grain) in out.iter_mut().zip(&self.scales).zip(&self.grains) {
            let per_word = 32 / grain;
            for i in 0..per_word {
                let part = word >> (grain * i) & (u32::MAX >> (32 - grain));
                let at = QUAD * i + lane;
                out[at / per_word] |= part << (grain * (at % per_word));
            }
        }
    }
}

/// Lays out a row of a GGUF tensor in the [`Format`] of its type. `quants` and `scales` are the
/// row's words, initially zero.
fn repack(dtype: DType, row: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    match dtype {
        DType::F32 => words(row, quants),
        DType::F16 | DType::BF16 => pairs(row, quants),
        DType::Q8_0 => blocks::<34>(row, |unit, block| {
            scale_in_pair(scales, unit, [block[0], block[1]]);
            words(&block[2..], &mut quants[8 * unit..]);
        }),
        DType::Q5_0 => blocks::<22>(row, |unit, block| {
            scale_in_pair(scales, unit, [block[0], block[1]]);
            // `q - 16` fits a signed byte.
            let q = five_bits(&block[2..]).map(|q| q.wrapping_sub(16));
            words(&q, &mut quants[8 * unit..]);
        }),
        DType::Q5_1 => blocks::<24>(row, |unit, block| {
            scales[2 * unit] = half(&block[..2]).to_bits();
            scales[2 * unit + 1] = half(&block[2..4]).to_bits();
            words(&five_bits(&block[4..]), &mut quants[8 * unit..]);
        }),
        DType::Q4_0 => blocks::<18>(row, |unit, block| {
            scale_in_pair(scales, unit, [block[0], block[1]]);
            nibbles(&split_halves(&block[2..]), &mut quants[4 * unit..]);
        }),
        DType::Q4_1 => blocks::<20>(row, |unit, block| {
            words(&block[..4], &mut scales[unit..]);
            nibbles(&split_halves(&block[4..]), &mut quants[4 * unit..]);
        }),
        DType::Q4_K => blocks::<144>(row, |number, block| {
            four_bit_k_scales(block, &mut scales[4 * number..]);
            let lower_then_upper = block[16..].chunks_exact(32);
            for (groups, bytes) in lower_then_upper.enumerate() {
                let at = 32 * number + 8 * groups;
                nibbles(&bytes.iter().map(|b| b & 15).collect::<Vec<_>>(), &mut quants[at..]);
                nibbles(&bytes.iter().map(|b| b >> 4).collect::<Vec<_>>(), &mut quants[at + 4..]);
            }
        }),
        DType::Q5_K => {
            blocks::<176>(row, |number, block| five_bit_k(number, block, quants, scales))
        }
        DType::Q6_K => blocks::<210>(row, |number, block| six_bit_k(number, block, quants, scales)),
        DType::Q3_K => {
            blocks::<110>(row, |number, block| three_bit_k(number, block, quants, scales))
        }
        DType::Q2_K => blocks::<84>(row, |number, block| two_bit_k(number, block, quants, scales)),
        DType::IQ4_NL => blocks::<18>(row, |unit, block| {
            scale_in_pair(scales, unit, [block[0], block[1]]);
            levels(&iq4_nl::LEVELS, &block[2..], &mut quants[8 * unit..]);
        }),
        DType::IQ4_XS => blocks::<136>(row, |number, block| {
            let d = half(&block[..2]);
            let packed = std::array::from_fn(|i| block[2 + i]);
            for (group, scale) in iq4_xs::scales(&packed).into_iter().enumerate() {
                let unit = 8 * number + group;
                scales[2 * unit] = (d * f32::from(scale)).to_bits();
                levels(&iq4_nl::LEVELS, &block[8 + 16 * group..], &mut quants[8 * unit..]);
            }
        }),
        DType::MXFP4 => blocks::<17>(row, |unit, block| {
            scales[2 * unit] = mxfp4::scale(block[0]).to_bits();
            levels(&mxfp4::LEVELS, &block[1..], &mut quants[8 * unit..]);
        }),
    }
}

/// The 32 numbers of 16 bytes, each one of `levels`, as signed bytes.
fn levels(levels: &[i8; 16], bytes: &[u8], quants: &mut [u32]) {
    words(&split_halves(bytes).map(|q| levels[usize::from(q)] as u8), quants);
}

fn blocks<const BYTES: usize>(row: &[u8], mut each: impl FnMut(usize, &[u8; BYTES])) {
    row.as_chunks().0.iter().enumerate().for_each(|(number, block)| each(number, block));
}

fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Bytes in order, four per word.
fn words(bytes: &[u8], out: &mut [u32]) {
    for (word, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
}

/// Two-byte values in order, two per word; the last may stand alone.
fn pairs(bytes: &[u8], out: &mut [u32]) {
    for (word, pair) in out.iter_mut().zip(bytes.chunks(4)) {
        let mut whole = [0; 4];
        whole[..pair.len()].copy_from_slice(pair);
        *word = u32::from_le_bytes(whole);
    }
}

/// Numbers below 16, eight per word: the first four in the lower nibbles of its bytes.
fn nibbles(values: &[u8], out: &mut [u32]) {
    for (word, [a, b]) in out.iter_mut().zip(values.as_chunks::<4>().0.as_chunks().0) {
        *word = u32::from_le_bytes(*a) | u32::from_le_bytes(*b) << 4;
    }
}

/// Numbers below 4, sixteen to a word: the first four in the lowest bits of its bytes.
fn crumbs(values: [u8; PIECE]) -> u32 {
    let fours = values.as_chunks().0.iter().enumerate();
    fours.fold(0, |word, (i, four)| word | u32::from_le_bytes(*four) << (2 * i))
}

/// The scales of a block of Q4_K: two f16, then a byte for each pair of groups, three times: the lower
/// nibbles of scale and minimum of the first, of the second, and the bits above those.
fn four_bit_k_scales(block: &[u8; 144], scales: &mut [u32]) {
    let packed = std::array::from_fn(|i| block[4 + i]);
    let bytes: [[u8; 3]; 4] = std::array::from_fn(|pair| {
        let [(a, b), (c, d)] = [0, 1].map(|i| k_scale_min(&packed, 2 * pair + i));
        let upper = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6;
        [a & 15 | (b & 15) << 4, c & 15 | (d & 15) << 4, upper]
    });
    words(&block[..4], scales);
    for (i, word) in scales[1..4].iter_mut().enumerate() {
        *word = u32::from_le_bytes(bytes.map(|of_pair| of_pair[i]));
    }
}

fn scale_in_pair(scales: &mut [u32], unit: usize, bytes: [u8; 2]) {
    scales[unit / 2] |= u32::from(u16::from_le_bytes(bytes)) << (unit % 2 * 16);
}

/// The 32 numbers of 16 bytes: those in lower nibbles come first.
fn split_halves(bytes: &[u8]) -> [u8; 32] {
    std::array::from_fn(|i| bytes[i % 16] >> (i / 16 * 4) & 15)
}

/// The 32 numbers of a Q5_0 or Q5_1 block: a word of upper bits, then nibbles.
fn five_bits(bytes: &[u8]) -> [u8; 32] {
    let lower = split_halves(&bytes[4..]);
    std::array::from_fn(|i| lower[i] | (bytes[i / 8] >> (i % 8) & 1) << 4)
}

fn five_bit_k(number: usize, block: &[u8; 176], quants: &mut [u32], scales: &mut [u32]) {
    let (d, dmin) = (half(&block[..2]), half(&block[2..4]));
    let mut packed = [0; 12];
    packed.copy_from_slice(&block[4..16]);
    let (high, low) = block[16..].split_at(32);
    for group in 0..8 {
        let (scale, min) = k_scale_min(&packed, group);
        let unit = 8 * number + group;
        scales[2 * unit] = (d * f32::from(scale)).to_bits();
        scales[2 * unit + 1] = (-dmin * f32::from(min)).to_bits();
        let q: [u8; 32] = std::array::from_fn(|i| {
            low[group / 2 * 32 + i] >> (group % 2 * 4) & 15 | (high[i] >> group & 1) << 4
        });
        words(&q, &mut quants[8 * unit..]);
    }
}

fn six_bit_k(number: usize, block: &[u8; 210], quants: &mut [u32], scales: &mut [u32]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let scales = &mut scales[5 * number..][..5];
    words(&rest[..16], scales);
    scales[4] = u32::from(u16::from_le_bytes([rest[16], rest[17]]));
    for piece in 0..16 {
        // The values of a half are in four rows of 32; see `quant::q6_k`.
        let (upper_half, row, start) = (piece / 8, piece % 8 / 2, piece % 2 * 16);
        let low = &low[64 * upper_half + 32 * (row % 2) + start..][..16];
        let high = &high[32 * upper_half + start..][..16];
        let out = &mut quants[3 * (16 * number + piece)..][..3];
        let lower: Vec<u8> = low.iter().map(|b| b >> (row / 2 * 4) & 15).collect();
        nibbles(&lower, out);
        out[2] = crumbs(std::array::from_fn(|i| high[i] >> (2 * row) & 3));
    }
}

/// As Q6_K has it: three bits are six, and the scales are signed bytes.
fn three_bit_k(number: usize, block: &[u8; 110], quants: &mut [u32], scales: &mut [u32]) {
    let (high, rest) = block.split_at(32);
    let (low, rest) = rest.split_at(64);
    let scales = &mut scales[5 * number..][..5];
    let packed = std::array::from_fn(|i| rest[i]);
    words(&q3_k::scales(&packed).map(|scale| scale as u8), scales);
    scales[4] = u32::from(u16::from_le_bytes([rest[12], rest[13]]));
    for piece in 0..16 {
        let (row, start) = (piece / 2, piece % 2 * 16);
        let q: [u8; 16] = std::array::from_fn(|i| {
            let low = low[32 * (row / 4) + start + i] >> (row % 4 * 2) & 3;
            // From 4 in the middle to 32.
            (low | (high[start + i] >> row & 1) << 2) + 28
        });
        let out = &mut quants[3 * (16 * number + piece)..][..3];
        nibbles(&q.map(|q| q & 15), out);
        out[2] = crumbs(q.map(|q| q >> 4));
    }
}

fn two_bit_k(number: usize, block: &[u8; 84], quants: &mut [u32], scales: &mut [u32]) {
    words(&block[..16], &mut scales[5 * number..]);
    scales[5 * number + 4] = u32::from_le_bytes([block[80], block[81], block[82], block[83]]);
    for piece in 0..16 {
        let bytes = &block[16 + 32 * (piece / 8) + piece % 2 * 16..][..16];
        let shift = piece / 2 % 4 * 2;
        quants[16 * number + piece] = crumbs(std::array::from_fn(|i| bytes[i] >> shift & 3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_reported_sizes() {
        for dtype in DType::ALL {
            let format = Format::of(dtype);
            let cols = 3 * dtype.block_len().max(5);
            let pieces = cols.div_ceil(PIECE);
            let bytes = vec![0xa5; dtype.bytes_of(cols).unwrap()];
            let mut row = Row::default();
            row.read(dtype, &bytes, pieces);
            assert_eq!(row.quants.len(), format.quant_words(pieces));
            assert_eq!(row.scales.len(), format.scale_words(pieces));
            assert!(row.quants.iter().any(|&w| w != 0), "{dtype}");
        }
    }

    /// Each grain's bits once, beside those of the other rows.
    #[test]
    fn rows_of_a_quad_lie_side_by_side() {
        let row = |lane: u32| Row {
            quants: vec![lane, 10 + lane],
            scales: vec![0x0302_0100 + lane * 0x1010_1010, 0x0001_0000 + lane * 0x0010_0010, lane],
            grains: vec![8, 16, 32],
        };
        let (mut quants, mut scales) = (vec![0; 16], vec![0; 24]);
        for lane in 0..4 {
            row(lane).put(4 + lane as usize, &mut quants, &mut scales);
        }
        assert_eq!(quants[..8], [0; 8]);
        assert_eq!(quants[8..], [0, 1, 2, 3, 10, 11, 12, 13]);
        assert_eq!(scales[..12], [0; 12]);
        let bytes = [0x3020_1000, 0x3121_1101, 0x3222_1202, 0x3323_1303];
        assert_eq!(scales[12..16], bytes);
        assert_eq!(scales[16..20], [0x0010_0000, 0x0030_0020, 0x0011_0001, 0x0031_0021]);
        assert_eq!(scales[20..], [0, 1, 2, 3]);
    }
}
