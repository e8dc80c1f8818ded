//! The moves after a block.

use super::super::params::Commit;

/// A pair is `words` words. A move is source place and row, then destination place and row; places
/// are ring, window and block.
pub(in super::super) fn commit(
    p: &Commit,
    words: usize,
    moves: &[Vec<[u32; 4]>],
    block: &[u32],
    window: &mut [u32],
    ring: &mut [u32],
) {
    let pairs = p.pairs as usize;
    for (layer, moves) in moves.iter().enumerate() {
        for &[source, from, goal, to] in moves {
            for head in 0..(p.columns / p.pairs) as usize {
                let row_at = |place: u32, row: u32| {
                    let (at, step, rows) = match place {
                        0 => (p.ring_at, p.ring_step, p.ring_rows),
                        1 => (p.window_at, p.window_step, p.window_rows),
                        _ => (p.block_at, p.block_step, p.block_rows),
                    };
                    let start = at as usize + layer * step as usize;
                    (start + (head * rows as usize + row as usize) * pairs) * words
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
}
