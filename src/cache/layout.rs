//! Which KV heads have which memory, and how many rows that takes: in each layer, KV heads fall
//! into classes with the same memory.

use super::{BlockTable, Eviction, MOST_RING, MOST_WINDOW, Plan};
use crate::error::{Error, Result};
use std::ops::Range;

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// Chunk states in integers of eight bits, with a scale for the key and one for the value of
    /// each head; the window in half precision.
    I8,
    /// Chunk states in integers of four bits, rotated within a head, with a scale per 32 values; the
    /// window in half precision. For heads of 32, 64, 128 or 256 values.
    I4,
}

/// Widths of the heads that [`KvType::I4`] stores: a rotation wants a power of two, a scale 32 values.
pub(crate) const INT4_WIDTHS: [usize; 4] = [32, 64, 128, 256];

impl std::fmt::Display for KvType {
    /// `f16`
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::I8 => "int8",
            KvType::I4 => "int4",
        })
    }
}

impl KvType {
    /// Bytes of a key or a value in the ring, for a head of width `head_dim`, not counting its
    /// scale.
    pub(crate) fn ring_row(self, head_dim: usize) -> u64 {
        let values = head_dim as u64;
        match self {
            KvType::F32 => 4 * values,
            KvType::F16 => 2 * values,
            KvType::I8 => values,
            // Blocks of 32 values and a scale in f16.
            KvType::I4 => values / 32 * (16 + 2),
        }
    }

    /// Whether heads of this width can be stored so.
    pub(crate) fn stores(self, head_dim: usize) -> bool {
        self != KvType::I4 || INT4_WIDTHS.contains(&head_dim)
    }

    /// Bytes of the scale of a key or a value in the ring, if it is stored apart.
    pub(crate) fn scale(self) -> u64 {
        if self == KvType::I8 { 4 } else { 0 }
    }

    /// Bytes of a key or a value in the window.
    pub(crate) fn window_row(self, head_dim: usize) -> u64 {
        match self {
            KvType::I8 | KvType::I4 => KvType::F16.ring_row(head_dim),
            other => other.ring_row(head_dim),
        }
    }

    /// Bytes of keys and values of `heads` heads in this many slots of the ring and of the window.
    pub(crate) fn bytes(self, heads: usize, head_dim: usize, ring: u64, window: u64) -> u64 {
        let both = 2 * heads as u64;
        let ring = ring.saturating_mul(both * (self.ring_row(head_dim) + self.scale()));
        ring.saturating_add(window.saturating_mul(both * self.window_row(head_dim)))
    }
}

/// The form of a ring's rows. Engines keep rings of each form in a place of their own; the number is
/// what shaders know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingKind {
    /// As the window.
    Plain = 0,
    /// In 8-bit integers, with scales.
    Short = 1,
    /// In 4-bit integers, rotated, with scales within the rows.
    Nibbles = 2,
}

impl RingKind {
    /// All of them, by their numbers.
    #[cfg(feature = "gpu")]
    pub const ALL: [RingKind; 3] = [RingKind::Plain, RingKind::Short, RingKind::Nibbles];
}

impl From<KvType> for RingKind {
    fn from(kv: KvType) -> RingKind {
        match kv {
            KvType::I8 => RingKind::Short,
            KvType::I4 => RingKind::Nibbles,
            KvType::F32 | KvType::F16 => RingKind::Plain,
        }
    }
}

/// Sizes of a layer's keys and values and of its mixers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Values of the scan states of both mixers.
    pub scan: usize,
    /// Values of the inputs of both mixers' convolutions that are kept.
    pub conv: usize,
}

impl LayerShape {
    /// Bytes of the mixers' states.
    pub fn mixer_bytes(&self) -> u64 {
        4 * (self.scan as u64 + self.conv as u64)
    }
}

/// KV heads of a layer with the same memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The layer.
    pub layer: usize,
    /// Indices of the KV heads, in ascending order.
    pub heads: Vec<usize>,
    /// Which tokens leave a state behind, initially.
    pub plan: Plan,
    /// Tokens before the current one that stay visible, `L`.
    pub window: usize,
    /// States that the ring holds, including the sink.
    pub ring: usize,
    /// How a full ring makes room.
    pub eviction: Eviction,
    /// How keys and values are stored.
    pub kv: KvType,
}

impl Class {
    /// Whether its eviction policy evicts by score.
    pub fn is_scored(&self) -> bool {
        self.eviction.policy().scored()
    }
}

/// Classes of KV heads of all layers. The memory of a state, the contents of its image and its
/// tables all follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    layers: Vec<LayerShape>,
    /// Layer by layer.
    classes: Vec<Class>,
    /// For each layer, the range of its classes.
    of_layer: Vec<Range<usize>>,
    /// For each KV head of each layer, one layer after the other: its class, and its index there.
    of_head: Vec<(usize, usize)>,
    /// For each layer, where its heads begin in `of_head`.
    first_head: Vec<usize>,
}

impl Layout {
    /// The layout of these layers and classes, which are ordered by layer.
    ///
    /// # Errors
    /// [`Error::Argument`] unless every KV head of every layer is in exactly one class, and windows
    /// and rings are within [`MOST_WINDOW`] and [`MOST_RING`].
    pub fn new(layers: Vec<LayerShape>, classes: Vec<Class>) -> Result<Layout> {
        let mut of_layer = Vec::with_capacity(layers.len());
        let (mut of_head, mut first_head) = (Vec::new(), Vec::with_capacity(layers.len()));
        let mut next = 0;
        for (layer, shape) in layers.iter().enumerate() {
            let own = classes[next..].iter().take_while(|class| class.layer == layer).count();
            let own = next..next + own;
            let mut places = vec![None; shape.kv_heads];
            for (number, class) in own.clone().zip(&classes[own.clone()]) {
                check("window", class.window, MOST_WINDOW)?;
                check("ring", class.ring, MOST_RING)?;
                for (index, &head) in class.heads.iter().enumerate() {
                    let ascends = index == 0 || class.heads[index - 1] < head;
                    match places.get_mut(head) {
                        Some(place @ None) if ascends => *place = Some((number, index)),
                        _ => return Err(no_partition(layer, shape.kv_heads)),
                    }
                }
            }
            first_head.push(of_head.len());
            for place in places {
                of_head.push(place.ok_or_else(|| no_partition(layer, shape.kv_heads))?);
            }
            next = own.end;
            of_layer.push(own);
        }
        if let Some(class) = classes.get(next) {
            return Err(Error::argument(
                format!("a class of heads for layer {}", class.layer),
                format!("is out of order, or there are only {} layers", layers.len()),
            ));
        }
        Ok(Layout { layers, classes, of_layer, of_head, first_head })
    }

    /// Sizes of the layers.
    pub fn layers(&self) -> &[LayerShape] {
        &self.layers
    }

    /// All classes, layer by layer.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Indices of the classes of a layer.
    pub fn classes_of(&self, layer: usize) -> Range<usize> {
        self.of_layer[layer].clone()
    }

    /// The class of a KV head of a layer, and the head's index within the class.
    pub fn place(&self, layer: usize, head: usize) -> (usize, usize) {
        self.of_head[self.first_head[layer] + head]
    }

    /// The shape of the layer that a class belongs to.
    pub fn shape(&self, class: &Class) -> LayerShape {
        self.layers[class.layer]
    }

    /// The same with rings of at most this many states, one number per class.
    ///
    /// # Errors
    /// [`Error::Argument`] unless there are as many numbers as classes.
    pub fn shrunk(&self, rings: &[usize]) -> Result<Layout> {
        self.check_count("ring lengths", rings.len())?;
        let mut smaller = self.clone();
        let classes = smaller.classes.iter_mut().zip(rings);
        classes.for_each(|(class, ring)| class.ring = class.ring.min(*ring));
        Ok(smaller)
    }

    /// Checks that there is one of something per class.
    pub(super) fn check_count(&self, what: &str, found: usize) -> Result<()> {
        let classes = self.classes.len();
        if found == classes {
            return Ok(());
        }
        Err(Error::argument(
            format!("the number of {what}"),
            format!("is {found} for {classes} classes of KV heads"),
        ))
    }

    /// Bytes of a state: rings, windows, scans and convolutions of all layers. Saturates beyond 64
    /// bits.
    #[cfg(any(test, feature = "gpu"))]
    pub fn state_bytes(&self) -> u64 {
        let classes = self.classes.iter().map(|class| {
            let (ring, window) = (class.ring as u64, class.window as u64 + 1);
            class.kv.bytes(class.heads.len(), self.shape(class).head_dim, ring, window)
        });
        let mixers = self.layers.iter().map(LayerShape::mixer_bytes);
        classes.chain(mixers).fold(0, u64::saturating_add)
    }

    /// Upper bound on the numbers that the tables of a state at `position` are saved as.
    pub fn most_numbers(&self, position: u64) -> u64 {
        let of_class = |class: &Class| BlockTable::most_numbers(class.window, class.ring, position);
        self.classes.iter().map(of_class).fold(0, u64::saturating_add)
    }
}

fn check(what: &str, length: usize, most: usize) -> Result<()> {
    if length <= most {
        return Ok(());
    }
    Err(Error::argument(
        format!("the length of a {what}"),
        format!("must be between 0 and {most}, not {length}"),
    ))
}

fn no_partition(layer: usize, heads: usize) -> Error {
    Error::argument(
        format!("the classes of layer {layer}"),
        format!("must hold each of its {heads} KV heads once, in ascending order"),
    )
}
