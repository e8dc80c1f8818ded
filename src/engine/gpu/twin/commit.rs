//! The moves after a block.

use super::super::params::Commit;
use super::super::plan::KvHead;

/// A pair is `words` words. `heads` are those of the layers, one layer after the other; the class of
/// each is the index of its moves. A move is source place and row, then destination place and row;
/// places are ring, window and block.
pub(in super::super) fn commit(
    p: &Commit,
    words: usize,
    heads: &[KvHead],
    moves: &[Vec<[u32; 4]>],
    block: &[u32],
    window: &mut [u32],
    ring: &mut [u32],
) {
    let pairs = p.pairs as usize;
    let kv_heads = (p.columns / p.pairs / 2) as usize;
    for (number, place) in heads.iter().enumerate().filter(|(_, place)| place.kind == p.kind) {
        let (layer, head) = (number / kv_heads, number % kv_heads);
        for (side, &[source, from, goal, to]) in
            (0..2).flat_map(|side| moves[place.class].iter().map(move |m| (side, m)))
        {
            let row_at = |of: u32, row: u32| {
                let start = match of {
                    0 => (place.ring_at + side as u32 * place.values_after) as usize,
                    of => {
                        let (at, step, rows) = match of {
                            1 => (p.window_at, p.window_step, p.window_rows),
                            _ => (p.block_at, p.block_step, p.block_rows),
                        };
                        let head = (side * kv_heads + head) * rows as usize;
                        at as usize + layer * step as usize + head * pairs
                    }
                };
                (start + row as usize * pairs) * words
            };
            let from = row_at(source, from);
            let row = match source {
                0 => &ring[from..],
                1 => &window[from..],
                _ => &block[from..],
            }[..pairs * words]
                .to_vec();
            let to = row_at(goal, to);
            let place = if goal == 0 { &mut *ring } else { &mut *window };
            place[to..to + row.len()].copy_from_slice(&row);
        }
    }
}
