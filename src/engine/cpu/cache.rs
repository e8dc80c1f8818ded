//! What a sequence remembers: ring and window of keys and values, and the mixers' states.

use super::buffer::Buffer;
use super::kernels::{Element, Kept, Places, Rows};
use crate::chunk::{Ledgers, Place};
use crate::engine::Geometry;
use crate::error::Result;
use crate::model::ModelSpec;

/// Keys and values of all layers in one place, `[layer][kv head][row][head_dim]`, and their scales
/// where they have any, `[layer][kv head][row]`.
struct Shelf<E: Element> {
    values: [Buffer<E>; 2],
    scales: [Buffer<f32>; 2],
    rows: usize,
}

impl<E: Element> Shelf<E> {
    fn new(heads: usize, rows: usize, head_dim: usize, what: &'static str) -> Result<Shelf<E>> {
        let rows_of_all = heads.saturating_mul(rows);
        let len = rows_of_all.saturating_mul(head_dim);
        let scales = if E::SCALED { rows_of_all } else { 0 };
        Ok(Shelf {
            values: [Buffer::new(len, what)?, Buffer::new(len, what)?],
            scales: [Buffer::new(scales, what)?, Buffer::new(scales, what)?],
            rows,
        })
    }

    /// # Safety
    /// The rows are not written while the pointers are in use.
    unsafe fn head(&self, index: usize, head_dim: usize) -> Rows<E> {
        let len = self.rows * head_dim;
        let scales = if E::SCALED { self.rows } else { 0 };
        // SAFETY: passed on.
        unsafe {
            Rows {
                first: self.values.each_ref().map(|v| v.read(index * len, len).as_ptr()),
                scales: self.scales.each_ref().map(|s| s.read(index * scales, scales).as_ptr()),
            }
        }
    }

    fn row(&mut self, side: usize, row: usize, head_dim: usize) -> &[E] {
        &self.values[side].as_mut_slice()[row * head_dim..][..head_dim]
    }

    fn bytes(&self) -> usize {
        self.values.iter().map(Buffer::bytes).sum::<usize>()
            + self.scales.iter().map(Buffer::bytes).sum::<usize>()
    }
}

/// The memory of one sequence.
pub(super) struct Cache<K: Kept> {
    ring: Shelf<K::Ring>,
    window: Shelf<K::Near>,
    /// The tokens at hand, one layer's worth: not part of the state.
    block: Shelf<K::Near>,
    /// `[layer][side][head][N][I / H]`
    pub scan: Buffer<f32>,
    /// `[layer][side][C - 1][channels]`: inputs of the convolution, the oldest first.
    pub conv: Buffer<f32>,
    pub ledgers: Ledgers,
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl<K: Kept> Cache<K> {
    pub fn new(spec: &ModelSpec, geometry: Geometry, block: usize) -> Result<Cache<K>> {
        let layer = &spec.layers[0];
        let heads = spec.layers.len() * layer.kv_heads;
        let (scan, conv) = layer
            .ssm
            .map_or((0, 0), |ssm| (2 * ssm.inner * ssm.state, 2 * (ssm.conv - 1) * ssm.channels()));
        let window = geometry.window + 1;
        Ok(Cache {
            ring: Shelf::new(heads, geometry.ring, layer.head_dim, "the ring of chunk states")?,
            window: Shelf::new(heads, window, layer.head_dim, "the window")?,
            block: Shelf::new(layer.kv_heads, block, layer.head_dim, "a block of tokens")?,
            scan: Buffer::new(spec.layers.len() * scan, "scan states")?,
            conv: Buffer::new(spec.layers.len() * conv, "convolution states")?,
            ledgers: geometry.ledgers(spec, block),
            layers: spec.layers.len(),
            kv_heads: layer.kv_heads,
            head_dim: layer.head_dim,
        })
    }

    /// Where the rows of a key head lie.
    ///
    /// # Safety
    /// None of them is written while the pointers are in use.
    pub unsafe fn places(&self, layer: usize, head: usize) -> Places<K::Ring, K::Near> {
        let index = layer * self.kv_heads + head;
        // SAFETY: passed on.
        unsafe {
            Places {
                ring: self.ring.head(index, self.head_dim),
                window: self.window.head(index, self.head_dim),
                block: self.block.head(head, self.head_dim),
            }
        }
    }

    /// The key and the value of a token of the block, to write.
    ///
    /// # Safety
    /// Nobody else touches that row meanwhile.
    #[allow(clippy::mut_from_ref, reason = "disjoint rows for the threads of a region")]
    pub unsafe fn block_row(&self, head: usize, token: usize) -> [&mut [K::Near]; 2] {
        let at = (head * self.block.rows + token) * self.head_dim;
        // SAFETY: passed on.
        self.block.values.each_ref().map(|values| unsafe { values.write(at, self.head_dim) })
    }

    /// Moves what left the window to the ring, and the block to the window, as the layer's books
    /// say.
    pub fn commit(&mut self, layer: usize) {
        let ledger = self.ledgers.layer(layer);
        let n = self.head_dim;
        for head in 0..self.kv_heads {
            let index = layer * self.kv_heads + head;
            let (ring, window) = (index * self.ring.rows, index * self.window.rows);
            for side in 0..2 {
                for to_ring in ledger.moves() {
                    let near = match to_ring.from {
                        Place::Window => self.window.row(side, window + to_ring.row, n),
                        _ => self.block.row(side, head * self.block.rows + to_ring.row, n),
                    };
                    let slot = ring + to_ring.slot;
                    let kept = &mut self.ring.values[side].as_mut_slice()[slot * n..][..n];
                    let scale = K::keep(near, kept);
                    if K::Ring::SCALED {
                        self.ring.scales[side].as_mut_slice()[slot] = scale;
                    }
                }
                for (from, slot) in ledger.enter() {
                    let near = self.block.row(side, head * self.block.rows + from, n);
                    let at = (window + slot) * n;
                    self.window.values[side].as_mut_slice()[at..][..n].copy_from_slice(near);
                }
                for (from, to) in ledger.compaction() {
                    let (from, to) = (ring + from, ring + to);
                    let values = self.ring.values[side].as_mut_slice();
                    values.copy_within(from * n..(from + 1) * n, to * n);
                    if K::Ring::SCALED {
                        let scales = self.ring.scales[side].as_mut_slice();
                        scales[to] = scales[from];
                    }
                }
            }
        }
    }

    /// Makes the ring as small as `ring` rows, and gives the rest of its memory back.
    pub fn shrink(&mut self, ring: usize) {
        if ring >= self.ring.rows {
            return;
        }
        let n = self.head_dim;
        let slots: Vec<Vec<usize>> = (0..self.layers)
            .map(|layer| self.ledgers.layer(layer).order().flatten().collect())
            .collect();
        let kept = self.ledgers.shrink(ring);
        let old = self.ring.rows;
        let heads = self.layers * self.kv_heads;
        for side in 0..2 {
            // Heads move towards the beginning, each by way of a copy, as its states were not in
            // the order of their slots.
            let values = self.ring.values[side].as_mut_slice();
            let scales = self.ring.scales[side].as_mut_slice();
            for head in 0..heads {
                let layer = head / self.kv_heads;
                let slots = kept[layer].iter().map(|&state| head * old + slots[layer][state]);
                let rows: Vec<K::Ring> =
                    slots.clone().flat_map(|row| values[row * n..][..n].iter().copied()).collect();
                values[head * ring * n..][..rows.len()].copy_from_slice(&rows);
                if K::Ring::SCALED {
                    let of_rows: Vec<f32> = slots.map(|row| scales[row]).collect();
                    scales[head * ring..][..of_rows.len()].copy_from_slice(&of_rows);
                }
            }
            self.ring.values[side].truncate(heads * ring * n);
            self.ring.scales[side].truncate(if K::Ring::SCALED { heads * ring } else { 0 });
        }
        self.ring.rows = ring;
    }

    /// The pieces of the image, in the order that [`Geometry::image_bytes`] tells, to read or to
    /// fill.
    pub fn pieces(&mut self, each: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        let position = self.ledgers.position();
        if position == 0 {
            return Ok(());
        }
        let n = self.head_dim;
        let in_window = usize::try_from(position).unwrap_or(usize::MAX).min(self.window.rows);
        for layer in 0..self.layers {
            let heads = layer * self.kv_heads..(layer + 1) * self.kv_heads;
            let ledger = self.ledgers.layer(layer);
            for side in 0..2 {
                let values = self.ring.values[side].as_mut_slice();
                for head in heads.clone() {
                    for slots in ledger.order() {
                        let rows = head * self.ring.rows + slots.start;
                        let rows = &mut values[rows * n..][..slots.len() * n];
                        each(bytemuck::cast_slice_mut(rows))?;
                    }
                }
                if K::Ring::SCALED {
                    let scales = self.ring.scales[side].as_mut_slice();
                    for head in heads.clone() {
                        for slots in ledger.order() {
                            let rows = head * self.ring.rows + slots.start;
                            each(bytemuck::cast_slice_mut(&mut scales[rows..][..slots.len()]))?;
                        }
                    }
                }
            }
            for values in &mut self.window.values {
                let values = values.as_mut_slice();
                for head in heads.clone() {
                    let rows = &mut values[head * self.window.rows * n..][..in_window * n];
                    each(bytemuck::cast_slice_mut(rows))?;
                }
            }
            for states in [&mut self.scan, &mut self.conv] {
                let states = states.as_mut_slice();
                let len = states.len() / self.layers;
                each(bytemuck::cast_slice_mut(&mut states[layer * len..][..len]))?;
            }
        }
        Ok(())
    }

    /// Bytes of the state.
    pub fn state_bytes(&self) -> usize {
        self.ring.bytes() + self.window.bytes() + self.scan.bytes() + self.conv.bytes()
    }

    /// Bytes of the block at hand, and of the books.
    pub fn block_bytes(&self) -> usize {
        self.block.bytes() + self.ledgers.bytes()
    }
}
