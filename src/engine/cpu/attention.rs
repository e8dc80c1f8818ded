//! The attention of a layer: rotation, and attention over what each token sees.

use super::Shared;
use super::kernels::{Partial, Precision, Queries};
use super::model::{Part, Pass, owner};
use super::product::Product;
use crate::cache;
use crate::model::{Layer, Pairs};

/// Number of rows from which splitting one token's attention among threads pays off.
const ROWS_OF_A_PART: usize = 128;

impl<P: Precision> Pass<'_, '_, P> {
    /// Norm and rotation of the query and key heads; keys and values are written to the block in
    /// the form they are stored in.
    pub(super) fn rotate_and_store(
        &mut self,
        shared: &Shared,
        index: usize,
        layer: &Layer,
        tokens: usize,
    ) {
        let spec = &shared.model.spec().layers[index];
        let (n, q_dim, kv_dim) = (spec.head_dim, spec.q_dim(), spec.kv_dim());
        let (s, parts) = (&*self.scratch, &*self.parts);
        let [q_norm, k_norm] = match &layer.attention.head_norms {
            Some([q, k]) => [Some(q), Some(k)],
            None => [None, None],
        };
        let rotation = spec.rotation.map(|rotation| {
            let rotate = match rotation.pairs {
                Pairs::Interleaved => rotate_interleaved,
                Pairs::HalfSplit => rotate_half_split,
            };
            (rotate as fn(&mut [f32], &[f32]), &s.turns[rotation.table])
        });
        let finish = |head: &mut [f32], norm: Option<&Vec<f32>>, t: usize| {
            if let Some(weight) = norm {
                shared.kernels.rms_norm_in_place(head, weight, shared.model.spec().eps);
            }
            if let Some((rotate, turns)) = rotation {
                // SAFETY: nobody writes the rotations in this region.
                rotate(head, unsafe { turns.read(t * n, n) });
            }
        };
        shared.region(tokens, tokens * (q_dim + 2 * kv_dim), &|t, _| {
            // SAFETY: each task has a token of its own.
            unsafe {
                let q = s.q.write(t * q_dim, q_dim);
                q.chunks_exact_mut(n).for_each(|q| finish(q, q_norm, t));
                let k = s.kv[0].write(t * kv_dim, kv_dim);
                let v = s.kv[1].read(t * kv_dim, kv_dim);
                let heads = k.chunks_exact_mut(n).zip(v.chunks_exact(n));
                let (part, row) = owner(parts, t);
                for (head, (k, v)) in heads.enumerate() {
                    finish(k, k_norm, t);
                    let [k_row, v_row] = part.cache.block_row(index, head, row);
                    shared.kernels.convert::<P::Plain>(k, k_row);
                    shared.kernels.convert::<P::Plain>(v, v_row);
                }
            }
        });
    }

    /// `h += Wo softmax(q k / sqrt(head_dim)) v` over what each token sees.
    pub(super) fn attention(
        &mut self,
        shared: &Shared,
        index: usize,
        layer: &Layer,
        tokens: usize,
    ) {
        let spec = &shared.model.spec().layers[index];
        let (heads, kv_heads, n) = (spec.heads, spec.kv_heads, spec.head_dim);
        let (group, q_dim) = (heads / kv_heads, spec.q_dim());
        self.scratch.wide.set_cols(q_dim);
        let (s, sequences) = (&*self.scratch, &*self.parts);

        // Classes of KV heads may see different rows; the number of parts follows from the longest
        // list.
        let visible = |part: &Part<P>| {
            let tables = &part.cache.tables;
            let classes = tables.layout().classes_of(index);
            let rows = classes.map(|class| cache::rows(tables.class(class).visible(part.len - 1)));
            rows.max().unwrap_or(0)
        };
        let most_rows = sequences.iter().map(visible).max().unwrap_or(0);
        let parts = match tokens {
            1 => (most_rows / ROWS_OF_A_PART).clamp(1, s.parts),
            _ => 1,
        };
        // One key head of one token, or of one part of its rows.
        let work = tokens * most_rows * q_dim;
        shared.region(tokens * kv_heads * parts, work, &|task, _| {
            let (head, part, t) =
                (task % kv_heads, task / kv_heads % parts, task / kv_heads / parts);
            let first = head * group;
            let (sequence, row_of_block) = owner(sequences, t);
            // SAFETY: each task has heads of a token, or of a part, of its own.
            unsafe {
                let queries = Queries {
                    q: s.q.read(t * q_dim + first * n, group * n).as_ptr(),
                    heads: group,
                    head_dim: n,
                };
                let cache = &*sequence.cache;
                let rows = cache::rows(cache.visible(index, head, row_of_block));
                let part_rows = part * rows / parts..(part + 1) * rows / parts;
                let row = (t + part) * heads + first;
                let mut into = Partial {
                    out: match parts {
                        1 => s.wide.values_mut(t, first * n, group * n),
                        _ => s.parts_out.write(part * q_dim + first * n, group * n),
                    },
                    max: s.max.write(row, group),
                    sum: s.sum.write(row, group),
                };
                let (place, kernels) = ((index, head), shared.kernels);
                cache.attend(kernels, &queries, place, row_of_block, part_rows, &mut into);
                if parts == 1 {
                    shared.kernels.divide(&mut into, n);
                }
            }
        });
        if parts > 1 {
            // SAFETY: the region is over; this thread is alone.
            unsafe {
                let out = s.wide.row_mut(0).x;
                let max = s.max.read(0, parts * heads);
                let sum = s.sum.read(0, parts * heads);
                let all = s.parts_out.read(0, parts * q_dim);
                shared.kernels.join(all, max, sum, n, out);
            }
        }
        shared.quantize_rows(&s.wide, tokens, |_, _| {});
        let output = |out| Product::of(&layer.attention.output, &s.wide, out);
        shared.add_to_stream(s, &output, layer.attention.post_norm.as_deref(), tokens);
    }
}

/// Rotates the pairs `(2j, 2j + 1)` of a head by their angles.
fn rotate_interleaved(head: &mut [f32], turns: &[f32]) {
    for (pair, turn) in head.chunks_exact_mut(2).zip(turns.chunks_exact(2)) {
        let (a, b) = (pair[0], pair[1]);
        pair[0] = a * turn[0] - b * turn[1];
        pair[1] = a * turn[1] + b * turn[0];
    }
}

/// Rotates the pairs `(j, j + n / 2)` of a head of `n` values by their angles.
fn rotate_half_split(head: &mut [f32], turns: &[f32]) {
    let (first, second) = head.split_at_mut(head.len() / 2);
    for ((a, b), turn) in first.iter_mut().zip(second).zip(turns.chunks_exact(2)) {
        (*a, *b) = (*a * turn[0] - *b * turn[1], *a * turn[1] + *b * turn[0]);
    }
}
