//! How much attention the tokens of a text pay to a stretch of it, head by head: it shows which KV
//! heads fetch from afar. Sessions don't use it.

use super::cache::Cache;
use super::kernels::{Partial, Queries, Single};
use super::model::{Part, Pass};
use super::{Cpu, Shared};
use crate::cache::{self, Class};
use crate::engine::{Geometry, KvType};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

impl Cpu {
    /// See [`Engine::attention_mass`](crate::Engine::attention_mass).
    pub(super) fn mass(
        &self,
        tokens: &[u32],
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> Result<Vec<f32>> {
        for range in [&queries, &keys] {
            if range.is_empty() || range.end > tokens.len() {
                let problem = format!("is not within a text of {} tokens, or empty", tokens.len());
                return Err(Error::argument(format!("the range {range:?}"), problem));
            }
        }
        let spec = self.shared.model.spec();
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= spec.vocab) {
            return Err(Error::TokenOutOfRange { token, vocab: spec.vocab });
        }
        // As many states as tokens: none is ever evicted.
        let layout = Geometry::new(spec, tokens.len(), KvType::F32).layout(spec)?;
        let mut scratch = self.shared.scratch()?;
        let mut cache = Cache::<Single>::new(Arc::new(layout), scratch.block)?;
        let mut first_head = vec![0];
        first_head.extend(spec.layers.iter().scan(0, |sum, layer| {
            *sum += layer.kv_heads;
            Some(*sum)
        }));
        let mut masses = vec![0.0; first_head[spec.layers.len()]];

        let most = scratch.block;
        for (start, block) in (0..).step_by(most).zip(tokens[..queries.end].chunks(most)) {
            let part = Part { cache: &mut cache, first: 0, len: block.len() };
            let asking = queries.start.saturating_sub(start)..block.len();
            Pass { scratch: &mut scratch, parts: &mut [part] }.layers(
                &self.shared,
                block,
                |pass, layer| {
                    let heads = first_head[layer]..first_head[layer + 1];
                    add(&self.shared, pass, layer, asking.clone(), &keys, &mut masses[heads]);
                },
            )?;
        }
        masses.iter_mut().for_each(|mass| *mass /= queries.len() as f32);
        Ok(masses)
    }
}

/// Adds to `masses`, one per KV head of the layer, what some tokens of the block pay to the
/// positions `keys`.
fn add(
    shared: &Shared,
    pass: &Pass<Single>,
    layer: usize,
    asking: Range<usize>,
    keys: &Range<usize>,
    masses: &mut [f32],
) {
    let spec = &shared.model.spec().layers[layer];
    let (n, group) = (spec.head_dim, spec.group());
    let [mut out, mut some, mut all] = [vec![0.0; group * n], vec![0.0; group], vec![0.0; group]];
    let [mut some_max, mut all_max] = [some.clone(), all.clone()];
    let cache = &pass.parts[0].cache;
    for t in asking {
        let position = cache.tables.position() + t as u64;
        for (head, mass) in masses.iter_mut().enumerate() {
            // SAFETY: no region is running, so nobody writes queries or rows; the pass has checked
            // which rows a block sees.
            unsafe {
                let q = pass.scratch.q.read(t * spec.q_dim() + head * group * n, group * n);
                let scale = spec.attention_scale;
                let queries = Queries { q: q.as_ptr(), heads: group, head_dim: n, scale };
                let layout = cache.tables.layout();
                let class = &layout.classes()[layout.place(layer, head).0];
                let before = |end| rows_before(class, position, end);
                let rows = before(position + 1);
                debug_assert_eq!(rows, cache::rows(cache.visible(layer, head, t)));
                let mut attend = |rows, max: &mut [f32], sum: &mut [f32]| {
                    let mut into = Partial { out: &mut out, max, sum };
                    let seen = cache.visible(layer, head, t);
                    cache.attend(&shared.kernels, &queries, (layer, head), seen, rows, &mut into);
                };
                let stretch = before(keys.start as u64)..before(keys.end as u64);
                attend(stretch, &mut some_max, &mut some);
                attend(0..rows, &mut all_max, &mut all);
            }
            let share = |i: usize| some[i] / all[i] * (some_max[i] - all_max[i]).exp();
            *mass += (0..group).map(share).fold(0.0, f32::max);
        }
    }
}

/// How many of the rows that the token at `position` sees belong to positions before `end`. They
/// come in the order of positions: the states of chunks that left the window, then the window.
fn rows_before(class: &Class, position: u64, end: u64) -> usize {
    let window = position.saturating_sub(class.window as u64);
    let states = if class.ring > 0 { class.plan.boundaries(end.min(window)) } else { 0 };
    (states + end.min(position + 1).saturating_sub(window)) as usize
}
