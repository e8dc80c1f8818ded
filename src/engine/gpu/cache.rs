//! The memory of a sequence, in fixed buffers: ring and window of keys and values, and the mixers'
//! states.

use super::device::Device;
use crate::cache::{HeadRows, Remap, Stretch, Tables};
use crate::engine::{Geometry, KvType};
use crate::error::Result;
use crate::model::ModelSpec;
use wgpu::Buffer;

/// Maximum bytes of an image that are copied at a time.
const STAGED: u64 = 32 << 20;

/// Ring and window of some layers, `[layer][side][kv head][slot][head_dim]` each. Rows of an
/// integer ring are padded to whole words, and each layer's rows are followed by its scales
/// `[side][kv head][slot]`.
pub(super) struct Shelf {
    /// The first of the layers.
    pub first: usize,
    pub layers: usize,
    pub ring: Buffer,
    pub window: Buffer,
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
    pub mixers: Vec<MixerState>,
    pub geometry: Geometry,
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
    /// Bytes of scan states and of the convolution's inputs, per layer.
    mixer_bytes: [u64; 2],
    bytes: u64,
    /// Of all layers.
    bytes_of_a_state: u64,
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
    pub fn new(device: &Device, spec: &ModelSpec, geometry: Geometry) -> Result<Memory> {
        let layer = &spec.layers[0];
        let mixer_bytes = layer.ssm.map_or([0; 2], |ssm| {
            let conv = (ssm.conv - 1) * ssm.channels();
            [ssm.inner * ssm.state, conv].map(|values| 2 * 4 * values as u64)
        });
        let mixers = match layer.ssm {
            None => Vec::new(),
            Some(_) => (0..spec.layers.len())
                .map(|_| {
                    Ok(MixerState {
                        scan: device.storage(mixer_bytes[0], "scan states")?,
                        conv: device.storage(mixer_bytes[1], "inputs of the convolution")?,
                    })
                })
                .collect::<Result<_>>()?,
        };
        let mut memory = Memory {
            shelves: Vec::new(),
            mixers,
            geometry,
            layers: spec.layers.len(),
            kv_heads: layer.kv_heads,
            head_dim: layer.head_dim,
            mixer_bytes,
            bytes: geometry.state_bytes(spec),
            bytes_of_a_state: geometry.bytes_of_a_state(spec),
        };
        memory.shelves = memory.shelves_of(device, geometry)?;
        Ok(memory)
    }

    /// Bytes of a row of a key head in the window.
    fn row_bytes(&self) -> u64 {
        let value = if self.geometry.kv == KvType::F32 { 4 } else { 2 };
        self.head_dim as u64 * value
    }

    /// Bytes of a row in the ring, and of its scale.
    fn ring_row_bytes(&self) -> (u64, u64) {
        match self.geometry.kv {
            KvType::I8 => (self.head_dim.next_multiple_of(4) as u64, 4),
            _ => (self.row_bytes(), 0),
        }
    }

    /// Bytes of a layer's ring with this many slots.
    fn ring_bytes(&self, slots: usize) -> u64 {
        let (row, scale) = self.ring_row_bytes();
        (2 * self.kv_heads as u64 * (row + scale)).saturating_mul(slots as u64)
    }

    /// As few shelves as bindings allow.
    fn shelves_of(&self, device: &Device, geometry: Geometry) -> Result<Vec<Shelf>> {
        let ring = self.ring_bytes(geometry.ring);
        let a_token = 2 * self.kv_heads as u64 * self.row_bytes();
        let window = a_token.saturating_mul(geometry.window as u64 + 1);
        let limits = &device.limits;
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let layers = (most / ring.max(window).max(1)).clamp(1, self.layers as u64) as usize;
        (0..self.layers)
            .step_by(layers)
            .map(|first| {
                let layers = layers.min(self.layers - first);
                let all = |a_layer: u64| a_layer.saturating_mul(layers as u64);
                Ok(Shelf {
                    first,
                    layers,
                    ring: device.storage(all(ring), "the ring of chunk states")?,
                    window: device.storage(all(window), "the window")?,
                })
            })
            .collect()
    }

    /// The shelf of a layer, and the layer's index on it.
    pub fn shelf(&self, layer: usize) -> (&Shelf, usize) {
        let shelf = &self.shelves[layer / self.shelves[0].layers];
        (shelf, layer - shelf.first)
    }

    /// Pairs of keys and values of a layer with this many slots.
    pub fn pairs(&self, slots: usize) -> u32 {
        (self.kv_heads * slots * self.head_dim) as u32
    }

    /// Pairs from one layer's ring to the next; a word of an integer ring counts as two.
    pub fn ring_pairs(&self) -> u32 {
        match self.geometry.kv {
            KvType::I8 => (self.ring_bytes(self.geometry.ring) / 2) as u32,
            _ => self.pairs(self.geometry.ring),
        }
    }

    /// Bytes of the state.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The pieces of the image, in the order of [`Tables::image`]. A layer has one class.
    fn pieces(&self, tables: &Tables) -> Result<Vec<Piece<'_>>> {
        let (row, (ring_row, scale)) = (self.row_bytes(), self.ring_row_bytes());
        let in_image = if scale > 0 { self.head_dim as u64 } else { ring_row };
        let mut pieces = Vec::new();
        tables.image(&mut |stretch| {
            let piece = match stretch {
                Stretch::Ring(of) => {
                    let (shelf, number) = self.shelf(of.class);
                    let start = number as u64 * self.ring_bytes(self.geometry.ring);
                    let first = self.row(&of, self.geometry.ring);
                    let (offset, bytes) =
                        (start + ring_row * first, ring_row * of.slots.len() as u64);
                    Piece { row: (ring_row, in_image), ..Piece::new(&shelf.ring, offset, bytes) }
                }
                Stretch::Scales(of) => {
                    let (shelf, number) = self.shelf(of.class);
                    let start = self.scales_at(number, self.geometry.ring);
                    let first = self.row(&of, self.geometry.ring);
                    Piece::new(&shelf.ring, start + scale * first, scale * of.slots.len() as u64)
                }
                Stretch::Window(of) => {
                    let (shelf, number) = self.shelf(of.class);
                    let slots = self.geometry.window + 1;
                    let first = (2 * self.kv_heads * number * slots) as u64 + self.row(&of, slots);
                    Piece::new(&shelf.window, row * first, row * of.slots.len() as u64)
                }
                Stretch::Scan(layer) => match self.mixers.get(layer) {
                    Some(mixer) => Piece::new(&mixer.scan, 0, self.mixer_bytes[0]),
                    None => return Ok(()),
                },
                Stretch::Conv(layer) => match self.mixers.get(layer) {
                    Some(mixer) => Piece::new(&mixer.conv, 0, self.mixer_bytes[1]),
                    None => return Ok(()),
                },
            };
            pieces.extend(piece.cut());
            Ok(())
        })?;
        Ok(pieces)
    }

    /// Index of the first of some rows among those of a layer with this many slots.
    fn row(&self, of: &HeadRows, slots: usize) -> u64 {
        ((of.side * self.kv_heads + of.head) * slots + of.slots.start) as u64
    }

    /// Where the scales of layer `number` of a shelf begin, if rings have this many slots.
    fn scales_at(&self, number: usize, slots: usize) -> u64 {
        let rows = (2 * self.kv_heads * slots) as u64;
        number as u64 * self.ring_bytes(slots) + rows * self.ring_row_bytes().0
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
            image.resize(bytes as usize, 0);
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

    /// Shrinks the rings to `ring` slots; `remap` says which rows stay.
    pub fn shrink(&mut self, device: &Device, ring: usize, remap: &Remap) -> Result<()> {
        let geometry = Geometry { ring, ..self.geometry };
        let shelves = self.shelves_of(device, geometry)?;
        let (row, (ring_row, scale)) = (self.row_bytes(), self.ring_row_bytes());
        let old = self.geometry.ring;
        let new_shelf = |layer: usize| {
            let shelf = &shelves[layer / shelves[0].layers];
            (shelf, layer - shelf.first)
        };
        let commands = device.commands(|encoder| {
            for (class, side, head, slots) in remap.heads() {
                let ((from, number), (to, goal_number)) = (self.shelf(class), new_shelf(class));
                let of = |slot: usize| HeadRows { class, side, head, slots: slot..slot + 1 };
                let starts = [
                    number as u64 * self.ring_bytes(old),
                    goal_number as u64 * self.ring_bytes(ring),
                ];
                let scales = [self.scales_at(number, old), self.scales_at(goal_number, ring)];
                for (state, slot) in slots.iter().enumerate() {
                    let rows = [self.row(&of(*slot), old), self.row(&of(state), ring)];
                    for (starts, bytes) in [(starts, ring_row), (scales, scale)] {
                        if bytes > 0 {
                            let [source, goal] = [0, 1].map(|i| starts[i] + bytes * rows[i]);
                            encoder
                                .copy_buffer_to_buffer(&from.ring, source, &to.ring, goal, bytes);
                        }
                    }
                }
            }
            let window = 2 * self.kv_heads as u64 * row * (self.geometry.window + 1) as u64;
            for layer in 0..self.layers {
                let ((from, number), (to, goal)) = (self.shelf(layer), new_shelf(layer));
                let [source, goal] = [number, goal].map(|number| window * number as u64);
                encoder.copy_buffer_to_buffer(&from.window, source, &to.window, goal, window);
            }
        })?;
        device.submit([commands])?;
        device.wait()?;
        self.bytes = self.bytes.saturating_sub(self.bytes_of_a_state * (old - ring) as u64);
        self.shelves = shelves;
        self.geometry = geometry;
        Ok(())
    }
}

/// Expands contiguous rows of `width` bytes to rows of `row` bytes, padded with zeros.
fn spread(image: &mut [u8], row: usize, width: usize) {
    for number in (0..image.len() / row).rev() {
        image.copy_within(number * width..(number + 1) * width, number * row);
        image[number * row + width..(number + 1) * row].fill(0);
    }
}
