//! The moves after a block for a ring of 4-bit integers.

use super::super::params::Commit;
use super::super::plan::KvHead;
use crate::engine::nibbles;

/// Like [`super::commit`], for words of two halves and a ring with eight values per word, the scales
/// of a row after them.
pub(in super::super) fn commit_i4(
    p: &Commit,
    heads: &[KvHead],
    moves: &[Vec<[u32; 4]>],
    block: &[u32],
    window: &mut [u32],
    ring: &mut [u32],
) {
    let pairs = p.pairs as usize;
    let (kv_heads, words) = ((p.columns / p.pairs / 2) as usize, nibbles::words(2 * pairs));
    for (number, place) in heads.iter().enumerate().filter(|(_, place)| place.kind == p.kind) {
        let (layer, head) = (number / kv_heads, number % kv_heads);
        for (side, &[source, from, goal, to]) in
            (0..2).flat_map(|side| moves[place.class].iter().map(move |m| (side, m)))
        {
            let (from, to) = (from as usize, to as usize);
            let in_ring = (place.ring_at as usize + side * place.values_after as usize) / 4;
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
                continue;
            }
            let near = match source {
                1 => &window[window_row(from)..][..pairs],
                _ => &block[block_row..][..pairs],
            };
            let near: Vec<u16> = near.iter().flat_map(|w| [*w as u16, (*w >> 16) as u16]).collect();
            ring[ring_row(to)..][..words].copy_from_slice(&nibbles::stored(&near));
        }
    }
}
