//! The attention of a layer: rotation, and attention over what each token sees.

use super::Shared;
use super::attend::Attend;
use super::kernels::Precision;
use super::model::{Pass, owner};
use super::product::Product;
use crate::model::{Layer, Pairs};

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
        self.scratch.wide.set_cols(spec.q_dim());
        let (s, parts) = (&*self.scratch, &*self.parts);
        Attend { shared, scratch: s, parts, index, layer: spec }.run(tokens);
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
