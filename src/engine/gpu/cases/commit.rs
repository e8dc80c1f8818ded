//! The moves after a block.

use super::numbers::Numbers;
use super::{Case, Expected, Values, arena, stored};
use crate::engine::KvType;
use crate::engine::gpu::moves::Chains;
use crate::engine::gpu::params;
use crate::engine::gpu::plan::{HEADS, KvHead, MOVES};
use crate::engine::gpu::twin;
use crate::engine::nibbles;

/// With rings of a type.
pub(super) fn commit(numbers: &mut Numbers, kv: KvType) -> Case {
    let words = if kv == KvType::F32 { 2 } else { 1 };
    let pairs = match kv {
        KvType::I4 => 16 << numbers.below(4),
        _ => 1 + numbers.below(40),
    };
    let (kv_heads, layers) = (1 + numbers.below(3), 1 + numbers.below(3));
    let rows = [1 + numbers.below(9), 1 + numbers.below(9), 1 + numbers.below(9)];
    let columns = 2 * kv_heads * pairs;
    let layer = numbers.below(3);
    let p = params::Commit {
        layer,
        pairs,
        columns,
        kind: numbers.below(2),
        window_rows: rows[1],
        block_rows: rows[2],
        window_at: 2,
        window_step: columns * rows[1] + 1,
        block_at: 0,
        block_step: columns * rows[2],
    };
    // Rows of integers are whole words, each of which counts as two pairs or four; the scales of
    // those in eight bits follow.
    let of_word = match kv {
        KvType::I8 => 2,
        KvType::I4 => 4,
        KvType::F16 | KvType::F32 => 1,
    };
    let row = match kv {
        KvType::I4 => 4 * nibbles::words(2 * pairs as usize) as u32,
        _ => pairs.next_multiple_of(of_word),
    };
    let scales = if kv == KvType::I8 { 2 * rows[0] } else { 0 };
    let mut ring_pairs = 4;
    let mut heads = Vec::new();
    for _ in 0..layers * kv_heads {
        let other = numbers.below(4) == 0;
        let both = 2 * rows[0] * row;
        heads.push(KvHead {
            class: numbers.below(layers) as usize,
            kind: if other { 1 - p.kind } else { p.kind },
            ring_at: ring_pairs,
            values_after: both / 2,
            scales_at: (ring_pairs + both) / of_word,
            scales_after: rows[0],
        });
        ring_pairs += both + of_word * scales;
    }
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
    let mut ring = some((ring_pairs / of_word) as usize * words);
    let (window_before, ring_before) = (window.clone(), ring.clone());
    match kv {
        KvType::I8 => twin::commit_i8(&p, &heads, &moves, &block, &mut window, &mut ring),
        KvType::I4 => twin::commit_i4(&p, &heads, &moves, &block, &mut window, &mut ring),
        _ => twin::commit(&p, words, &heads, &moves, &block, &mut window, &mut ring),
    }
    let slices = 1 + numbers.below(4);
    let mut arena = arena(1);
    arena.list(HEADS);
    // Those of the layers before.
    arena.push(vec![0; (6 * layer * kv_heads) as usize]);
    for head in &heads {
        arena.push(head.words(head.class as u32));
    }
    arena.list(MOVES);
    let mut at = arena.len() as u32 + 2 * layers;
    for list in &moves {
        arena.push([at, list.len() as u32]);
        at += 4 * list.len() as u32;
    }
    for list in &moves {
        Chains::default().sort(list.iter().copied(), |m| arena.push(m));
    }
    let exactly = |binding, words| Expected { binding, values: Values::Words(words) };
    let ring = match kv {
        KvType::I8 => Expected { binding: 3, values: Values::Integers(ring) },
        KvType::I4 => Expected { binding: 3, values: Values::Nibbles(ring) },
        _ => exactly(3, ring),
    };
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![arena.words().to_vec(), block, window_before, ring_before],
        items: [if of_word > 1 { 2 * kv_heads } else { columns }, layers, slices],
        expected: vec![exactly(2, window), ring],
    }
}
