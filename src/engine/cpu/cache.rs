//! What a sequence remembers: ring and window of keys and values, and the mixers' states.

use super::buffer::Buffer;
use super::kernels::{Rows, Stored};
use crate::chunk::{Place, Schedule};
use crate::engine::Geometry;
use crate::error::Result;
use crate::model::Hyper;

/// Keys and values of all layers in one place, `[layer][kv head][row][head_dim]`.
struct Shelf<E: Stored> {
    k: Buffer<E>,
    v: Buffer<E>,
    rows: usize,
}

impl<E: Stored> Shelf<E> {
    fn new(heads: usize, rows: usize, head_dim: usize, what: &'static str) -> Result<Shelf<E>> {
        let len = heads.saturating_mul(rows).saturating_mul(head_dim);
        Ok(Shelf { k: Buffer::new(len, what)?, v: Buffer::new(len, what)?, rows })
    }

    /// # Safety
    /// The rows are not written while the pointers are in use.
    unsafe fn head(&self, index: usize, head_dim: usize) -> Rows<E> {
        let len = self.rows * head_dim;
        // SAFETY: passed on.
        unsafe {
            Rows {
                k: self.k.read(index * len, len).as_ptr(),
                v: self.v.read(index * len, len).as_ptr(),
            }
        }
    }

    fn bytes(&self) -> usize {
        self.k.bytes() + self.v.bytes()
    }
}

/// The memory of one sequence.
pub(super) struct Cache<E: Stored> {
    ring: Shelf<E>,
    window: Shelf<E>,
    /// The tokens at hand, one layer's worth: not part of the state.
    block: Shelf<E>,
    /// `[layer][side][head][N][I / H]`
    pub scan: Buffer<f32>,
    /// `[layer][side][C - 1][channels]`: inputs of the convolution, the oldest first.
    pub conv: Buffer<f32>,
    schedules: Vec<Schedule>,
    kv_heads: usize,
    head_dim: usize,
}

impl<E: Stored> Cache<E> {
    pub fn new(hyper: &Hyper, geometry: Geometry, block: usize) -> Result<Cache<E>> {
        let heads = hyper.layers * hyper.kv_heads;
        let (scan, conv) = hyper
            .ssm
            .map_or((0, 0), |ssm| (2 * ssm.inner * ssm.state, 2 * (ssm.conv - 1) * ssm.channels()));
        Ok(Cache {
            ring: Shelf::new(heads, geometry.ring, hyper.head_dim, "the ring of chunk states")?,
            window: Shelf::new(heads, hyper.window + 1, hyper.head_dim, "the window")?,
            block: Shelf::new(hyper.kv_heads, block, hyper.head_dim, "a block of tokens")?,
            scan: Buffer::new(hyper.layers * scan, "scan states")?,
            conv: Buffer::new(hyper.layers * conv, "convolution states")?,
            schedules: (0..hyper.layers).map(|l| hyper.schedule(l, geometry.ring)).collect(),
            kv_heads: hyper.kv_heads,
            head_dim: hyper.head_dim,
        })
    }

    pub fn schedule(&self, layer: usize) -> Schedule {
        self.schedules[layer]
    }

    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// Where the rows of a key head lie: ring, window, block.
    ///
    /// # Safety
    /// None of them is written while the pointers are in use.
    pub unsafe fn places(&self, layer: usize, head: usize) -> [Rows<E>; 3] {
        let index = layer * self.kv_heads + head;
        // SAFETY: passed on.
        unsafe {
            [
                self.ring.head(index, self.head_dim),
                self.window.head(index, self.head_dim),
                self.block.head(head, self.head_dim),
            ]
        }
    }

    /// The key and the value of a token of the block, to write.
    ///
    /// # Safety
    /// Nobody else touches that row meanwhile.
    #[allow(clippy::mut_from_ref, reason = "disjoint rows for the threads of a region")]
    pub unsafe fn block_row(&self, head: usize, token: usize) -> (&mut [E], &mut [E]) {
        let at = (head * self.block.rows + token) * self.head_dim;
        // SAFETY: passed on.
        unsafe { (self.block.k.write(at, self.head_dim), self.block.v.write(at, self.head_dim)) }
    }

    /// Moves what left the window to the ring, and the block to the window.
    pub fn commit(&mut self, layer: usize, start: u64, tokens: usize) {
        let schedule = self.schedules[layer];
        for head in 0..self.kv_heads {
            let index = layer * self.kv_heads + head;
            for (place, row, slot) in schedule.retire(start, tokens as u64) {
                match place {
                    Place::Window => {
                        self.copy_row(&self.window, index, row, &self.ring, index, slot)
                    }
                    _ => self.copy_row(&self.block, head, row, &self.ring, index, slot),
                }
            }
            for (row, slot) in schedule.enter(start, tokens as u64) {
                self.copy_row(&self.block, head, row, &self.window, index, slot);
            }
        }
    }

    fn copy_row(
        &self,
        from: &Shelf<E>,
        from_head: usize,
        row: usize,
        to: &Shelf<E>,
        to_head: usize,
        slot: usize,
    ) {
        let n = self.head_dim;
        let from_at = (from_head * from.rows + row) * n;
        let to_at = (to_head * to.rows + slot) * n;
        // SAFETY: `commit` holds the cache alone, and the two shelves are different ones.
        unsafe {
            to.k.write(to_at, n).copy_from_slice(from.k.read(from_at, n));
            to.v.write(to_at, n).copy_from_slice(from.v.read(from_at, n));
        }
    }

    /// The pieces of the image at `position`, in the order that
    /// [`Geometry::image_bytes`] tells, to read or to fill.
    pub fn pieces(
        &mut self,
        position: u64,
        each: &mut dyn FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        if position == 0 {
            return Ok(());
        }
        let layers = self.schedules.len();
        for (layer, schedule) in self.schedules.iter().enumerate() {
            let in_window = usize::try_from(position).unwrap_or(usize::MAX).min(self.window.rows);
            let shelves =
                [(&mut self.ring, schedule.ring_rows(position)), (&mut self.window, in_window)];
            for (shelf, rows) in shelves {
                let head_len = shelf.rows * self.head_dim;
                for values in [&mut shelf.k, &mut shelf.v] {
                    let values = values.as_mut_slice();
                    for head in layer * self.kv_heads..(layer + 1) * self.kv_heads {
                        let rows = &mut values[head * head_len..][..rows * self.head_dim];
                        each(bytemuck::cast_slice_mut(rows))?;
                    }
                }
            }
            for states in [&mut self.scan, &mut self.conv] {
                let states = states.as_mut_slice();
                let len = states.len() / layers;
                each(bytemuck::cast_slice_mut(&mut states[layer * len..][..len]))?;
            }
        }
        Ok(())
    }

    /// Bytes of the state.
    pub fn state_bytes(&self) -> usize {
        self.ring.bytes() + self.window.bytes() + self.scan.bytes() + self.conv.bytes()
    }

    /// Bytes of the block at hand.
    pub fn block_bytes(&self) -> usize {
        self.block.bytes()
    }
}
