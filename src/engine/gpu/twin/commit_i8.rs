//! The moves after a block for a ring of 8-bit integers.

use super::super::params::Commit;
use super::super::plan::KvHead;
use half::f16;

/// Like [`super::commit`], for words of two halves and a ring with four bytes per word, and scales.
pub(in super::super) fn commit_i8(
    p: &Commit,
    heads: &[KvHead],
    moves: &[Vec<[u32; 4]>],
    block: &[u32],
    window: &mut [u32],
    ring: &mut [u32],
) {
    let pairs = p.pairs as usize;
    let (kv_heads, words) = ((p.columns / p.pairs / 2) as usize, pairs.div_ceil(2));
    for (number, place) in heads.iter().enumerate().filter(|(_, place)| place.kind == p.kind) {
        let (layer, head) = (number / kv_heads, number % kv_heads);
        for (side, &[source, from, goal, to]) in
            (0..2).flat_map(|side| moves[place.class].iter().map(move |m| (side, m)))
        {
            let (from, to) = (from as usize, to as usize);
            let in_ring = (place.ring_at as usize + side * place.values_after as usize) / 2;
            let scales = place.scales_at as usize + side * place.scales_after as usize;
            let of_layer = side * kv_heads + head;
            let window_at = p.window_at as usize + layer * p.window_step as usize;
            let window_row =
                |row: usize| window_at + (of_layer * p.window_rows as usize + row) * pairs;
            let block_at = p.block_at as usize + layer * p.block_step as usize;
            let block_row = block_at + (of_layer * p.block_rows as usize + from) * pairs;
            let ring_row = |row: usize| in_ring + row * words;
            if goal == 1 {
                let at = window_row(to);
                window[at..at + pairs].copy_from_slice(&block[block_row..][..pairs]);
                continue;
            }
            if source == 0 {
                ring.copy_within(ring_row(from)..ring_row(from) + words, ring_row(to));
                ring[scales + to] = ring[scales + from];
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
            ring[scales + to] = scale.to_bits();
        }
    }
}
