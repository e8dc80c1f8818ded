//! Attention.

use super::numbers::Numbers;
use super::{Case, bits, floats, split_arena, stored};
use crate::cache::{Place, Run};
use crate::engine::KvType;
use crate::engine::gpu::kernel::{Heads, Kernel};
use crate::engine::gpu::params;
use crate::engine::gpu::permutations::columns_of_tile;
use crate::engine::gpu::plan::{HEADS, KvHead, SEEN, Split, Tiling, place};
use crate::engine::gpu::twin;
use crate::engine::nibbles::{self, BYTES, VALUES};
use half::f16;

/// Some runs over the three places. No row is in two of them.
fn runs(numbers: &mut Numbers, rows: [u32; 3]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (place, rows) in [Place::Ring, Place::Window, Place::Block].into_iter().zip(rows) {
        for [from, to] in [[0, rows / 2], [rows / 2, rows]] {
            if from == to {
                continue;
            }
            let first = from + numbers.below(to - from);
            let step = 1 + numbers.below(3);
            let most = (to - first).div_ceil(step);
            let len = if place == Place::Block { most } else { numbers.below(most + 1) };
            if len > 0 {
                runs.push(Run { place, first, step, len });
            }
        }
    }
    runs
}

/// The ring of one KV head: its keys, then its values.
struct Ring {
    values: Vec<f32>,
    /// As they are stored, and the scales of the rows if they have any.
    words: Vec<u32>,
    scales: Vec<u32>,
}

impl Ring {
    fn new(numbers: &mut Numbers, kv: KvType, rows: u32, head_dim: u32) -> Ring {
        let (rows, n) = (2 * rows as usize, head_dim as usize);
        if kv == KvType::I4 {
            // Rotated rows of random integers.
            let mut ring = Ring { values: Vec::new(), words: Vec::new(), scales: Vec::new() };
            for _ in 0..rows {
                let bytes = n / VALUES * BYTES;
                let mut row: Vec<u8> = (0..bytes).map(|_| numbers.bits() as u8).collect();
                let scales: Vec<f16> =
                    (0..n / VALUES).map(|_| f16::from_f32(numbers.uniform() - 0.5)).collect();
                ring.values.extend(nibbles::loaded(&row, &scales));
                row.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
                row.resize(row.len().next_multiple_of(4), 0);
                ring.words.extend(row.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)));
            }
            return ring;
        }
        if kv != KvType::I8 {
            let values = rounded(kv, numbers.floats(rows * n, 1.5));
            return Ring { words: stored(kv, &values), values, scales: Vec::new() };
        }
        let (mut values, mut words, mut scales) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            let row: Vec<i8> = (0..n).map(|_| numbers.bits() as i8).collect();
            let scale = 0.02 + 0.01 * numbers.uniform();
            values.extend(row.iter().map(|q| scale * f32::from(*q)));
            let mut bytes: Vec<u8> = row.iter().map(|q| *q as u8).collect();
            bytes.resize(n.next_multiple_of(4), 0);
            words.extend(bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)));
            scales.push(scale.to_bits());
        }
        Ring { values, words, scales }
    }
}

/// The values that are left when these are stored in window or block.
fn rounded(kv: KvType, values: Vec<f32>) -> Vec<f32> {
    match kv {
        KvType::F32 => values,
        _ => values.into_iter().map(|v| f16::from_f32(v).to_f32()).collect(),
    }
}

pub(super) fn attend(numbers: &mut Numbers, kernel: Kernel, kv: KvType, head_dim: u32) -> Case {
    let group = match kernel {
        Kernel::Attend { heads: Heads::One, .. } => 1,
        Kernel::AttendTile { .. } => 1 + numbers.below(9),
        _ => 2 + numbers.below(4),
    };
    let tiled = matches!(kernel, Kernel::AttendTile { .. });
    let quads = match kernel {
        Kernel::Attend { heads: Heads::One, .. } => group,
        Kernel::AttendTile { .. } => head_dim.div_ceil(columns_of_tile(head_dim)),
        _ => group.div_ceil(4),
    };
    let tiling = Tiling::new(group as usize, false);
    let kv_heads = 1 + numbers.below(3);
    let heads = group * kv_heads;
    let whole = tiled || numbers.below(3) > 0;
    let tokens = match whole {
        true if tiled => 1 + numbers.below(2 * tiling.tokens as u32 + 2),
        true => 1 + numbers.below(3),
        false => 1,
    };
    let [window_rows, block_rows] = [1 + numbers.below(20), tokens];
    let n = head_dim as usize;
    let p = params::Attend {
        heads,
        shared_by: group,
        kv_heads,
        q_stride: heads * head_dim + 4,
        out_stride: heads * head_dim + 2,
        first_head: 1 + numbers.below(3),
        kind: numbers.below(2),
        // Whole vectors, as rows are if they are multiples of eight values wide.
        window_at: 4,
        block_at: 8,
        window_rows,
        block_rows,
        scale: 1.0 / (n as f32).sqrt(),
    };
    let q = numbers.floats((tokens * p.q_stride) as usize, 3.0);
    let [window, block] =
        [(p.window_at, window_rows), (p.block_at, block_rows)].map(|(at, rows)| {
            let len = 2 * at + 2 * kv_heads * rows * head_dim;
            rounded(kv, numbers.floats(len as usize, 1.5))
        });
    // Every head has a ring and a schedule of its own; some are of another kind, and left out.
    let mut places = vec![KvHead::default(); p.first_head as usize];
    let mut rings = Vec::new();
    let mut words = vec![0; 4];
    for number in 0..kv_heads {
        let rows = 1 + numbers.below(200);
        let ring = Ring::new(numbers, kv, rows, head_dim);
        // A word of integers counts as two pairs or four, and two words of floats as one.
        let pairs = |words: usize| match kv {
            KvType::F32 => words / 2,
            KvType::F16 => words,
            KvType::I8 => 2 * words,
            KvType::I4 => 4 * words,
        };
        let other = kv_heads > 1 && numbers.below(4) == 0;
        places.push(KvHead {
            class: number as usize + 1,
            kind: if other { 1 - p.kind } else { p.kind },
            ring_at: pairs(words.len()) as u32,
            values_after: pairs(ring.words.len() / 2) as u32,
            scales_at: (words.len() + ring.words.len()) as u32,
            scales_after: rows,
        });
        words.extend(ring.words.iter().chain(&ring.scales));
        // The next one begins at a whole vector.
        words.resize(words.len().next_multiple_of(4), 0);
        rings.push((rows, ring.values));
    }
    let lists: Vec<Vec<Vec<Run>>> = rings
        .iter()
        .map(|(rows, _)| {
            let mut lists: Vec<Vec<Run>> = Vec::new();
            for _ in 0..tokens {
                // Neighbors of a tile often see the same.
                let same = lists.last().filter(|_| tiled && numbers.below(3) > 0).cloned();
                let new = || runs(numbers, [*rows, window_rows, block_rows]);
                lists.push(same.unwrap_or_else(new));
            }
            lists
        })
        .collect();
    // The head that sees most has three parts, others one to three.
    let longest = lists.iter().flatten().map(|list| crate::cache::rows(list)).max().unwrap_or(1);
    let split = match whole {
        true => Split::WHOLE,
        false => Split { parts: 3, rows: longest.div_ceil(3) as u32 },
    };
    let mut arena = split_arena(tokens, split);
    arena.list(HEADS);
    for place in &places {
        arena.push(place.words(place.class as u32));
    }
    arena.list(SEEN);
    // First those of a schedule that no head follows.
    let mut at = arena.len() + 4 * (tokens * (1 + kv_heads)) as usize;
    arena.push(vec![0; 4 * tokens as usize]);
    for list in lists.iter().flatten() {
        let seen = crate::cache::rows(list);
        arena.push([at, list.len(), seen, 0].map(|n| n as u32));
        at += 4 * list.len();
    }
    for run in lists.iter().flatten().flatten() {
        arena.push([place(run.place), run.first, run.step, run.len]);
    }
    if tiled {
        // The same, with nothing for the schedule that no head follows.
        let visible = |schedule: usize, token: usize| match schedule {
            0 => &[],
            _ => &lists[schedule - 1][token][..],
        };
        arena.tiles_of(1 + lists.len(), visible, tokens as usize, tiling.tokens);
    }

    let mut out = vec![0.0; (tokens * p.out_stride) as usize];
    let mut parts = vec![0.0; (split.parts * heads * (head_dim + 2)) as usize];
    let (out_before, parts_before) = (bits(&out), bits(&parts));
    for head in 0..heads as usize {
        let kv_head = head / group as usize;
        if places[p.first_head as usize + kv_head].kind != p.kind {
            continue;
        }
        let of_places = [&rings[kv_head].1[..], &window[..], &block[..]];
        for (token, list) in lists[kv_head].iter().enumerate() {
            let q = &q[token * p.q_stride as usize + head * n..][..n];
            if whole {
                let (sum, _, weight) = twin::attend_part(&p, n, q, of_places, list, head);
                let out = &mut out[token * p.out_stride as usize + head * n..][..n];
                out.iter_mut().zip(sum).for_each(|(o, s)| *o = s / weight);
                continue;
            }
            let seen: Vec<Run> = list
                .iter()
                .flat_map(|r| (0..r.len).map(|i| Run { first: r.first + i * r.step, len: 1, ..*r }))
                .collect();
            for (part, seen) in seen.chunks(split.rows as usize).enumerate() {
                let (sum, most, weight) = twin::attend_part(&p, n, q, of_places, seen, head);
                let at = (part * heads as usize + head) * (n + 2);
                parts[at..at + n].copy_from_slice(&sum);
                parts[at + n] = most;
                parts[at + n + 1] = weight;
            }
        }
    }
    let [window, block] = [window, block].map(|values| stored(kv, &values));
    let mut bindings =
        vec![arena.words().to_vec(), bits(&q), words, window, block, out_before, parts_before];
    let mut expected = vec![floats(5, out), floats(6, parts)];
    let mut items = [kv_heads * quads, tokens, split.parts];
    if tiled {
        bindings.truncate(6);
        expected.truncate(1);
        items[1] = tokens.div_ceil(tiling.tokens as u32);
    }
    Case { params: bytemuck::bytes_of(&p).to_vec(), bindings, items, expected }
}

pub(super) fn attend_join(numbers: &mut Numbers) -> Case {
    let (kv_heads, shared_by) = (1 + numbers.below(4), 1 + numbers.below(4));
    let (heads, head_dim) = (kv_heads * shared_by, 2 * (1 + numbers.below(40)));
    let p = params::AttendJoin { heads, head_dim, shared_by, first_head: numbers.below(3) };
    let most = 2 + numbers.below(6);
    let mut parts = numbers.floats((most * heads * (head_dim + 2)) as usize, 2.0);
    for part in parts.chunks_mut(head_dim as usize + 2) {
        part[head_dim as usize + 1] = part[head_dim as usize + 1].abs() + 0.5;
    }
    // Every KV head has a schedule of its own, and so a number of parts.
    let split = Split { parts: most, rows: 1 + numbers.below(9) };
    let counts: Vec<u32> = (0..kv_heads).map(|_| 1 + numbers.below(most)).collect();
    let mut arena = split_arena(1, split);
    arena.list(HEADS);
    arena.push(KvHead::default().words(u32::MAX).repeat(p.first_head as usize));
    for schedule in 0..kv_heads {
        arena.push(KvHead::default().words(schedule));
    }
    arena.list(SEEN);
    for count in &counts {
        let rows = count * split.rows - numbers.below(split.rows);
        arena.push([0, 0, rows, 0]);
    }
    let counts: Vec<usize> = counts.iter().map(|count| *count as usize).collect();
    let mut out = vec![0.0; (heads * head_dim) as usize];
    let out_before = bits(&out);
    twin::attend_join(&p, &parts, &counts, &mut out);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![arena.words().to_vec(), bits(&parts), out_before],
        items: [heads, 1, 1],
        expected: vec![floats(2, out)],
    }
}
