//! The attention of a layer: rotation, and attention over what each token sees.

use super::Shared;
use super::kernels::{Partial, Precision, Queries};
use super::model::{Pass, owner};
use super::product::Product;
use super::scratch::FEW_TOKENS;
use super::shares::{Piece, Shares};
use crate::cache;
use crate::model::{Layer, Pairs};
use std::ops::Range;

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
            let width = shared.model.spec().rotary[rotation.table].width;
            (rotate as fn(&mut [f32], &[f32]), &s.turns[rotation.table], width)
        });
        let finish = |head: &mut [f32], norm: Option<&Vec<f32>>, t: usize| {
            if let Some(weight) = norm {
                shared.kernels.rms_norm_in_place(head, weight, shared.model.spec().eps);
            }
            if let Some((rotate, turns, width)) = rotation {
                // SAFETY: nobody writes the rotations in this region.
                rotate(&mut head[..width], unsafe { turns.read(t * width, width) });
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

    /// `h += Wo softmax(scale q k) v` over what each token sees.
    pub(super) fn attention(
        &mut self,
        shared: &Shared,
        index: usize,
        layer: &Layer,
        tokens: usize,
    ) {
        let spec = &shared.model.spec().layers[index];
        let (kv_heads, n, group) = (spec.kv_heads, spec.head_dim, spec.group());
        self.scratch.wide.set_cols(spec.q_dim());
        let (s, sequences) = (&*self.scratch, &*self.parts);

        // A list for each KV head of each token: heads may see different rows.
        let lists = tokens * kv_heads;
        let rows = |list: usize| {
            let (sequence, t) = owner(sequences, list / kv_heads);
            cache::rows(sequence.cache.visible(index, list % kv_heads, t))
        };
        let attend = |list: usize, rows: Range<usize>, into: &mut Partial| {
            let (t, head) = (list / kv_heads, list % kv_heads);
            let (sequence, row) = owner(sequences, t);
            // SAFETY: nobody writes queries or rows in this region, and the pass has checked which
            // rows the block sees.
            unsafe {
                let q = s.q.read(list * group * n, group * n).as_ptr();
                let queries = Queries { q, heads: group, head_dim: n, scale: spec.attention_scale };
                let place = (index, head);
                sequence.cache.attend(shared.kernels, &queries, place, row, rows, into);
            }
        };
        let attended = |list: usize| {
            // SAFETY: each list is written once.
            unsafe { s.wide.values_mut(list / kv_heads, list % kv_heads * group * n, group * n) }
        };
        let work = group * n * (0..lists).map(rows).sum::<usize>();
        let few = if tokens <= FEW_TOKENS { lists } else { 0 };
        if let Some(shares) = Shares::new(few, rows, shared.pool.threads()) {
            shared.region(shares.count(), work, &|share, _| {
                for Piece { list, rows, slot } in shares.pieces(share) {
                    // SAFETY: each piece has a slot of its own.
                    let (out, max, sum) = unsafe {
                        (
                            s.slots.write(slot * group * n, group * n),
                            s.max.write(slot * group, group),
                            s.sum.write(slot * group, group),
                        )
                    };
                    attend(list, rows, &mut Partial { out, max, sum });
                }
            });
            for (list, slots) in shares.slots().enumerate() {
                let (first, count) = (slots.start * group, slots.len() * group);
                // SAFETY: the region is over; this thread is alone.
                unsafe {
                    let all = s.slots.read(first * n, count * n);
                    let (max, sum) = (s.max.read(first, count), s.sum.read(first, count));
                    shared.kernels.join(all, max, sum, n, attended(list));
                }
            }
        } else {
            shared.region(lists, work, &|list, _| {
                // SAFETY: each task has a list of its own.
                let (max, sum) =
                    unsafe { (s.max.write(list * group, group), s.sum.write(list * group, group)) };
                let mut into = Partial { out: attended(list), max, sum };
                attend(list, 0..rows(list), &mut into);
                shared.kernels.divide(&mut into, n);
            });
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
