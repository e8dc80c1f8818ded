//! The image of a state, which is the same for every engine, and what happens to rows when rings
//! shrink.
//!
//! Layer by layer and class by class: the ring's keys `[head][state][head_dim]`, the oldest state
//! first, and their scales `[head][state]` if they have any; the ring's values likewise; the
//! window's keys `[head][slot][head_dim]` and its values. After the classes of a layer the scan
//! states `[side][head][N][I / H]` and the inputs of the convolution `[side][C - 1][channels]`, the
//! oldest first. Keys are rotated. Keys and values have the type they are stored in, everything
//! else is f32; all little-endian. Rows that hold nothing yet are not part of it, and at position 0
//! it is empty.

use super::{Layout, Tables};
use crate::error::Result;
use std::ops::Range;
use std::sync::Arc;

/// Rows of one head: keys (side 0) or values (side 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadRows {
    /// The class.
    pub class: usize,
    /// Keys or values.
    pub side: usize,
    /// Index of the head within the class.
    pub head: usize,
    /// Its slots.
    pub slots: Range<usize>,
}

/// A stretch of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// Rows of a ring.
    Ring(HeadRows),
    /// The scales of such rows.
    Scales(HeadRows),
    /// Rows of a window.
    Window(HeadRows),
    /// The scan states of a layer.
    Scan(usize),
    /// The inputs of the convolutions of a layer.
    Conv(usize),
}

impl Stretch {
    /// Bytes in the image.
    pub fn bytes(&self, layout: &Layout) -> u64 {
        let rows = |rows: &HeadRows| {
            let class = &layout.classes()[rows.class];
            (class.kv, layout.shape(class).head_dim, rows.slots.len() as u64)
        };
        match self {
            Stretch::Ring(of) => {
                let (kv, head_dim, slots) = rows(of);
                slots * kv.ring_row(head_dim)
            }
            Stretch::Scales(of) => {
                let (kv, _, slots) = rows(of);
                slots * kv.scale()
            }
            Stretch::Window(of) => {
                let (kv, head_dim, slots) = rows(of);
                slots * kv.window_row(head_dim)
            }
            Stretch::Scan(layer) => 4 * layout.layers()[*layer].scan as u64,
            Stretch::Conv(layer) => 4 * layout.layers()[*layer].conv as u64,
        }
    }
}

impl Tables {
    /// The stretches of the image of a state with these tables, in order. An error of `each` ends it.
    pub fn image(&self, each: &mut dyn FnMut(Stretch) -> Result<()>) -> Result<()> {
        if self.position() == 0 {
            return Ok(());
        }
        let layout = self.layout();
        for layer in 0..layout.layers().len() {
            for number in layout.classes_of(layer) {
                self.image_of_class(number, each)?;
            }
            each(Stretch::Scan(layer))?;
            each(Stretch::Conv(layer))?;
        }
        Ok(())
    }

    fn image_of_class(
        &self,
        number: usize,
        each: &mut dyn FnMut(Stretch) -> Result<()>,
    ) -> Result<()> {
        let class = &self.layout().classes()[number];
        let table = self.class(number);
        let rows = |side, head, slots| HeadRows { class: number, side, head, slots };
        let kinds: &[fn(HeadRows) -> Stretch] =
            if class.kv.scale() > 0 { &[Stretch::Ring, Stretch::Scales] } else { &[Stretch::Ring] };
        for side in 0..2 {
            for kind in kinds {
                for head in 0..class.heads.len() {
                    table.order().try_for_each(|slots| each(kind(rows(side, head, slots))))?;
                }
            }
        }
        let position = usize::try_from(self.position()).unwrap_or(usize::MAX);
        let slots = 0..position.min(class.window + 1);
        for side in 0..2 {
            for head in 0..class.heads.len() {
                each(Stretch::Window(rows(side, head, slots.clone())))?;
            }
        }
        Ok(())
    }

    /// Bytes of the image of a state with these tables; never more than the state takes.
    pub fn image_bytes(&self) -> u64 {
        let mut bytes: u64 = 0;
        let counted = self.image(&mut |stretch| {
            bytes = bytes.saturating_add(stretch.bytes(self.layout()));
            Ok(())
        });
        debug_assert!(counted.is_ok(), "counting has no errors");
        bytes
    }
}

/// What happens to the rows of all rings when these shrink.
#[derive(Clone, Debug)]
pub struct Remap {
    /// The layout afterwards.
    pub to: Arc<Layout>,
    /// For each class, the slots of the states that are kept, the oldest first: they go to slots 0,
    /// 1, ….
    pub(super) kept: Vec<Vec<usize>>,
}

impl Remap {
    /// Class by class, for both sides of all heads: class, side, index of the head within the
    /// class, and the slots of the rows that are kept.
    pub fn heads(&self) -> impl Iterator<Item = (usize, usize, usize, &[usize])> {
        self.kept.iter().zip(self.to.classes()).enumerate().flat_map(|(number, (kept, class))| {
            let heads = class.heads.len();
            (0..2 * heads).map(move |i| (number, i / heads, i % heads, &kept[..]))
        })
    }
}
