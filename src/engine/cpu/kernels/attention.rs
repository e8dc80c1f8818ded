//! Chunk attention for one token: the query heads that share one key head, over the rows that the
//! token sees in ring, window and block.
//!
//! Rows are processed in tiles; with a running maximum and sum (online softmax) one pass suffices,
//! so the scratch does not depend on how much is seen.

use super::super::simd::{LANES, Simd};
use super::elementwise::lanes;
use crate::cache::{Place, Run, rows};
use crate::engine::nibbles::{self, BYTES, VALUES, WIDEST};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows of a tile.
pub(super) const TILE: usize = 32;

/// What rows of keys and values are made of.
pub(in crate::engine::cpu) trait Stored:
    bytemuck::Pod + Send + Sync
{
    /// Whether each row has a scale that is stored apart.
    const SCALED: bool = false;
    /// Whether rows are rotated within a head: see [`nibbles`].
    const ROTATED: bool = false;

    /// How many of them make a row of a head of this width.
    fn in_row(head_dim: usize) -> usize {
        head_dim
    }
}

/// One for each value.
pub(in crate::engine::cpu) trait Element: Stored {
    /// Loads `n` lanes.
    ///
    /// # Safety
    /// As [`Simd::load_n`].
    unsafe fn load<S: Simd>(p: *const Self, n: usize) -> S::F;
}

/// Elements that keys and values of window and block are stored in.
pub(in crate::engine::cpu) trait Plain: Element {
    /// Stores `n` lanes.
    ///
    /// # Safety
    /// As [`Simd::store_n`].
    unsafe fn store<S: Simd>(p: *mut Self, v: S::F, n: usize);
}

impl Stored for f32 {}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const f32, n: usize) -> S::F {
        unsafe { S::load_n(p, n) }
    }
}

impl Plain for f32 {
    #[inline(always)]
    unsafe fn store<S: Simd>(p: *mut f32, v: S::F, n: usize) {
        unsafe { S::store_n(p, v, n) }
    }
}

/// Bits of an f16.
impl Stored for u16 {}

impl Element for u16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u16, n: usize) -> S::F {
        unsafe { S::load_f16_n(p, n) }
    }
}

impl Plain for u16 {
    #[inline(always)]
    unsafe fn store<S: Simd>(p: *mut u16, v: S::F, n: usize) {
        unsafe { S::store_f16_n(p, v, n) }
    }
}

/// Integers that are multiplied by the scale of their row.
impl Stored for i8 {
    const SCALED: bool = true;
}

impl Element for i8 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const i8, n: usize) -> S::F {
        unsafe { S::load_i8_n(p, n) }
    }
}

/// A byte of a row in four bits: see [`nibbles`].
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(in crate::engine::cpu) struct Nibbles(u8);

impl Stored for Nibbles {
    const ROTATED: bool = true;

    fn in_row(head_dim: usize) -> usize {
        head_dim / VALUES * (BYTES + 2)
    }
}

/// What rows are made of that attention is computed over.
pub(in crate::engine::cpu) trait Rowed: Stored {
    /// Writes the keys and the values of a tile, `width` values each, in single precision, `stride`
    /// values apart. `WHOLE`: whether the width is a multiple of [`LANES`].
    ///
    /// # Safety
    /// The pointers must be valid for the rows.
    unsafe fn unpack<S: Simd, const WHOLE: bool>(
        tile: &[Entry<Self>],
        width: usize,
        stride: usize,
        to: [*mut f32; 2],
    );
}

impl<E: Element> Rowed for E {
    #[inline(always)]
    unsafe fn unpack<S: Simd, const WHOLE: bool>(
        tile: &[Entry<E>],
        width: usize,
        stride: usize,
        [keys, values]: [*mut f32; 2],
    ) {
        for (i, row) in tile.iter().enumerate() {
            for (c, n) in lanes(width) {
                let n = if WHOLE { LANES } else { n };
                unsafe {
                    let mut k = E::load::<S>(row.k.add(c), n);
                    let mut v = E::load::<S>(row.v.add(c), n);
                    if E::SCALED {
                        k = S::mul(k, S::splat(row.k_scale));
                        v = S::mul(v, S::splat(row.v_scale));
                    }
                    S::store_n(keys.add(i * stride + c), k, n);
                    S::store_n(values.add(i * stride + c), v, n);
                }
            }
        }
    }
}

impl Rowed for Nibbles {
    #[inline(always)]
    unsafe fn unpack<S: Simd, const WHOLE: bool>(
        tile: &[Entry<Nibbles>],
        width: usize,
        stride: usize,
        [keys, values]: [*mut f32; 2],
    ) {
        let mut rows = [std::ptr::null(); TILE];
        unsafe {
            rows.iter_mut().zip(tile).for_each(|(row, entry)| *row = entry.k.cast());
            unpack_nibbles::<S>(&rows[..tile.len()], width, stride, keys);
            rows.iter_mut().zip(tile).for_each(|(row, entry)| *row = entry.v.cast());
            unpack_nibbles::<S>(&rows[..tile.len()], width, stride, values);
        }
    }
}

/// Writes the values of rows in four bits, `stride` values apart.
#[inline(always)]
unsafe fn unpack_nibbles<S: Simd>(rows: &[*const u8], width: usize, stride: usize, to: *mut f32) {
    for (rows, first) in rows.chunks(4).zip((0..).step_by(4)) {
        for block in 0..width / VALUES {
            unsafe {
                let scale =
                    |i: usize| rows[i.min(rows.len() - 1)].add(width / 2 + 2 * block).cast();
                let scales = S::f16x4([scale(0), scale(1), scale(2), scale(3)]);
                for (i, row) in rows.iter().enumerate() {
                    let [low, high] = S::nibbles(row.add(block * BYTES));
                    let (scale, least) = (S::splat(scales[i]), S::splat(-8.0 * scales[i]));
                    let to = to.add((first + i) * stride + block * VALUES);
                    S::store(to, S::fma(low, scale, least));
                    S::store(to.add(LANES), S::fma(high, scale, least));
                }
            }
        }
    }
}

/// Rows of keys and of values of one key head, in one of the three places.
#[derive(Clone, Copy)]
pub(in crate::engine::cpu) struct Rows<E> {
    /// First key and first value.
    pub first: [*const E; 2],
    /// Scales of the first of both, one per row; not read unless [`Stored::SCALED`].
    pub scales: [*const f32; 2],
}

/// Where the rows of one key head are. The elements of the ring may differ from those of window and
/// block.
pub(in crate::engine::cpu) struct Places<R, E> {
    pub ring: Rows<R>,
    pub window: Rows<E>,
    pub block: Rows<E>,
}

impl<R, E> Places<R, E> {
    /// The rows of a run that is not in the ring.
    pub(super) fn near(&self, run: &Run) -> &Rows<E> {
        match run.place {
            Place::Window => &self.window,
            _ => &self.block,
        }
    }
}

/// Query heads that share a key head.
pub(in crate::engine::cpu) struct Queries {
    /// `[heads][head_dim]`, rotated.
    pub q: *const f32,
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// What products with keys are multiplied by.
    pub scale: f32,
}

/// A part of the attention of some heads: the sum of values so far, still to be divided by `sum`,
/// with scores relative to `max`.
pub(in crate::engine::cpu) struct Partial<'a> {
    /// `[heads][head_dim]`
    pub out: &'a mut [f32],
    /// `[heads]`
    pub max: &'a mut [f32],
    /// `[heads]`
    pub sum: &'a mut [f32],
}

/// A key and its value.
#[derive(Clone, Copy)]
pub(in crate::engine::cpu) struct Entry<E> {
    k: *const E,
    v: *const E,
    k_scale: f32,
    v_scale: f32,
}

/// The attention of `queries` over the rows `part` of `runs`, counted across all runs.
///
/// # Safety
/// The pointers must be valid for the heads and for every row of the runs.
#[inline(always)]
pub(super) unsafe fn attend<S: Simd, R: Rowed, E: Element>(
    queries: &Queries,
    places: &Places<R, E>,
    runs: &[Run],
    part: Range<usize>,
    into: &mut Partial,
    add: AddRows,
) {
    into.out.fill(0.0);
    into.max.fill(f32::NEG_INFINITY);
    into.sum.fill(0.0);
    // The states of the ring come first of all.
    let near = runs.iter().position(|run| run.place != Place::Ring).unwrap_or(runs.len());
    let states = rows(&runs[..near]);
    unsafe {
        let ring = part.start.min(states)..part.end.min(states);
        if R::ROTATED {
            add_rotated::<S, R>(queries, &runs[..near], ring, &places.ring, into, add);
        } else {
            let mut heads = Heads { queries, into: &mut *into, add };
            add_runs::<S, R>(&mut heads, queries.head_dim, &runs[..near], ring, |_| &places.ring);
        }
        let rest = part.start.max(states) - states..part.end.max(states) - states;
        let mut heads = Heads { queries, into, add };
        add_runs::<S, E>(&mut heads, queries.head_dim, &runs[near..], rest, |run| places.near(run));
    }
}

/// What tiles of rows are added to.
pub(super) trait Adding {
    /// Adds a tile.
    ///
    /// # Safety
    /// The pointers must be valid for the rows.
    unsafe fn add<S: Simd, E: Rowed>(&mut self, tile: &[Entry<E>]);
}

/// [`add_rows`], compiled once for all types of rows.
pub(super) type AddRows = unsafe fn(&Queries, [*const f32; 2], usize, &mut Partial);

/// The heads of one token.
struct Heads<'a, 'b> {
    queries: &'a Queries,
    into: &'a mut Partial<'b>,
    add: AddRows,
}

impl Adding for Heads<'_, '_> {
    #[inline(always)]
    unsafe fn add<S: Simd, E: Rowed>(&mut self, tile: &[Entry<E>]) {
        unsafe {
            if self.queries.head_dim.is_multiple_of(LANES) {
                self.add_unpacked::<S, E, true>(tile);
            } else {
                self.add_unpacked::<S, E, false>(tile);
            }
        }
    }
}

impl Heads<'_, '_> {
    /// Unpacks the rows once for all heads.
    #[inline(always)]
    unsafe fn add_unpacked<S: Simd, E: Rowed, const WHOLE: bool>(&mut self, tile: &[Entry<E>]) {
        let mut unpacked = [const { MaybeUninit::<f32>::uninit() }; 2 * TILE * WIDEST];
        let keys = unpacked.as_mut_ptr().cast::<f32>();
        let width = self.queries.head_dim;
        // All of the tile, unless heads are very wide.
        let most = (TILE * WIDEST / width).clamp(1, TILE);
        assert!(most * width <= TILE * WIDEST);
        for tile in tile.chunks(most) {
            unsafe {
                let values = keys.add(most * width);
                E::unpack::<S, WHOLE>(tile, width, width, [keys, values]);
                (self.add)(self.queries, [keys, values], tile.len(), self.into);
            }
        }
    }
}

/// [`add_runs`] for rotated rows, before any other: the sums of values are rotated back.
#[inline(always)]
unsafe fn add_rotated<S: Simd, E: Rowed>(
    queries: &Queries,
    runs: &[Run],
    part: Range<usize>,
    rows: &Rows<E>,
    into: &mut Partial,
    add: AddRows,
) {
    if part.is_empty() {
        return;
    }
    let width = queries.head_dim;
    let mut rotated = [0.0; 4 * WIDEST];
    let most = rotated.len() / width;
    for first in (0..queries.heads).step_by(most) {
        let heads = first..queries.heads.min(first + most);
        let values = first * width..heads.end * width;
        let rotated = &mut rotated[..values.len()];
        let mut own = Partial {
            out: &mut into.out[values.clone()],
            max: &mut into.max[heads.clone()],
            sum: &mut into.sum[heads.clone()],
        };
        unsafe {
            let q = queries.q.add(values.start);
            std::ptr::copy_nonoverlapping(q, rotated.as_mut_ptr(), rotated.len());
            for head in rotated.chunks_exact_mut(width) {
                nibbles::rotate(head);
            }
            let queries = Queries { q: rotated.as_ptr(), heads: heads.len(), ..*queries };
            let mut heads = Heads { queries: &queries, into: &mut own, add };
            add_runs::<S, E>(&mut heads, width, runs, part.clone(), |_| rows);
        }
        for head in own.out.chunks_exact_mut(width) {
            nibbles::rotate(head);
        }
    }
}

/// Adds the rows `part` of `runs`, tile by tile.
#[inline(always)]
pub(super) unsafe fn add_runs<'a, S: Simd, E: Rowed>(
    to: &mut impl Adding,
    head_dim: usize,
    runs: &[Run],
    part: Range<usize>,
    place: impl Fn(&Run) -> &'a Rows<E>,
) {
    let width = E::in_row(head_dim);
    let none = std::ptr::null();
    let mut tile = [Entry { k: none, v: none, k_scale: 1.0, v_scale: 1.0 }; TILE];
    let mut filled = 0;
    let mut before = 0;
    for run in runs {
        let len = run.len as usize;
        let from = part.start.clamp(before, before + len) - before;
        let end = part.end.clamp(before, before + len) - before;
        before += len;
        let rows = place(run);
        for i in from..end {
            let row = run.row(i as u32);
            unsafe {
                let entry = &mut tile[filled];
                let [k, v] = rows.first;
                (entry.k, entry.v) = (k.add(row * width), v.add(row * width));
                if E::SCALED {
                    let [k, v] = rows.scales;
                    (entry.k_scale, entry.v_scale) = (*k.add(row), *v.add(row));
                }
                filled += 1;
                if filled == TILE {
                    to.add::<S, E>(&tile);
                    filled = 0;
                }
            }
        }
    }
    if filled > 0 {
        unsafe { to.add::<S, E>(&tile[..filled]) };
    }
}

/// Adds at most [`TILE`] rows, `[rows][head_dim]`.
///
/// # Safety
/// The pointers must be valid for the heads and rows.
#[inline(always)]
pub(super) unsafe fn add_rows<S: Simd>(
    queries: &Queries,
    unpacked: [*const f32; 2],
    rows: usize,
    into: &mut Partial,
) {
    unsafe {
        if queries.head_dim.is_multiple_of(LANES) {
            add_rows_of::<S, true>(queries, unpacked, rows, into);
        } else {
            add_rows_of::<S, false>(queries, unpacked, rows, into);
        }
    }
}

#[inline(always)]
unsafe fn add_rows_of<S: Simd, const WHOLE: bool>(
    queries: &Queries,
    [keys, values]: [*const f32; 2],
    rows: usize,
    into: &mut Partial,
) {
    let width = queries.head_dim;
    for head in 0..queries.heads {
        unsafe {
            let q = queries.q.add(head * width);
            // Lanes beyond the rows keep a score that no softmax sees.
            let mut score = [f32::NEG_INFINITY; TILE];
            for (row, score) in (0..rows).step_by(4).zip(score.as_chunks_mut::<4>().0) {
                let mut sums = [S::splat(0.0); 4];
                for (c, n) in lanes(width) {
                    let n = if WHOLE { LANES } else { n };
                    let q = S::load_n(q.add(c), n);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        let key = keys.add((row + i).min(rows - 1) * width + c);
                        *sum = S::fma(S::load_n(key, n), q, *sum);
                    }
                }
                let products = S::sum4(sums);
                for i in 0..(rows - row).min(4) {
                    score[i] = products[i] * queries.scale;
                }
            }
            let mut greatest = S::splat(into.max[head]);
            for c in (0..TILE).step_by(LANES) {
                greatest = S::max(greatest, S::load(score.as_ptr().add(c)));
            }
            let max = S::greatest(greatest);
            let mut total = S::splat(0.0);
            for c in (0..TILE).step_by(LANES) {
                let p = score.as_mut_ptr().add(c);
                let weight = S::exp(S::sub(S::load(p), S::splat(max)));
                S::store(p, weight);
                total = S::add(total, weight);
            }
            // Removes what the lanes beyond the rows added: e^-87 each at most, but it should be
            // nothing.
            let spare: f32 = score[rows..].iter().sum();
            let decay = (into.max[head] - max).exp();
            into.sum[head] = into.sum[head] * decay + (S::sum(total) - spare);
            into.max[head] = max;
            let out = into.out.as_mut_ptr().add(head * width);
            let weights = &score[..rows];
            let mut c = 0;
            // Four sums do not wait for each other.
            while c + 4 * LANES <= width {
                add_values::<S, 4>(weights, (values.add(c), width), decay, out.add(c), LANES);
                c += 4 * LANES;
            }
            while c < width {
                let n = if WHOLE { LANES } else { LANES.min(width - c) };
                add_values::<S, 1>(weights, (values.add(c), width), decay, out.add(c), n);
                c += LANES;
            }
        }
    }
}

/// `out = decay * out + weights * values` for `N` vectors of values, the last of `n` lanes; rows of
/// values are `stride` apart.
#[inline(always)]
unsafe fn add_values<S: Simd, const N: usize>(
    weights: &[f32],
    (values, stride): (*const f32, usize),
    decay: f32,
    out: *mut f32,
    n: usize,
) {
    unsafe {
        let mut sums = [S::splat(0.0); N];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = S::mul(S::load_n(out.add(i * LANES), n), S::splat(decay));
        }
        for (row, weight) in weights.iter().enumerate() {
            let weight = S::splat(*weight);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = S::fma(S::load_n(values.add(row * stride + i * LANES), n), weight, *sum);
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            S::store_n(out.add(i * LANES), sum, n);
        }
    }
}

/// Divides by the sums of weights.
#[inline(always)]
pub(super) unsafe fn divide<S: Simd>(into: &mut Partial, head_dim: usize) {
    for (out, sum) in into.out.chunks_exact_mut(head_dim).zip(into.sum.iter()) {
        for (c, n) in lanes(head_dim) {
            unsafe {
                let p = out.as_mut_ptr().add(c);
                S::store_n(p, S::div(S::load_n(p, n), S::splat(*sum)), n);
            }
        }
    }
}

/// Joins the attention of all heads of one token over several parts of its rows: `outs`
/// (`[parts][heads][head_dim]`), `max` and `sum` (`[parts][heads]`) as [`attend`] left them.
#[inline(always)]
pub(super) unsafe fn join<S: Simd>(
    outs: &[f32],
    max: &[f32],
    sum: &[f32],
    head_dim: usize,
    out: &mut [f32],
) {
    let heads = out.len() / head_dim;
    for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
        let of_head = || (head..max.len()).step_by(heads);
        let greatest = of_head().map(|i| max[i]).fold(f32::NEG_INFINITY, f32::max);
        let weight = |i: usize| (max[i] - greatest).exp();
        let total: f32 = of_head().map(|i| sum[i] * weight(i)).sum();
        out.fill(0.0);
        for i in of_head() {
            let share = weight(i) / total;
            for (c, n) in lanes(head_dim) {
                unsafe {
                    let p = out.as_mut_ptr().add(c);
                    let part = S::load_n(outs.as_ptr().add(i * head_dim + c), n);
                    S::store_n(p, S::fma(part, S::splat(share), S::load_n(p, n)), n);
                }
            }
        }
    }
}

/// Converts f32 keys or values of one head to the form they are stored in.
#[inline(always)]
pub(super) unsafe fn convert<S: Simd, E: Plain>(from: &[f32], to: &mut [E]) {
    assert_eq!(from.len(), to.len());
    for (c, n) in lanes(from.len()) {
        unsafe { E::store::<S>(to.as_mut_ptr().add(c), S::load_n(from.as_ptr().add(c), n), n) };
    }
}
