//! What a sequence remembers, in fixed buffers: ring and window of keys and values, and the mixers'
//! states.

use super::device::Device;
use crate::chunk::Ledgers;
use crate::engine::{Geometry, KvType};
use crate::error::{Error, Result};
use crate::model::Hyper;
use wgpu::{Buffer, CommandEncoder};

/// Most bytes of an image that are copied at a time.
const STAGED: u64 = 32 << 20;

/// Ring and window of some layers, `[layer][side][kv head][slot][head_dim]` each.
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
    /// `[side][C - 1][channels]`: inputs of the convolution, the oldest first.
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
    /// Bytes of scan states and of the convolution's inputs, a layer.
    mixer_bytes: [u64; 2],
    bytes: u64,
}

/// A stretch of an image and where it lies on the GPU.
struct Piece<'a> {
    buffer: &'a Buffer,
    offset: u64,
    bytes: u64,
}

impl<'a> Piece<'a> {
    /// Pieces small enough to be staged.
    fn cut(self) -> impl Iterator<Item = Piece<'a>> {
        let Piece { buffer, offset, bytes } = self;
        (0..bytes).step_by(STAGED as usize).map(move |at| {
            let bytes = STAGED.min(bytes - at);
            Piece { buffer, offset: offset + at, bytes }
        })
    }
}

/// Bytes of a value in ring and window.
fn value_bytes(kv: KvType) -> u64 {
    match kv {
        KvType::F32 => 4,
        KvType::F16 | KvType::I8 => 2,
    }
}

impl Memory {
    pub fn new(device: &Device, hyper: &Hyper, geometry: Geometry) -> Result<Memory> {
        if geometry.kv == KvType::I8 {
            return Err(Error::Unsupported("keys and values in int8 on the GPU".into()));
        }
        let mixer_bytes = hyper.ssm.map_or([0; 2], |ssm| {
            let conv = (ssm.conv - 1) * ssm.channels();
            [ssm.inner * ssm.state, conv].map(|values| 2 * 4 * values as u64)
        });
        let mixers = match hyper.ssm {
            None => Vec::new(),
            Some(_) => (0..hyper.layers)
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
            layers: hyper.layers,
            kv_heads: hyper.kv_heads,
            head_dim: hyper.head_dim,
            mixer_bytes,
            bytes: geometry.state_bytes(hyper),
        };
        memory.shelves = memory.shelves_of(device, geometry)?;
        Ok(memory)
    }

    /// Bytes of a row of a key head.
    fn row_bytes(&self) -> u64 {
        self.head_dim as u64 * value_bytes(self.geometry.kv)
    }

    /// As few shelves as bindings allow.
    fn shelves_of(&self, device: &Device, geometry: Geometry) -> Result<Vec<Shelf>> {
        let a_slot = 2 * self.kv_heads as u64 * self.row_bytes();
        let a_layer = |slots: usize| a_slot.saturating_mul(slots as u64);
        let (ring, window) = (a_layer(geometry.ring), a_layer(geometry.window + 1));
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

    /// The shelf of a layer, and the layer's number on it.
    pub fn shelf(&self, layer: usize) -> (&Shelf, usize) {
        let shelf = &self.shelves[layer / self.shelves[0].layers];
        (shelf, layer - shelf.first)
    }

    /// Pairs of keys and values of a layer with so many slots.
    pub fn pairs(&self, slots: usize) -> u32 {
        (self.kv_heads * slots * self.head_dim) as u32
    }

    /// Bytes of the state.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The pieces of the image, in the order that [`Geometry::image_bytes`] tells.
    fn pieces(&self, ledgers: &Ledgers) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        if ledgers.position() == 0 {
            return pieces;
        }
        let row = self.row_bytes();
        let slots = self.geometry.window + 1;
        let in_window = usize::try_from(ledgers.position()).unwrap_or(usize::MAX).min(slots);
        for layer in 0..self.layers {
            let (shelf, number) = self.shelf(layer);
            let heads = 2 * self.kv_heads * number..2 * self.kv_heads * (number + 1);
            for head in heads.clone() {
                for slots in ledgers.layer(layer).order() {
                    let first = (head * self.geometry.ring + slots.start) as u64;
                    let bytes = row * slots.len() as u64;
                    pieces.push(Piece { buffer: &shelf.ring, offset: row * first, bytes });
                }
            }
            for head in heads {
                let first = (head * slots) as u64;
                let bytes = row * in_window as u64;
                pieces.push(Piece { buffer: &shelf.window, offset: row * first, bytes });
            }
            if let Some(mixer) = self.mixers.get(layer) {
                for (buffer, bytes) in [&mixer.scan, &mixer.conv].into_iter().zip(self.mixer_bytes)
                {
                    pieces.push(Piece { buffer, offset: 0, bytes });
                }
            }
        }
        pieces.into_iter().flat_map(Piece::cut).collect()
    }

    /// Hands the image to `sink`, a command buffer for as much as is staged: for most states one.
    pub fn export(
        &self,
        device: &Device,
        ledgers: &Ledgers,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let pieces = self.pieces(ledgers);
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
                for Piece { buffer, offset, bytes } in some {
                    encoder.copy_buffer_to_buffer(buffer, *offset, &staging, at, *bytes);
                    at += bytes;
                }
            })?;
            device.submit([commands])?;
            device.read(&staging, bytes, |image| sink(image))??;
            rest = after;
        }
        Ok(())
    }

    /// Takes over the image of a state that had the books `ledgers`.
    pub fn import(
        &self,
        device: &Device,
        ledgers: &Ledgers,
        source: &mut dyn FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let mut in_flight = 0;
        let mut image = Vec::new();
        for Piece { buffer, offset, bytes } in self.pieces(ledgers) {
            if in_flight + bytes > STAGED {
                device.submit([])?;
                device.wait()?;
                in_flight = 0;
            }
            image.resize(bytes as usize, 0);
            source(&mut image)?;
            device.scoped(bytes, "the image of a state", || {
                device.queue.write_buffer(buffer, offset, &image);
            })?;
            in_flight += bytes;
        }
        device.submit([])?;
        device.wait()
    }

    /// Makes the ring as small as `ring` slots. `slots` are those of the states that each layer
    /// keeps, in order.
    pub fn shrink(&mut self, device: &Device, ring: usize, slots: &[Vec<usize>]) -> Result<()> {
        let geometry = Geometry { ring, ..self.geometry };
        let shelves = self.shelves_of(device, geometry)?;
        let row = self.row_bytes();
        let old = self.geometry.ring;
        let copy_layer = |encoder: &mut CommandEncoder, to: &Shelf, layer: usize| {
            let (from, number) = self.shelf(layer);
            let heads = 2 * self.kv_heads;
            for head in 0..heads {
                for (state, slot) in slots[layer].iter().enumerate() {
                    let source = row * ((number * heads + head) * old + slot) as u64;
                    let goal = row * (((layer - to.first) * heads + head) * ring + state) as u64;
                    encoder.copy_buffer_to_buffer(&from.ring, source, &to.ring, goal, row);
                }
                let window = row * (self.geometry.window + 1) as u64;
                let source = window * (number * heads + head) as u64;
                let goal = window * ((layer - to.first) * heads + head) as u64;
                encoder.copy_buffer_to_buffer(&from.window, source, &to.window, goal, window);
            }
        };
        let commands = device.commands(|encoder| {
            for shelf in &shelves {
                (shelf.first..shelf.first + shelf.layers)
                    .for_each(|layer| copy_layer(encoder, shelf, layer));
            }
        })?;
        device.submit([commands])?;
        device.wait()?;
        self.shelves = shelves;
        self.geometry = geometry;
        Ok(())
    }
}
