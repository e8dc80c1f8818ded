//! Attention of a block of tokens over rows that all of them see. A tile of keys and values is
//! converted once for all queries, and vectors run over queries: scores `[row][query]` and sums of
//! values `[value][query]` are products of matrices, and the softmax needs no sum across lanes.

use super::super::buffer::Buffer;
use super::super::simd::{LANES, Simd};
use super::attention::{Adding, Entry, Places, Rowed, Rows, TILE, add_runs};
use crate::cache::{Place, Run, rows};
use crate::engine::nibbles;
use crate::error::Result;

/// Queries of a block, if the heads of one token are not more.
const QUERIES: usize = 48;

/// Rows of the products that are computed together, in registers.
const ROWS: usize = 4;

/// Tokens of a block, when `heads` query heads share a key head.
pub(in crate::engine::cpu) fn tokens_of_block(heads: usize) -> usize {
    (QUERIES / heads).max(1)
}

/// The queries of some tokens that share a key head.
pub(in crate::engine::cpu) struct QueryBlock {
    /// `[tokens][heads][head_dim]`, rotated; tokens are `stride` values apart.
    pub q: *const f32,
    pub stride: usize,
    pub tokens: usize,
    pub heads: usize,
    pub head_dim: usize,
    /// What products with keys are multiplied by.
    pub scale: f32,
}

impl QueryBlock {
    fn len(&self) -> usize {
        self.tokens * self.heads
    }

    /// The query `index`, counted through all tokens.
    fn at(&self, index: usize) -> *const f32 {
        let (token, head) = (index / self.heads, index % self.heads);
        self.q.wrapping_add(token * self.stride + head * self.head_dim)
    }
}

/// What a thread needs for the attention of a block. Queries are padded to whole vectors, `Q`.
pub(in crate::engine::cpu) struct BlockBuffers {
    /// `[2][heads][head_dim]`: two parts of the attention of one token, to be joined.
    pub parts: Buffer<f32>,
    /// `[2][heads]`, of both.
    pub part_max: Buffer<f32>,
    pub part_sum: Buffer<f32>,
    /// `[head_dim][Q]`
    queries: Buffer<f32>,
    /// Sums of values, `[head_dim][Q]`.
    sums: Buffer<f32>,
    /// `[TILE][Q]`
    scores: Buffer<f32>,
    /// `[TILE][head_dim]`
    keys: Buffer<f32>,
    values: Buffer<f32>,
    /// `[Q]`: greatest scores, sums of weights, and what a tile changes the former sums by.
    max: Buffer<f32>,
    total: Buffer<f32>,
    decay: Buffer<f32>,
}

impl BlockBuffers {
    /// For layers of at most `heads` query heads per key head, of at most `head_dim` values.
    pub fn new(heads: usize, head_dim: usize) -> Result<BlockBuffers> {
        let what = "buffers of attention";
        // A layer with fewer heads has no more queries than this.
        let queries = QUERIES.max(heads).next_multiple_of(LANES);
        let width = head_dim.next_multiple_of(ROWS);
        let buffer = |len| Buffer::new(len, what);
        Ok(BlockBuffers {
            parts: buffer(2 * heads * head_dim)?,
            part_max: buffer(2 * heads)?,
            part_sum: buffer(2 * heads)?,
            queries: buffer(width * queries)?,
            sums: buffer(width * queries)?,
            scores: buffer(TILE * queries)?,
            keys: buffer(TILE * width)?,
            values: buffer(TILE * width)?,
            max: buffer(queries)?,
            total: buffer(queries)?,
            decay: buffer(queries)?,
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let rows = [&self.parts, &self.part_max, &self.part_sum, &self.keys, &self.values];
        let columns =
            [&self.queries, &self.sums, &self.scores, &self.max, &self.total, &self.decay];
        rows.into_iter().chain(columns).map(Buffer::bytes).sum::<usize>()
    }

    /// Copies the attention of a token of the block to the first of the two parts.
    pub fn take(&mut self, queries: &QueryBlock, token: usize) {
        let (heads, n) = (queries.heads, queries.head_dim);
        let padded = queries.len().next_multiple_of(LANES);
        let first = token * heads;
        let sums = self.sums.as_mut_slice();
        for (head, out) in self.parts.as_mut_slice()[..heads * n].chunks_exact_mut(n).enumerate() {
            let of_query = sums[first + head..].iter().step_by(padded);
            out.iter_mut().zip(of_query).for_each(|(out, sum)| *out = *sum);
        }
        let own = first..first + heads;
        self.part_max.as_mut_slice()[..heads]
            .copy_from_slice(&self.max.as_mut_slice()[own.clone()]);
        self.part_sum.as_mut_slice()[..heads].copy_from_slice(&self.total.as_mut_slice()[own]);
    }
}

/// The attention of all `queries` over `runs`, the ring's first.
///
/// # Safety
/// The pointers must be valid for the queries and for every row of the runs, and `into` must have
/// room for these queries.
#[inline(always)]
pub(super) unsafe fn attend_block<S: Simd, R: Rowed, E: Rowed>(
    queries: &QueryBlock,
    places: &Places<R, E>,
    runs: &[Run],
    into: &mut BlockBuffers,
    add: AddToBlock,
) {
    let (n, padded) = (queries.head_dim, queries.len().next_multiple_of(LANES));
    into.sums.as_mut_slice()[..n * padded].fill(0.0);
    into.max.as_mut_slice()[..padded].fill(f32::NEG_INFINITY);
    into.total.as_mut_slice()[..padded].fill(0.0);
    let near = runs.iter().position(|run| run.place != Place::Ring).unwrap_or(runs.len());
    let (ring, near) = runs.split_at(near);
    let mut block = Block { padded, head_dim: n, into, add };
    unsafe {
        if !ring.is_empty() {
            block.load(queries, R::ROTATED);
            let of_ring = |_: &Run| -> &Rows<R> { &places.ring };
            add_runs::<S, R>(&mut block, n, ring, 0..rows(ring), of_ring);
            if R::ROTATED {
                block.rotate_back(queries.len());
            }
        }
        if !near.is_empty() {
            block.load(queries, false);
            add_runs::<S, E>(&mut block, n, near, 0..rows(near), |run| places.near(run));
        }
    }
}

/// [`Block::add_rows`], compiled once for all types of rows.
pub(super) type AddToBlock = unsafe fn(&mut Block, usize);

/// A block that tiles are added to.
pub(super) struct Block<'a> {
    /// `Q`
    padded: usize,
    head_dim: usize,
    into: &'a mut BlockBuffers,
    add: AddToBlock,
}

impl Block<'_> {
    /// Writes the queries as columns, scaled as scores are, and rotated within a head if rows are.
    unsafe fn load(&mut self, queries: &QueryBlock, rotated: bool) {
        let (n, padded) = (self.head_dim, self.padded);
        let columns = &mut self.into.queries.as_mut_slice()[..n * padded];
        let mut row = [0.0; nibbles::WIDEST];
        for index in 0..padded {
            // Queries that fill up a vector see nothing in particular.
            if index >= queries.len() {
                columns[index..].iter_mut().step_by(padded).for_each(|value| *value = 0.0);
                continue;
            }
            let mut query = unsafe { std::slice::from_raw_parts(queries.at(index), n) };
            if rotated {
                row[..n].copy_from_slice(query);
                nibbles::rotate(&mut row[..n]);
                query = &row[..n];
            }
            let column = columns[index..].iter_mut().step_by(padded);
            column.zip(query).for_each(|(value, q)| *value = queries.scale * q);
        }
    }

    /// Rotates the sums of values back.
    fn rotate_back(&mut self, queries: usize) {
        let (n, padded) = (self.head_dim, self.padded);
        let sums = &mut self.into.sums.as_mut_slice()[..n * padded];
        let mut row = [0.0; nibbles::WIDEST];
        for index in 0..queries {
            let column = sums[index..].iter().step_by(padded);
            row[..n].iter_mut().zip(column).for_each(|(value, sum)| *value = *sum);
            nibbles::rotate(&mut row[..n]);
            let column = sums[index..].iter_mut().step_by(padded);
            column.zip(&row[..n]).for_each(|(sum, value)| *sum = *value);
        }
    }

    /// Scores of a tile, as weights of its rows: the softmax so far.
    #[inline(always)]
    unsafe fn weigh<S: Simd>(&mut self, rows: usize, column: usize) {
        unsafe {
            let scores = self.into.scores.as_mut_slice().as_mut_ptr().add(column);
            let [before, total, decay] =
                [&mut self.into.max, &mut self.into.total, &mut self.into.decay]
                    .map(|buffer| buffer.as_mut_slice().as_mut_ptr().add(column));
            let mut max = S::load(before);
            for row in 0..rows {
                max = S::max(max, S::load(scores.add(row * self.padded)));
            }
            let factor = S::exp(S::sub(S::load(before), max));
            S::store(decay, factor);
            S::store(before, max);
            let mut sum = S::mul(S::load(total), factor);
            for row in 0..rows {
                let score = scores.add(row * self.padded);
                let weight = S::exp(S::sub(S::load(score), max));
                S::store(score, weight);
                sum = S::add(sum, weight);
            }
            S::store(total, sum);
        }
    }

    /// Scores of the rows of a tile with `N` vectors of queries from `column` on.
    #[inline(always)]
    unsafe fn score<S: Simd, const N: usize>(&mut self, rows: usize, column: usize) {
        let stride = self.head_dim.next_multiple_of(ROWS);
        unsafe {
            let queries = self.into.queries.as_mut_slice().as_ptr().add(column);
            let keys = self.into.keys.as_mut_slice().as_ptr();
            let scores = self.into.scores.as_mut_slice().as_mut_ptr().add(column);
            for row in (0..rows).step_by(ROWS) {
                let mut sums = [[S::splat(0.0); N]; ROWS];
                let keys = keys.add(row * stride);
                multiply::<S, N>(
                    (keys, stride, 1),
                    (queries, self.padded),
                    self.head_dim,
                    &mut sums,
                );
                for (i, sums) in sums.into_iter().enumerate() {
                    for (j, sum) in sums.into_iter().enumerate() {
                        S::store(scores.add((row + i) * self.padded + j * LANES), sum);
                    }
                }
            }
        }
    }

    /// Adds the weighted values of a tile.
    #[inline(always)]
    unsafe fn add_values<S: Simd, const N: usize>(&mut self, rows: usize, column: usize) {
        let stride = self.head_dim.next_multiple_of(ROWS);
        unsafe {
            let weights = self.into.scores.as_mut_slice().as_ptr().add(column);
            let values = self.into.values.as_mut_slice().as_ptr();
            let decay = self.into.decay.as_mut_slice().as_ptr().add(column);
            let out = self.into.sums.as_mut_slice().as_mut_ptr().add(column);
            for value in (0..self.head_dim).step_by(ROWS) {
                let mut sums = [[S::splat(0.0); N]; ROWS];
                for (i, sums) in sums.iter_mut().enumerate() {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        let out = out.add((value + i) * self.padded + j * LANES);
                        *sum = S::mul(S::load(out), S::load(decay.add(j * LANES)));
                    }
                }
                let values = values.add(value);
                multiply::<S, N>((values, 1, stride), (weights, self.padded), rows, &mut sums);
                for (i, sums) in sums.into_iter().enumerate() {
                    for (j, sum) in sums.into_iter().enumerate() {
                        S::store(out.add((value + i) * self.padded + j * LANES), sum);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn add_columns<S: Simd, const N: usize>(&mut self, rows: usize, column: usize) {
        unsafe {
            self.score::<S, N>(rows, column);
            for vector in 0..N {
                self.weigh::<S>(rows, column + vector * LANES);
            }
            self.add_values::<S, N>(rows, column);
        }
    }
}

impl Block<'_> {
    /// Adds the rows of a tile that has been unpacked.
    ///
    /// # Safety
    /// There are at most [`TILE`].
    #[inline(always)]
    pub(super) unsafe fn add_rows<S: Simd>(&mut self, rows: usize) {
        let mut column = 0;
        // As many sums as fit the registers.
        if S::REGISTERS >= 32 {
            while column + 3 * LANES <= self.padded {
                unsafe { self.add_columns::<S, 3>(rows, column) };
                column += 3 * LANES;
            }
        }
        while column < self.padded {
            unsafe { self.add_columns::<S, 1>(rows, column) };
            column += LANES;
        }
    }
}

impl Adding for Block<'_> {
    #[inline(always)]
    unsafe fn add<S: Simd, E: Rowed>(&mut self, tile: &[Entry<E>]) {
        let stride = self.head_dim.next_multiple_of(ROWS);
        let [keys, values] = [&mut self.into.keys, &mut self.into.values]
            .map(|buffer| buffer.as_mut_slice().as_mut_ptr());
        unsafe {
            if self.head_dim.is_multiple_of(LANES) {
                E::unpack::<S, true>(tile, self.head_dim, stride, [keys, values]);
            } else {
                E::unpack::<S, false>(tile, self.head_dim, stride, [keys, values]);
            }
            (self.add)(self, tile.len());
        }
    }
}

/// Adds `ROWS` rows of a product: `a` with the distance of its rows and that of its terms, times
/// `N` vectors of `b`, whose rows are `stride` apart.
#[inline(always)]
unsafe fn multiply<S: Simd, const N: usize>(
    (a, row, term): (*const f32, usize, usize),
    (b, stride): (*const f32, usize),
    terms: usize,
    sums: &mut [[S::F; N]; ROWS],
) {
    for i in 0..terms {
        unsafe {
            let mut vectors = [S::splat(0.0); N];
            for (j, vector) in vectors.iter_mut().enumerate() {
                *vector = S::load(b.add(i * stride + j * LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = S::splat(*a.add(r * row + i * term));
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = S::fma(x, vector, *sum);
                }
            }
        }
    }
}
