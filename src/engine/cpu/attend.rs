//! Which thread computes the attention of which queries: the rows that a few tokens see are cut into
//! equal shares; of many tokens, neighbors form blocks that read the rows that they all see
//! together.

use super::Shared;
use super::kernels::{BlockBuffers, Partial, Precision, Queries, QueryBlock, tokens_of_block};
use super::model::{Part, owner};
use super::pool::lock;
use super::scratch::{FEW_TOKENS, Scratch};
use super::shares::{Piece, Shares};
use crate::cache::{self, Common, Run};
use crate::error::Result;
use crate::model::LayerSpec;
use std::ops::Range;

/// Fewer queries than this are not worth a block, which computes whole vectors of them.
const FEWEST_QUERIES: usize = 8;
/// Nor are fewer rows: what is not common to all tokens is computed token by token anyway.
const FEWEST_ROWS: usize = 64;

/// What a thread needs for a block of neighbors.
pub(super) struct Neighbors {
    common: Common,
    buffers: BlockBuffers,
}

impl Neighbors {
    /// For layers of at most `heads` query heads per key head, of at most `head_dim` values.
    pub fn new(heads: usize, head_dim: usize) -> Result<Neighbors> {
        let common = Common::new();
        Ok(Neighbors { common, buffers: BlockBuffers::new(heads, head_dim)? })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.common.bytes() + self.buffers.bytes()
    }
}

/// Attention of the queries of a block of tokens in a layer, over what each token sees.
pub(super) struct Attend<'a, 'b, P: Precision> {
    pub shared: &'a Shared,
    /// Where the queries are, and where the results go (`wide`).
    pub scratch: &'a Scratch,
    pub parts: &'a [Part<'b, P>],
    /// Its number, and what it is.
    pub index: usize,
    pub layer: &'a LayerSpec,
}

impl<P: Precision> Attend<'_, '_, P> {
    /// All queries of the tokens.
    pub fn run(&self, tokens: usize) {
        if tokens > FEW_TOKENS {
            return self.by_blocks(tokens);
        }
        let lists = tokens * self.layer.kv_heads;
        let rows = |list| cache::rows(self.seen(list));
        match Shares::new(lists, rows, self.shared.pool.threads()) {
            Some(shares) => self.by_shares(&shares, lists),
            None => self.shared.region(lists, self.work(lists), &|list, _| self.list(list)),
        }
    }

    /// A list of rows for each KV head of each token: heads may see different rows.
    fn seen(&self, list: usize) -> &[Run] {
        let kv_heads = self.layer.kv_heads;
        let (part, t) = owner(self.parts, list / kv_heads);
        part.cache.visible(self.index, list % kv_heads, t)
    }

    /// Multiplications of the first lists.
    fn work(&self, lists: usize) -> usize {
        let rows: usize = (0..lists).map(|list| cache::rows(self.seen(list))).sum();
        self.layer.group() * self.layer.head_dim * rows
    }

    /// Where the result of a list belongs.
    #[allow(clippy::mut_from_ref, reason = "disjoint parts for the threads of a region")]
    fn result(&self, list: usize) -> &mut [f32] {
        let len = self.layer.group() * self.layer.head_dim;
        let (t, head) = (list / self.layer.kv_heads, list % self.layer.kv_heads);
        // SAFETY: each list is written once.
        unsafe { self.scratch.wide.values_mut(t, head * len, len) }
    }

    /// Some rows of some runs of a list.
    fn attend(&self, list: usize, runs: &[Run], rows: Range<usize>, into: &mut Partial) {
        let LayerSpec { kv_heads, head_dim, attention_scale: scale, .. } = *self.layer;
        let len = self.layer.group() * head_dim;
        let (part, _) = owner(self.parts, list / kv_heads);
        // SAFETY: nobody writes queries or rows in this region, and the pass has checked which rows
        // the block sees.
        unsafe {
            let q = self.scratch.q.read(list * len, len).as_ptr();
            let queries = Queries { q, heads: self.layer.group(), head_dim, scale };
            let place = (self.index, list % kv_heads);
            part.cache.attend(&self.shared.kernels, &queries, place, runs, rows, into);
        }
    }

    /// A whole list.
    fn list(&self, list: usize) {
        let (s, group) = (self.scratch, self.layer.group());
        // SAFETY: each list has a place of its own.
        let (max, sum) =
            unsafe { (s.max.write(list * group, group), s.sum.write(list * group, group)) };
        let runs = self.seen(list);
        let mut into = Partial { out: self.result(list), max, sum };
        self.attend(list, runs, 0..cache::rows(runs), &mut into);
        self.shared.kernels.divide(&mut into, self.layer.head_dim);
    }

    fn by_shares(&self, shares: &Shares<impl Fn(usize) -> usize + Sync>, lists: usize) {
        let (s, n, group) = (self.scratch, self.layer.head_dim, self.layer.group());
        self.shared.region(shares.count(), self.work(lists), &|share, _| {
            for Piece { list, rows, slot } in shares.pieces(share) {
                // SAFETY: each piece has a slot of its own.
                let (out, max, sum) = unsafe {
                    (
                        s.slots.write(slot * group * n, group * n),
                        s.max.write(slot * group, group),
                        s.sum.write(slot * group, group),
                    )
                };
                self.attend(list, self.seen(list), rows, &mut Partial { out, max, sum });
            }
        });
        for (list, slots) in shares.slots().enumerate() {
            let (first, count) = (slots.start * group, slots.len() * group);
            // SAFETY: the region is over; this thread is alone.
            unsafe {
                let all = s.slots.read(first * n, count * n);
                let (max, sum) = (s.max.read(first, count), s.sum.read(first, count));
                self.shared.kernels.join(all, max, sum, n, self.result(list));
            }
        }
    }

    fn by_blocks(&self, tokens: usize) {
        let most = tokens_of_block(self.layer.group());
        let blocks = || {
            self.parts.iter().flat_map(|part| {
                (0..part.len)
                    .step_by(most)
                    .map(|t| part.first + t..part.first + part.len.min(t + most))
            })
        };
        let kv_heads = self.layer.kv_heads;
        let lists = tokens * kv_heads;
        self.shared.region(blocks().count() * kv_heads, self.work(lists), &|task, thread| {
            if let Some(block) = blocks().nth(task / kv_heads) {
                self.block(block, task % kv_heads, thread);
            }
        });
    }

    /// A KV head of neighboring tokens of a sequence: what they all see, then what each of them sees
    /// besides.
    fn block(&self, tokens: Range<usize>, head: usize, thread: usize) {
        let LayerSpec { kv_heads, head_dim, attention_scale: scale, .. } = *self.layer;
        let (group, q_dim) = (self.layer.group(), self.layer.q_dim());
        let list = |t: usize| (tokens.start + t) * kv_heads + head;
        let Neighbors { common, buffers } = &mut *lock(&self.scratch.neighbors[thread]);
        let worth = tokens.len() * group >= FEWEST_QUERIES
            && cache::rows(common.find(tokens.len(), |t| self.seen(list(t)))) >= FEWEST_ROWS;
        if !worth {
            return (0..tokens.len()).for_each(|t| self.list(list(t)));
        }
        let (part, _) = owner(self.parts, tokens.start);
        let (place, len) = ((self.index, head), group * head_dim);
        // SAFETY: as in `attend`; the queries are those of whole tokens.
        let queries = unsafe {
            let q = self.scratch.q.read(tokens.start * q_dim, tokens.len() * q_dim);
            let q = q[head * len..].as_ptr();
            let queries = QueryBlock {
                q,
                stride: q_dim,
                tokens: tokens.len(),
                heads: group,
                head_dim,
                scale,
            };
            part.cache.attend_block(&self.shared.kernels, &queries, place, common.runs(), buffers);
            queries
        };
        for t in 0..tokens.len() {
            buffers.take(&queries, t);
            let others = common.others(self.seen(list(t)));
            let mut own = Partial {
                out: &mut buffers.parts.as_mut_slice()[len..2 * len],
                max: &mut buffers.part_max.as_mut_slice()[group..2 * group],
                sum: &mut buffers.part_sum.as_mut_slice()[group..2 * group],
            };
            self.attend(list(t), others, 0..cache::rows(others), &mut own);
            self.shared.kernels.join(
                &buffers.parts.as_mut_slice()[..2 * len],
                &buffers.part_max.as_mut_slice()[..2 * group],
                &buffers.part_sum.as_mut_slice()[..2 * group],
                head_dim,
                self.result(list(t)),
            );
        }
    }
}
