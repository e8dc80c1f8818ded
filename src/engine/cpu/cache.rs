//! The memory of a sequence: ring and window of keys and values, and the mixers' states.

use super::buffer::Buffer;
use super::kernels::{
    BlockBuffers, Kept, Kernels, Partial, Places, Precision, Queries, QueryBlock, Rows, Stored,
};
use crate::cache::{HeadRows, Layout, Place, Remap, RingKind, Run, Stretch, Tables};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Where the rows of a class of KV heads are on a shelf.
#[derive(Clone, Copy)]
struct Board {
    /// Rows of the preceding classes, and their elements.
    first_row: usize,
    first_value: usize,
    /// Rows per head, and elements per row.
    rows: usize,
    width: usize,
}

impl Board {
    /// Index of a row among all of the shelf.
    fn row(&self, head: usize, slot: usize) -> usize {
        self.first_row + head * self.rows + slot
    }

    /// Where the values of a row start.
    fn value(&self, head: usize, slot: usize) -> usize {
        self.first_value + (head * self.rows + slot) * self.width
    }
}

/// Keys and values of some classes in one place, `[class][head][row][head_dim]`, and their scales
/// if they have any, `[class][head][row]`.
struct Shelf<E: Stored> {
    values: [Buffer<E>; 2],
    scales: [Buffer<f32>; 2],
    boards: Vec<Board>,
}

impl<E: Stored> Shelf<E> {
    /// For classes given as number of heads, rows per head, and width.
    fn new(
        classes: impl Iterator<Item = (usize, usize, usize)>,
        what: &'static str,
    ) -> Result<Shelf<E>> {
        let (boards, rows, values) = boards::<E>(classes);
        let scales = if E::SCALED { rows } else { 0 };
        Ok(Shelf {
            values: [Buffer::new(values, what)?, Buffer::new(values, what)?],
            scales: [Buffer::new(scales, what)?, Buffer::new(scales, what)?],
            boards,
        })
    }

    /// # Safety
    /// The rows must not be written while the pointers are in use.
    unsafe fn head(&self, class: usize, head: usize) -> Rows<E> {
        let board = self.boards[class];
        let (at, len) = (board.value(head, 0), board.rows * board.width);
        let scales = if E::SCALED { (board.row(head, 0), board.rows) } else { (0, 0) };
        // SAFETY: passed on.
        unsafe {
            Rows {
                first: self.values.each_ref().map(|v| v.read(at, len).as_ptr()),
                scales: self.scales.each_ref().map(|s| s.read(scales.0, scales.1).as_ptr()),
            }
        }
    }

    /// Rows of a head, one after the other.
    fn rows(&mut self, of: &HeadRows) -> &mut [E] {
        let board = self.boards[of.class];
        let (at, len) = (board.value(of.head, of.slots.start), of.slots.len() * board.width);
        &mut self.values[of.side].as_mut_slice()[at..][..len]
    }

    fn row(&mut self, class: usize, side: usize, head: usize, slot: usize) -> &mut [E] {
        self.rows(&HeadRows { class, side, head, slots: slot..slot + 1 })
    }

    /// Their scales.
    fn scales(&mut self, of: &HeadRows) -> &mut [f32] {
        let at = self.boards[of.class].row(of.head, of.slots.start);
        &mut self.scales[of.side].as_mut_slice()[at..][..of.slots.len()]
    }

    /// Copies a row to another of the same head.
    fn copy(&mut self, class: usize, side: usize, head: usize, [from, to]: [usize; 2]) {
        let board = self.boards[class];
        let values = self.values[side].as_mut_slice();
        let start = board.value(head, from);
        values.copy_within(start..start + board.width, board.value(head, to));
        if E::SCALED {
            let scales = self.scales[side].as_mut_slice();
            scales[board.row(head, to)] = scales[board.row(head, from)];
        }
    }

    /// Shortens heads of a ring: they move towards the beginning, each by way of a copy, since its
    /// rows were not in slot order.
    fn shrink(&mut self, remap: &Remap, kind: RingKind) {
        let (boards, rows, values) = boards::<E>(rings(&remap.to, kind));
        let own = |class: usize| kind == remap.to.classes()[class].kv.into();
        for (class, side, head, slots) in remap.heads().filter(|of| own(of.0)) {
            let [old, new] = [&self.boards[class], &boards[class]];
            let values = self.values[side].as_mut_slice();
            let rows = slots.iter().map(|slot| old.value(head, *slot));
            let moved: Vec<E> =
                rows.flat_map(|at| values[at..at + old.width].iter().copied()).collect();
            values[new.value(head, 0)..][..moved.len()].copy_from_slice(&moved);
            if E::SCALED {
                let scales = self.scales[side].as_mut_slice();
                let moved: Vec<f32> =
                    slots.iter().map(|slot| scales[old.row(head, *slot)]).collect();
                scales[new.row(head, 0)..][..moved.len()].copy_from_slice(&moved);
            }
        }
        self.values.iter_mut().for_each(|of_side| of_side.truncate(values));
        let scales = if E::SCALED { rows } else { 0 };
        self.scales.iter_mut().for_each(|of_side| of_side.truncate(scales));
        self.boards = boards;
    }

    fn bytes(&self) -> usize {
        self.values.iter().map(Buffer::bytes).sum::<usize>()
            + self.scales.iter().map(Buffer::bytes).sum::<usize>()
    }
}

/// The boards of the classes, one after the other, and the total rows and values.
fn boards<E: Stored>(
    classes: impl Iterator<Item = (usize, usize, usize)>,
) -> (Vec<Board>, usize, usize) {
    let (mut first_row, mut first_value) = (0_usize, 0_usize);
    let boards = classes
        .map(|(heads, rows, head_dim)| {
            let width = E::in_row(head_dim);
            let board = Board { first_row, first_value, rows, width };
            let all = heads.saturating_mul(rows);
            first_row = first_row.saturating_add(all);
            first_value = first_value.saturating_add(all.saturating_mul(width));
            board
        })
        .collect();
    (boards, first_row, first_value)
}

/// Heads, slots and width of the rings of all classes; no slots for rings of another kind.
fn rings(layout: &Layout, kind: RingKind) -> impl Iterator<Item = (usize, usize, usize)> {
    layout.classes().iter().map(move |class| {
        let slots = if kind == class.kv.into() { class.ring } else { 0 };
        (class.heads.len(), slots, layout.shape(class).head_dim)
    })
}

type PlainRing<P> = <<P as Precision>::Plain as Kept>::Ring;
type ShortRing<P> = <<P as Precision>::Short as Kept>::Ring;
type NibbleRing<P> = <<P as Precision>::Nibbles as Kept>::Ring;

/// The memory of one sequence. Classes of KV heads may store their rings in different types.
pub(super) struct Cache<P: Precision> {
    plain: Shelf<PlainRing<P>>,
    short: Shelf<ShortRing<P>>,
    nibbles: Shelf<NibbleRing<P>>,
    window: Shelf<P::Near>,
    /// The current tokens, a board for each layer, all in the same place: not part of the state.
    block: Shelf<P::Near>,
    /// `[layer][side][head][N][I / H]`
    pub scan: Buffer<f32>,
    /// `[layer][side][C - 1][channels]`: inputs of the convolution, oldest first.
    pub conv: Buffer<f32>,
    pub tables: Tables,
}

impl<P: Precision> Cache<P> {
    /// Empty, for blocks of at most `block` tokens.
    pub fn new(layout: Arc<Layout>, block: usize) -> Result<Cache<P>> {
        let layers = layout.layers();
        let windows = layout.classes().iter();
        let windows = windows.map(|c| (c.heads.len(), c.window + 1, layout.shape(c).head_dim));
        // One layer at a time: the widest determines the length of the shelf, and all begin at its
        // start.
        let widest = layers.iter().map(|of| of.kv_heads * of.head_dim).max().unwrap_or(0);
        let mut of_block = Shelf::new([(1, block, widest)].into_iter(), "a block of tokens")?;
        let board = |width| Board { first_row: 0, first_value: 0, rows: block, width };
        of_block.boards = layers.iter().map(|of| board(of.head_dim)).collect();
        let scan = layers.iter().map(|of| of.scan).sum();
        let conv = layers.iter().map(|of| of.conv).sum();
        let of_rings = "the ring of chunk states";
        Ok(Cache {
            plain: Shelf::new(rings(&layout, RingKind::Plain), of_rings)?,
            short: Shelf::new(rings(&layout, RingKind::Short), of_rings)?,
            nibbles: Shelf::new(rings(&layout, RingKind::Nibbles), of_rings)?,
            window: Shelf::new(windows, "the window")?,
            block: of_block,
            scan: Buffer::new(scan, "scan states")?,
            conv: Buffer::new(conv, "convolution states")?,
            tables: Tables::new(layout, block)?,
        })
    }

    /// Attention of `queries` over `rows` of `runs` in a KV head of a layer: see
    /// [`Kernels::attend`].
    ///
    /// # Safety
    /// The runs must be some of what a token of the block sees there ([`Cache::visible`]), and the
    /// block must have been checked by [`Cache::check_visible`]. None of the rows may be written
    /// meanwhile, and `into` must be as the kernel wants it.
    pub unsafe fn attend(
        &self,
        kernels: &Kernels,
        queries: &Queries,
        place: (usize, usize),
        runs: &[Run],
        rows: Range<usize>,
        into: &mut Partial,
    ) {
        let (class, number) = self.tables.layout().place(place.0, place.1);
        // SAFETY: passed on.
        unsafe {
            match RingKind::from(self.tables.layout().classes()[class].kv) {
                RingKind::Short => {
                    let places = self.places(&self.short, (class, number), place);
                    kernels.attend::<P::Short>(queries, &places, runs, rows, into);
                }
                RingKind::Nibbles => {
                    let places = self.places(&self.nibbles, (class, number), place);
                    kernels.attend::<P::Nibbles>(queries, &places, runs, rows, into);
                }
                RingKind::Plain => {
                    let places = self.places(&self.plain, (class, number), place);
                    kernels.attend::<P::Plain>(queries, &places, runs, rows, into);
                }
            }
        }
    }

    /// The same for the queries of several tokens, all of which see the rows: see
    /// [`Kernels::attend_block`].
    ///
    /// # Safety
    /// As [`Cache::attend`].
    pub unsafe fn attend_block(
        &self,
        kernels: &Kernels,
        queries: &QueryBlock,
        place: (usize, usize),
        runs: &[Run],
        into: &mut BlockBuffers,
    ) {
        let (class, number) = self.tables.layout().place(place.0, place.1);
        // SAFETY: passed on.
        unsafe {
            match RingKind::from(self.tables.layout().classes()[class].kv) {
                RingKind::Short => {
                    let places = self.places(&self.short, (class, number), place);
                    kernels.attend_block::<P::Short>(queries, &places, runs, into);
                }
                RingKind::Nibbles => {
                    let places = self.places(&self.nibbles, (class, number), place);
                    kernels.attend_block::<P::Nibbles>(queries, &places, runs, into);
                }
                RingKind::Plain => {
                    let places = self.places(&self.plain, (class, number), place);
                    kernels.attend_block::<P::Plain>(queries, &places, runs, into);
                }
            }
        }
    }

    /// What a token of the block sees in a KV head of a layer.
    pub fn visible(&self, layer: usize, head: usize, t: usize) -> &[Run] {
        self.tables.class(self.tables.layout().place(layer, head).0).visible(t)
    }

    /// Where the rows of a KV head are, whose ring is on this shelf.
    ///
    /// # Safety
    /// None of the rows may be written while the pointers are in use.
    unsafe fn places<R: Stored>(
        &self,
        ring: &Shelf<R>,
        (class, number): (usize, usize),
        (layer, head): (usize, usize),
    ) -> Places<R, P::Near> {
        // SAFETY: passed on.
        unsafe {
            Places {
                ring: ring.head(class, number),
                window: self.window.head(class, number),
                block: self.block.head(layer, head),
            }
        }
    }

    /// The key and the value of a token of the block, to write.
    ///
    /// # Safety
    /// Nobody else may touch that row meanwhile.
    #[allow(clippy::mut_from_ref, reason = "disjoint rows for the threads of a region")]
    pub unsafe fn block_row(&self, layer: usize, head: usize, token: usize) -> [&mut [P::Near]; 2] {
        let board = self.block.boards[layer];
        let at = board.value(head, token);
        // SAFETY: passed on.
        self.block.values.each_ref().map(|values| unsafe { values.write(at, board.width) })
    }

    /// Checks in one pass what the block of `len` tokens sees: the attention kernels read those rows
    /// without looking at their numbers again.
    ///
    /// # Errors
    /// [`Error::Argument`] if a table points outside of the cache; nothing has been read then.
    pub fn check_visible(&self, len: usize) -> Result<()> {
        let layout = self.tables.layout();
        for (index, class) in layout.classes().iter().enumerate() {
            let ring = match class.kv.into() {
                RingKind::Short => self.short.boards[index].rows,
                RingKind::Nibbles => self.nibbles.boards[index].rows,
                RingKind::Plain => self.plain.boards[index].rows,
            };
            let rows = |place| match place {
                Place::Ring => ring,
                Place::Window => self.window.boards[index].rows,
                Place::Block => self.block.boards[class.layer].rows,
            };
            let seen = (0..len).flat_map(|t| self.tables.class(index).visible(t));
            for run in seen.filter(|run| run.len > 0) {
                let last = run.row(run.len - 1);
                if last >= rows(run.place) {
                    return Err(Error::argument(
                        format!("a block table of layer {}", class.layer),
                        format!("points to row {last} of {} in {:?}", rows(run.place), run.place),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Moves what left the window to the ring, and the block to the window, as the tables of the
    /// layer's classes say.
    pub fn commit(&mut self, layer: usize) {
        for class in self.tables.layout().classes_of(layer) {
            let Cache { plain, short, nibbles, window, block, tables, .. } = self;
            match tables.layout().classes()[class].kv.into() {
                RingKind::Short => move_rows::<P::Short>(short, window, block, tables, class),
                RingKind::Nibbles => {
                    move_rows::<P::Nibbles>(nibbles, window, block, tables, class);
                }
                RingKind::Plain => {
                    move_rows::<P::Plain>(plain, window, block, tables, class);
                }
            }
        }
    }

    /// Shrinks rings to this many rows, one number per class, and frees the rest of their memory.
    ///
    /// # Errors
    /// As [`Tables::shrink`].
    pub fn shrink(&mut self, rings: &[usize]) -> Result<()> {
        let remap = self.tables.shrink(rings)?;
        self.plain.shrink(&remap, RingKind::Plain);
        self.short.shrink(&remap, RingKind::Short);
        self.nibbles.shrink(&remap, RingKind::Nibbles);
        Ok(())
    }

    /// The pieces of the image, in the order of [`Tables::image`], to read or to fill.
    pub fn pieces(&mut self, each: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        let Cache { plain, short, nibbles, window, scan, conv, tables, .. } = self;
        let kind = |of: &HeadRows| RingKind::from(tables.layout().classes()[of.class].kv);
        let before = |layer, values: fn(&crate::cache::LayerShape) -> usize| {
            tables.layout().layers()[..layer].iter().map(values).sum::<usize>()
        };
        tables.image(&mut |stretch| match stretch {
            Stretch::Ring(of) => match kind(&of) {
                RingKind::Short => each(bytemuck::cast_slice_mut(short.rows(&of))),
                RingKind::Nibbles => each(bytemuck::cast_slice_mut(nibbles.rows(&of))),
                RingKind::Plain => each(bytemuck::cast_slice_mut(plain.rows(&of))),
            },
            Stretch::Scales(of) => each(bytemuck::cast_slice_mut(short.scales(&of))),
            Stretch::Window(of) => each(bytemuck::cast_slice_mut(window.rows(&of))),
            Stretch::Scan(layer) => {
                let (at, len) = (before(layer, |of| of.scan), tables.layout().layers()[layer].scan);
                each(bytemuck::cast_slice_mut(&mut scan.as_mut_slice()[at..][..len]))
            }
            Stretch::Conv(layer) => {
                let (at, len) = (before(layer, |of| of.conv), tables.layout().layers()[layer].conv);
                each(bytemuck::cast_slice_mut(&mut conv.as_mut_slice()[at..][..len]))
            }
        })
    }

    /// Bytes of the state.
    pub fn state_bytes(&self) -> usize {
        self.plain.bytes()
            + self.short.bytes()
            + self.nibbles.bytes()
            + self.window.bytes()
            + self.scan.bytes()
            + self.conv.bytes()
    }

    /// Bytes of the current block, and of the tables.
    pub fn block_bytes(&self) -> usize {
        self.block.bytes() + self.tables.bytes()
    }
}

/// Moves what left the window to the ring, and the block to the window, for a class of heads.
fn move_rows<K: Kept>(
    ring: &mut Shelf<K::Ring>,
    window: &mut Shelf<K::Near>,
    block: &mut Shelf<K::Near>,
    tables: &Tables,
    class: usize,
) {
    let table = tables.class(class);
    let of = &tables.layout().classes()[class];
    // Indices within the class, and within the layer, whose heads are in the block.
    for (head, &of_layer) in of.heads.iter().enumerate() {
        for side in 0..2 {
            for m in table.moves() {
                let (row, slot) = (m.row as usize, m.slot as usize);
                let near = match m.from {
                    Place::Ring => {
                        ring.copy(class, side, head, [row, slot]);
                        continue;
                    }
                    Place::Window => window.row(class, side, head, row),
                    Place::Block => block.row(of.layer, side, of_layer, row),
                };
                let scale = K::keep(near, ring.row(class, side, head, slot));
                if K::Ring::SCALED {
                    let slots = slot..slot + 1;
                    ring.scales(&HeadRows { class, side, head, slots })[0] = scale;
                }
            }
            for (from, slot) in table.enter() {
                let near = block.row(of.layer, side, of_layer, from);
                window.row(class, side, head, slot).copy_from_slice(near);
            }
        }
    }
}

#[cfg(test)]
mod tests;
