//! Attention.

use super::numbers::Numbers;
use super::{Case, arena, bits, floats, stored};
use crate::cache::{Place, Run};
use crate::engine::KvType;
use crate::engine::gpu::kernel::{Heads, Kernel};
use crate::engine::gpu::params;
use crate::engine::gpu::plan::{SEEN, place};
use crate::engine::gpu::twin;
use half::f16;

/// Some runs over the three places, and the words that encode them.
fn runs(numbers: &mut Numbers, rows: [u32; 3]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (place, rows) in [Place::Ring, Place::Window, Place::Block].into_iter().zip(rows) {
        for _ in 0..2 {
            let first = numbers.below(rows);
            let step = 1 + numbers.below(3);
            let most = (rows - first).div_ceil(step);
            let len = if place == Place::Block { most } else { numbers.below(most + 1) };
            if len > 0 {
                runs.push(Run { place, first, step, len });
            }
        }
    }
    runs
}

/// Integer rows with a scale each.
struct Integers {
    rows: Vec<(Vec<i8>, f32)>,
}

impl Integers {
    fn new(numbers: &mut Numbers, rows: usize, head_dim: usize) -> Integers {
        let mut row = || {
            let q = (0..head_dim).map(|_| numbers.bits() as i8).collect();
            (q, 0.02 + 0.01 * numbers.uniform())
        };
        Integers { rows: (0..rows).map(|_| row()).collect() }
    }

    fn values(&self) -> Vec<f32> {
        let rows = self.rows.iter();
        rows.flat_map(|(q, scale)| q.iter().map(move |q| scale * f32::from(*q))).collect()
    }

    /// As the ring holds them, following the data of other layers.
    fn words(&self, p: &params::Attend, head_dim: u32) -> Vec<u32> {
        let mut words = vec![0; p.ring_at as usize / 2];
        for (q, _) in &self.rows {
            let mut bytes: Vec<u8> = q.iter().map(|q| *q as u8).collect();
            bytes.resize(head_dim.next_multiple_of(4) as usize, 0);
            words.extend(bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)));
        }
        words.extend(self.rows.iter().map(|(_, scale)| scale.to_bits()));
        words
    }
}

pub(super) fn attend(numbers: &mut Numbers, kernel: Kernel, kv: KvType, head_dim: u32) -> Case {
    let group = match kernel {
        Kernel::Attend { heads: Heads::One, .. } => 1,
        _ => 2 + numbers.below(4),
    };
    let quads = match kernel {
        Kernel::Attend { heads: Heads::One, .. } => group,
        _ => group.div_ceil(4),
    };
    let kv_heads = 1 + numbers.below(3);
    let heads = group * kv_heads;
    let split = numbers.one_of(&[1, 1, 3]);
    let tokens = if split == 1 { 1 + numbers.below(3) } else { 1 };
    let rows = [1 + numbers.below(200), 1 + numbers.below(20), tokens];
    let n = head_dim as usize;
    let p = params::Attend {
        heads,
        shared_by: group,
        kv_heads,
        q_stride: heads * head_dim + 4,
        out_stride: heads * head_dim + 2,
        schedule: 1,
        ring_at: 2,
        window_at: 1,
        block_at: 2,
        ring_rows: rows[0],
        window_rows: rows[1],
        block_rows: rows[2],
        scale: 1.0 / (n as f32).sqrt(),
    };
    let q = numbers.floats((tokens * p.q_stride) as usize, 3.0);
    let starts = [p.ring_at, p.window_at, p.block_at];
    let rows_of_ring = (2 * kv_heads * rows[0]) as usize;
    let integers = Integers::new(numbers, rows_of_ring, n);
    let mut places: Vec<Vec<f32>> = starts
        .into_iter()
        .zip(rows)
        .map(|(at, rows)| {
            let len = 2 * at + 2 * kv_heads * rows * head_dim;
            let values = numbers.floats(len as usize, 1.5);
            match kv {
                KvType::F32 => values,
                _ => values.into_iter().map(|v| f16::from_f32(v).to_f32()).collect(),
            }
        })
        .collect();
    if kv == KvType::I8 {
        let start = 2 * p.ring_at as usize;
        places[0][start..].copy_from_slice(&integers.values());
    }
    let mut arena = arena(tokens, split);
    arena.list(SEEN);
    // First those of another schedule, then of this one; the lists follow.
    let mut at = arena.len() + 8 * tokens as usize;
    let lists: Vec<Vec<Run>> = (0..tokens).map(|_| runs(numbers, rows)).collect();
    arena.push(vec![0; 4 * tokens as usize]);
    for list in &lists {
        let seen = crate::cache::rows(list);
        arena.push([at, list.len(), seen, 0].map(|n| n as u32));
        at += 4 * list.len();
    }
    for run in lists.iter().flatten() {
        arena.push([place(run.place), run.first, run.step, run.len]);
    }

    let mut out = vec![0.0; (tokens * p.out_stride) as usize];
    let mut parts = vec![0.0; (split * heads * (head_dim + 2)) as usize];
    let (out_before, parts_before) = (bits(&out), bits(&parts));
    let of_places = [&places[0][..], &places[1][..], &places[2][..]];
    for (token, list) in lists.iter().enumerate() {
        let q = &q[token * p.q_stride as usize..];
        if split == 1 {
            let out = &mut out[token * p.out_stride as usize..];
            twin::attend(&p, n, q, of_places, list, out);
            continue;
        }
        let seen: Vec<Run> = list
            .iter()
            .flat_map(|r| (0..r.len).map(|i| Run { first: r.first + i * r.step, len: 1, ..*r }))
            .collect();
        for part in 0..split as usize {
            let bounds = [part, part + 1].map(|i| i * seen.len() / split as usize);
            let seen = &seen[bounds[0]..bounds[1]];
            for head in 0..heads as usize {
                let (sum, most, weight) =
                    twin::attend_part(&p, n, &q[head * n..][..n], of_places, seen, head);
                let at = (part * heads as usize + head) * (n + 2);
                parts[at..at + n].copy_from_slice(&sum);
                parts[at + n] = most.max(-3.0e38);
                parts[at + n + 1] = weight;
            }
        }
    }
    let [ring, window, block] = of_places.map(|values| stored(kv, values));
    let ring = match kv {
        KvType::I8 => integers.words(&p, head_dim),
        _ => ring,
    };
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![
            arena.words().to_vec(),
            bits(&q),
            ring,
            window,
            block,
            out_before,
            parts_before,
        ],
        items: [kv_heads * quads, tokens, split],
        expected: vec![floats(5, out), floats(6, parts)],
    }
}

pub(super) fn attend_join(numbers: &mut Numbers) -> Case {
    let (heads, head_dim) = (1 + numbers.below(9), 2 * (1 + numbers.below(40)));
    let count = 2 + numbers.below(6);
    let p = params::AttendJoin { heads, head_dim };
    let mut parts = numbers.floats((count * heads * (head_dim + 2)) as usize, 2.0);
    for part in parts.chunks_mut(head_dim as usize + 2) {
        part[head_dim as usize + 1] = part[head_dim as usize + 1].abs() + 0.5;
    }
    // A part that saw no row.
    let empty = &mut parts[..head_dim as usize + 2];
    empty.fill(0.0);
    empty[head_dim as usize] = -3.0e38;
    let mut out = vec![0.0; (heads * head_dim) as usize];
    let out_before = bits(&out);
    twin::attend_join(&p, &parts, count as usize, &mut out);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![arena(1, count).words().to_vec(), bits(&parts), out_before],
        items: [heads * head_dim, 1, 1],
        expected: vec![floats(2, out)],
    }
}
