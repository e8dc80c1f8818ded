//! The moves after a block.

use super::numbers::Numbers;
use super::{Case, Expected, Values, arena, stored};
use crate::engine::KvType;
use crate::engine::gpu::params;
use crate::engine::gpu::plan::MOVES;
use crate::engine::gpu::twin;

/// With keys and values of a given type, or with an integer ring.
pub(super) fn commit(numbers: &mut Numbers, kv: Option<KvType>) -> Case {
    let words = if kv == Some(KvType::F32) { 2 } else { 1 };
    let (pairs, kv_heads, layers) =
        (1 + numbers.below(40), 1 + numbers.below(3), 1 + numbers.below(3));
    let rows = [1 + numbers.below(9), 1 + numbers.below(9), 1 + numbers.below(9)];
    let columns = 2 * kv_heads * pairs;
    let layer = numbers.below(3);
    // A word of the integer ring counts as two pairs; a row has a scale in addition to its words.
    let ring_step = match kv {
        Some(_) => columns * rows[0],
        None => 2 * 2 * kv_heads * rows[0] * (pairs.div_ceil(2) + 1),
    };
    let p = params::Commit {
        layer,
        pairs,
        columns,
        ring_rows: rows[0],
        window_rows: rows[1],
        block_rows: rows[2],
        ring_at: 2,
        ring_step,
        window_at: 2,
        window_step: columns * rows[1] + 1,
        block_at: 0,
        block_step: columns * rows[2],
    };
    let moves: Vec<Vec<[u32; 4]>> = (0..layers)
        .map(|_| {
            let count = numbers.below(12);
            (0..count)
                .map(|_| {
                    let source = numbers.below(3);
                    // Only rows of the block go to the window.
                    let goal = if source == 2 { numbers.below(2) } else { 0 };
                    let from = numbers.below(rows[source as usize]);
                    [source, from, goal, numbers.below(rows[goal as usize])]
                })
                .collect()
        })
        .collect();
    let len = |at: u32, step: u32| (at + layers * step) as usize * words;
    // Halves that are not NaN, so that they can be converted to integers.
    let mut some = |len: usize| -> Vec<u32> {
        (0..len).map(|_| stored(KvType::F16, &[numbers.uniform(), numbers.uniform()])[0]).collect()
    };
    let block = some(len(p.block_at, p.block_step));
    let mut window = some(len(p.window_at, p.window_step));
    let in_ring = len(p.ring_at, p.ring_step);
    let mut ring = some(if kv.is_some() { in_ring } else { in_ring / 2 });
    let (window_before, ring_before) = (window.clone(), ring.clone());
    match kv {
        Some(_) => twin::commit(&p, words, &moves, &block, &mut window, &mut ring),
        None => twin::commit_i8(&p, &moves, &block, &mut window, &mut ring),
    }
    let mut arena = arena(1, 1);
    arena.list(MOVES);
    arena.push(vec![0; 2 * layer as usize]);
    let mut at = arena.len() as u32 + 2 * layers;
    for list in &moves {
        arena.push([at, list.len() as u32]);
        at += 4 * list.len() as u32;
    }
    arena.push(moves.iter().flatten().flatten().copied());
    let exactly = |binding, words| Expected { binding, values: Values::Words(words) };
    let ring = match kv {
        Some(_) => exactly(3, ring),
        None => Expected { binding: 3, values: Values::Integers(ring) },
    };
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![arena.words().to_vec(), block, window_before, ring_before],
        items: [if kv.is_some() { columns } else { 2 * kv_heads }, layers, 1],
        expected: vec![exactly(2, window), ring],
    }
}
