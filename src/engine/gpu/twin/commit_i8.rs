//! The moves after a block for a ring of 8-bit integers.

use super::super::params::Commit;
use half::f16;

/// Like [`super::commit`], for words of two halves and a ring with four bytes per word followed by
/// scales.
pub(in super::super) fn commit_i8(
    p: &Commit,
    moves: &[Vec<[u32; 4]>],
    block: &[u32],
    window: &mut [u32],
    ring: &mut [u32],
) {
    let pairs = p.pairs as usize;
    let (heads, words) = ((p.columns / p.pairs) as usize, pairs.div_ceil(2));
    let ring_rows = p.ring_rows as usize;
    for (layer, moves) in moves.iter().enumerate() {
        let in_ring = (p.ring_at as usize + layer * p.ring_step as usize) / 2;
        let scales = in_ring + heads * ring_rows * words;
        for &[source, from, goal, to] in moves {
            let (from, to) = (from as usize, to as usize);
            for head in 0..heads {
                let window_at = p.window_at as usize + layer * p.window_step as usize;
                let window_row =
                    |row: usize| window_at + (head * p.window_rows as usize + row) * pairs;
                let block_at = p.block_at as usize + layer * p.block_step as usize;
                let block_row = block_at + (head * p.block_rows as usize + from) * pairs;
                let ring_row = |row: usize| in_ring + (head * ring_rows + row) * words;
                let scale_of = |row: usize| scales + head * ring_rows + row;
                if goal == 1 {
                    let at = window_row(to);
                    window[at..at + pairs].copy_from_slice(&block[block_row..][..pairs]);
                    continue;
                }
                if source == 0 {
                    ring.copy_within(ring_row(from)..ring_row(from) + words, ring_row(to));
                    ring[scale_of(to)] = ring[scale_of(from)];
                    continue;
                }
                let near = match source {
                    1 => &window[window_row(from)..][..pairs],
                    _ => &block[block_row..][..pairs],
                };
                let halves = near.iter().flat_map(|w| [*w as u16, (*w >> 16) as u16]);
                let values: Vec<f32> = halves.map(|h| f16::from_bits(h).to_f32()).collect();
                let scale = values.iter().fold(0.0f32, |most, v| most.max(v.abs())) / 127.0;
                let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                for (word, four) in values.chunks(4).enumerate() {
                    let mut bytes = [0; 4];
                    for (byte, value) in bytes.iter_mut().zip(four) {
                        *byte = (value * inverse).round_ties_even() as i8 as u8;
                    }
                    ring[ring_row(to) + word] = u32::from_le_bytes(bytes);
                }
                ring[scale_of(to)] = scale.to_bits();
            }
        }
    }
}
