//! The memory of a sequence, in fixed buffers: ring and window of keys and values, and the mixers'
//! states.

use super::device::Device;
use super::plan::KvHead;
use crate::cache::{Class, HeadRows, KvType, Layout, Remap, RingKind, Stretch, Tables};
use crate::error::Result;
use crate::model::{LayerSpec, ModelSpec};
use crate::room;
use std::ops::Range;
use std::sync::Arc;
use wgpu::Buffer;

/// Maximum bytes of an image that are copied at a time.
const STAGED: u64 = 32 << 20;

/// Rings and windows of some layers whose windows are equally long. A window is `[layer][side][kv head][slot][head_dim]`. Rings of
/// one kind follow each other class by class, `[side][head][slot][head_dim]`; rows of integers are
/// padded to whole words, and those of a class in 8 bits are followed by its scales
/// `[side][head][slot]`.
pub(super) struct Shelf {
    /// The first of the layers.
    pub first: usize,
    pub layers: usize,
    /// By [`RingKind`]; none if no ring on the shelf is of the kind.
    pub rings: [Option<Buffer>; RingKind::ALL.len()],
    pub window: Buffer,
    /// Rows of a head in the window of a layer, the current token's included.
    pub window_rows: usize,
}

/// The mixers' states of a layer.
pub(super) struct MixerState {
    /// `[side][head][N][I / H]`
    pub scan: Buffer,
    /// `[side][C - 1][channels]`: inputs of the convolution, oldest first.
    pub conv: Buffer,
}

/// The memory of one sequence.
pub(super) struct Memory {
    pub shelves: Vec<Shelf>,
    /// For each layer.
    mixers: Vec<Option<MixerState>>,
    layout: Arc<Layout>,
    /// For each class, where its ring begins among those of its kind on the shelf, in bytes.
    ring_at: Vec<u64>,
    /// How keys and values are stored in window and block.
    near: KvType,
    kv_heads: usize,
    head_dim: usize,
    /// Bytes of scan states and of the convolution's inputs, per layer.
    mixer_bytes: [u64; 2],
}

/// A stretch of an image and where it is on the GPU.
struct Piece<'a> {
    buffer: &'a Buffer,
    offset: u64,
    /// Bytes there.
    bytes: u64,
    /// Bytes of a row there and in the image; 1 and 1 if rows are not padded.
    row: (u64, u64),
}

impl<'a> Piece<'a> {
    fn new(buffer: &'a Buffer, offset: u64, bytes: u64) -> Piece<'a> {
        Piece { buffer, offset, bytes, row: (1, 1) }
    }

    /// Pieces small enough to be staged, of whole rows.
    fn cut(self) -> impl Iterator<Item = Piece<'a>> {
        let Piece { buffer, offset, bytes, row } = self;
        let most = STAGED / row.0 * row.0;
        (0..bytes).step_by(most as usize).map(move |at| {
            let bytes = most.min(bytes - at);
            Piece { buffer, offset: offset + at, bytes, row }
        })
    }

    /// Bytes in the image.
    fn image_bytes(&self) -> usize {
        (self.bytes / self.row.0 * self.row.1) as usize
    }
}

impl Memory {
    pub fn new(device: &Device, spec: &ModelSpec, layout: Arc<Layout>) -> Result<Memory> {
        let layer = &spec.layers[0];
        let mixer_bytes = spec.ssm().map_or([0; 2], |ssm| {
            let conv = (ssm.conv - 1) * ssm.channels();
            [ssm.inner * ssm.state, conv].map(|values| 2 * 4 * values as u64)
        });
        let state = |layer: &LayerSpec| {
            let Some(_) = layer.ssm else { return Ok(None) };
            Ok(Some(MixerState {
                scan: device.storage(mixer_bytes[0], "scan states")?,
                conv: device.storage(mixer_bytes[1], "inputs of the convolution")?,
            }))
        };
        let mixers = spec.layers.iter().map(state).collect::<Result<_>>()?;
        // The same for all classes.
        let class = &layout.classes()[0];
        let near = if class.kv == KvType::F32 { KvType::F32 } else { KvType::F16 };
        let mut memory = Memory {
            shelves: Vec::new(),
            mixers,
            near,
            kv_heads: layer.kv_heads,
            head_dim: layer.head_dim,
            mixer_bytes,
            ring_at: Vec::new(),
            layout,
        };
        memory.allocate(device)?;
        Ok(memory)
    }

    /// The mixers' states of a layer that has mixers.
    pub fn mixer(&self, layer: usize) -> Option<&MixerState> {
        self.mixers.get(layer)?.as_ref()
    }

    /// How keys and values are stored in window and block.
    pub fn near(&self) -> KvType {
        self.near
    }

    /// How rings of a kind are stored.
    pub fn stored(&self, kind: RingKind) -> KvType {
        match kind {
            RingKind::Plain => self.near,
            RingKind::Short => KvType::I8,
            RingKind::Nibbles => KvType::I4,
        }
    }

    /// The kinds of rings that some layers have.
    pub fn kinds(&self, layers: Range<usize>) -> impl Iterator<Item = RingKind> {
        let classes = layers.flat_map(|layer| self.layout.classes_of(layer));
        let classes: Vec<&Class> = classes
            .map(|class| &self.layout.classes()[class])
            .filter(|c| !c.heads.is_empty())
            .collect();
        RingKind::ALL
            .into_iter()
            .filter(move |kind| classes.iter().any(|c| RingKind::from(c.kv) == *kind))
    }

    /// Bytes of a row of a key head in the window.
    fn row_bytes(&self) -> u64 {
        let value = if self.near == KvType::F32 { 4 } else { 2 };
        self.head_dim as u64 * value
    }

    /// Bytes of a row in a ring of a kind, and of its scale.
    fn ring_row_bytes(&self, kind: RingKind) -> (u64, u64) {
        let stored = self.stored(kind);
        (stored.ring_row(self.head_dim).next_multiple_of(4), stored.scale())
    }

    /// Bytes of a class's ring.
    fn ring_bytes(&self, class: &Class) -> u64 {
        let (row, scale) = self.ring_row_bytes(RingKind::from(class.kv));
        (2 * class.heads.len() as u64 * (row + scale)).saturating_mul(class.ring as u64)
    }

    /// Rows of a head in a layer's window.
    fn window_rows(&self, layer: usize) -> usize {
        // The same for all classes of a layer.
        self.layout.classes()[self.layout.classes_of(layer).start].window + 1
    }

    /// Bytes of a layer's window.
    fn window_bytes(&self, layer: usize) -> u64 {
        let rows = self.window_rows(layer) as u64;
        (2 * self.kv_heads as u64 * self.row_bytes()).saturating_mul(rows)
    }

    /// Allocates as few shelves as bindings and windows allow.
    fn allocate(&mut self, device: &Device) -> Result<()> {
        let layout = Arc::clone(&self.layout);
        let limits = &device.limits;
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        // Layers, bytes of the rings of each kind, bytes of the windows.
        let mut shelves: Vec<(Range<usize>, [u64; 3], u64)> = Vec::new();
        self.ring_at.clear();
        for layer in 0..layout.layers().len() {
            let classes = &layout.classes()[layout.classes_of(layer)];
            let mut rings = [0_u64; 3];
            for class in classes {
                let of_kind = &mut rings[RingKind::from(class.kv) as usize];
                *of_kind = of_kind.saturating_add(self.ring_bytes(class));
            }
            let window_bytes = self.window_bytes(layer);
            let fits = |(layers, held, window): &(Range<usize>, [u64; 3], u64)| {
                let of_kinds = held.iter().zip(rings).map(|(held, ring)| held.saturating_add(ring));
                let window = window.saturating_add(window_bytes);
                self.window_rows(layers.start) == self.window_rows(layer)
                    && of_kinds.chain([window]).all(|bytes| bytes <= most)
            };
            if !shelves.last().is_some_and(fits) {
                shelves.push((layer..layer, [0; 3], 0));
            }
            let Some((layers, held, window)) = shelves.last_mut() else { continue };
            for class in classes {
                let of_kind = &mut held[RingKind::from(class.kv) as usize];
                self.ring_at.push(*of_kind);
                *of_kind = of_kind.saturating_add(self.ring_bytes(class));
            }
            layers.end = layer + 1;
            *window = window.saturating_add(window_bytes);
        }
        let shelves = shelves.into_iter().map(|(layers, rings, window)| {
            let mut of_kinds = [None, None, None];
            for kind in self.kinds(layers.clone()) {
                let bytes = rings[kind as usize];
                of_kinds[kind as usize] = Some(device.storage(bytes, "the ring of chunk states")?);
            }
            Ok(Shelf {
                window_rows: self.window_rows(layers.start),
                first: layers.start,
                layers: layers.len(),
                rings: of_kinds,
                window: device.storage(window, "the window")?,
            })
        });
        self.shelves = shelves.collect::<Result<_>>()?;
        Ok(())
    }

    /// The shelf of a layer, and the layer's index on it.
    pub fn shelf(&self, layer: usize) -> (&Shelf, usize) {
        let after = self.shelves.partition_point(|shelf| shelf.first <= layer);
        let shelf = &self.shelves[after - 1];
        (shelf, layer - shelf.first)
    }

    /// The KV heads of all layers.
    pub fn heads(&self) -> Vec<KvHead> {
        let layout = &self.layout;
        let places = (0..layout.layers().len())
            .flat_map(|layer| (0..self.kv_heads).map(move |head| layout.place(layer, head)));
        let words = |bytes: u64| (bytes / 4) as u32;
        let head = |(class, number): (usize, usize)| {
            let of = &layout.classes()[class];
            let (kind, heads) = (RingKind::from(of.kv), of.heads.len() as u64);
            let (row, scale) = self.ring_row_bytes(kind);
            // A word of integers counts as two pairs or four.
            let pair = match (kind, self.near) {
                (RingKind::Short, _) => 2,
                (RingKind::Nibbles, _) => 1,
                (_, KvType::F32) => 8,
                _ => 4,
            };
            let (of_head, scales) = (of.ring as u64 * row, of.ring as u64 * scale);
            let at = self.ring_at[class];
            KvHead {
                class,
                kind: kind as u32,
                ring_at: ((at + number as u64 * of_head) / pair) as u32,
                values_after: (heads * of_head / pair) as u32,
                scales_at: words(at + 2 * heads * of_head + number as u64 * scales),
                scales_after: words(heads * scales),
            }
        };
        places.map(head).collect()
    }

    /// Pairs of keys and values of a layer with this many slots.
    pub fn pairs(&self, slots: usize) -> u32 {
        (self.kv_heads * slots * self.head_dim) as u32
    }

    /// Bytes of the state.
    pub fn bytes(&self) -> u64 {
        self.layout.state_bytes()
    }

    /// Where some rows of a ring are, and where their scales are if there are any.
    fn ring(&self, of: &HeadRows) -> Option<(&Buffer, u64, u64)> {
        let class = &self.layout.classes()[of.class];
        let kind = RingKind::from(class.kv);
        let (row, scale) = self.ring_row_bytes(kind);
        let heads = class.heads.len();
        let first = ((of.side * heads + of.head) * class.ring + of.slots.start) as u64;
        let rows = (2 * heads * class.ring) as u64;
        let at = self.ring_at[of.class];
        let buffer = self.shelf(class.layer).0.rings[kind as usize].as_ref()?;
        Some((buffer, at + row * first, at + row * rows + scale * first))
    }

    /// The pieces of the image, in the order of [`Tables::image`].
    fn pieces(&self, tables: &Tables) -> Result<Vec<Piece<'_>>> {
        let kind = |of: &HeadRows| RingKind::from(self.layout.classes()[of.class].kv);
        let mut pieces = Vec::new();
        tables.image(&mut |stretch| {
            let piece = match stretch {
                Stretch::Ring(of) => {
                    let Some((buffer, at, _)) = self.ring(&of) else { return Ok(()) };
                    let (row, _) = self.ring_row_bytes(kind(&of));
                    let in_image = self.stored(kind(&of)).ring_row(self.head_dim);
                    let bytes = row * of.slots.len() as u64;
                    Piece { row: (row, in_image), ..Piece::new(buffer, at, bytes) }
                }
                Stretch::Scales(of) => {
                    let Some((buffer, _, at)) = self.ring(&of) else { return Ok(()) };
                    let (_, scale) = self.ring_row_bytes(kind(&of));
                    Piece::new(buffer, at, scale * of.slots.len() as u64)
                }
                Stretch::Window(of) => {
                    let class = &self.layout.classes()[of.class];
                    let (shelf, number) = self.shelf(class.layer);
                    let head = of.side * self.kv_heads + class.heads[of.head];
                    let before = (2 * self.kv_heads * number + head) * shelf.window_rows;
                    let first = (before + of.slots.start) as u64;
                    let row = self.row_bytes();
                    Piece::new(&shelf.window, row * first, row * of.slots.len() as u64)
                }
                Stretch::Scan(layer) => match self.mixer(layer) {
                    Some(mixer) => Piece::new(&mixer.scan, 0, self.mixer_bytes[0]),
                    None => return Ok(()),
                },
                Stretch::Conv(layer) => match self.mixer(layer) {
                    Some(mixer) => Piece::new(&mixer.conv, 0, self.mixer_bytes[1]),
                    None => return Ok(()),
                },
            };
            pieces.extend(piece.cut());
            Ok(())
        })?;
        Ok(pieces)
    }

    /// Writes the image to `sink`, with one command buffer per staged part: for most states a
    /// single one.
    pub fn export(
        &self,
        device: &Device,
        tables: &Tables,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let pieces = self.pieces(tables)?;
        let total: u64 = pieces.iter().map(|piece| piece.bytes).sum();
        if total == 0 {
            return Ok(());
        }
        let staging = device.staging(total.min(STAGED), "the image of a state")?;
        let mut rest = &pieces[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let count = rest.iter().take_while(|piece| {
                bytes += piece.bytes;
                bytes <= STAGED
            });
            let (some, after) = rest.split_at(count.count());
            let bytes = some.iter().map(|piece| piece.bytes).sum();
            let commands = device.commands(|encoder| {
                let mut at = 0;
                for Piece { buffer, offset, bytes, .. } in some {
                    encoder.copy_buffer_to_buffer(buffer, *offset, &staging, at, *bytes);
                    at += bytes;
                }
            })?;
            device.submit([commands])?;
            device.read(&staging, bytes, |image| {
                let mut rest = image;
                for piece in some {
                    let (own, after) = rest.split_at(piece.bytes as usize);
                    rest = after;
                    let (row, width) = piece.row;
                    match row == width {
                        true => sink(own)?,
                        false => own
                            .chunks_exact(row as usize)
                            .try_for_each(|row| sink(&row[..width as usize]))?,
                    }
                }
                Ok(())
            })??;
            rest = after;
        }
        Ok(())
    }

    /// Loads the image of a state that had these tables.
    pub fn import(
        &self,
        device: &Device,
        tables: &Tables,
        source: &mut dyn FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let mut in_flight = 0;
        let mut image = Vec::new();
        for piece in self.pieces(tables)? {
            let Piece { buffer, offset, bytes, row } = piece;
            if in_flight + bytes > STAGED {
                device.submit([])?;
                device.wait()?;
                in_flight = 0;
            }
            room::refill(&mut image, bytes as usize, "the image of a state")?;
            source(&mut image[..piece.image_bytes()])?;
            if row.0 != row.1 {
                spread(&mut image, row.0 as usize, row.1 as usize);
            }
            device.scoped(bytes, "the image of a state", || {
                device.queue.write_buffer(buffer, offset, &image);
            })?;
            in_flight += bytes;
        }
        device.submit([])?;
        device.wait()
    }

    /// The same after its rings have shrunk: `remap` says which rows stay. The mixers' states move.
    pub fn shrunk(&mut self, device: &Device, remap: &Remap) -> Result<Memory> {
        let mut to = Memory {
            shelves: Vec::new(),
            mixers: Vec::new(),
            layout: Arc::clone(&remap.to),
            ring_at: Vec::new(),
            ..*self
        };
        to.allocate(device)?;
        let commands = device.commands(|encoder| {
            for (class, side, head, slots) in remap.heads() {
                let kind = RingKind::from(self.layout.classes()[class].kv);
                let (row, scale) = self.ring_row_bytes(kind);
                for (state, slot) in slots.iter().enumerate() {
                    let of = |slot: usize| HeadRows { class, side, head, slots: slot..slot + 1 };
                    let (Some(from), Some(goal)) = (self.ring(&of(*slot)), to.ring(&of(state)))
                    else {
                        continue;
                    };
                    encoder.copy_buffer_to_buffer(from.0, from.1, goal.0, goal.1, row);
                    if scale > 0 {
                        encoder.copy_buffer_to_buffer(from.0, from.2, goal.0, goal.2, scale);
                    }
                }
            }
            for layer in 0..self.layout.layers().len() {
                let window = self.window_bytes(layer);
                let ((from, number), (goal, goal_number)) = (self.shelf(layer), to.shelf(layer));
                let [at, goal_at] = [number, goal_number].map(|number| window * number as u64);
                encoder.copy_buffer_to_buffer(&from.window, at, &goal.window, goal_at, window);
            }
        })?;
        device.submit([commands])?;
        device.wait()?;
        to.mixers = std::mem::take(&mut self.mixers);
        Ok(to)
    }
}

/// Expands contiguous rows of `width` bytes to rows of `row` bytes, padded with zeros.
fn spread(image: &mut [u8], row: usize, width: usize) {
    for number in (0..image.len() / row).rev() {
        image.copy_within(number * width..(number + 1) * width, number * row);
        image[number * row + width..(number + 1) * row].fill(0);
    }
}
