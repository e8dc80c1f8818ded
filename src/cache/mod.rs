//! The bookkeeping of a sequence's memory, all in integers: which tokens leave a state behind,
//! which of them a query sees, where their keys and values are stored, and which are evicted when
//! there is no room. Both engines follow it.
//!
//! KV heads store rows in three places: the *ring* of chunk states (fixed budget), the *window* of
//! the last `L + 1` tokens (position `p` in slot `p % (L + 1)`), and the *block* of tokens that is
//! being computed. A [`BlockTable`] says, before a block is computed, what each of its tokens sees
//! and which rows move where after it. A [`Layout`] says which heads of which layers have the same
//! memory; [`Tables`] are the tables of all of them.

mod codec;
mod common;
mod image;
mod layout;
mod policy;
mod schedule;
mod scores;
mod sequence;
mod slots;
mod table;
mod tables;
mod visibility;

pub use common::Common;
pub use image::{HeadRows, Remap, Stretch};
pub(crate) use layout::INT4_WIDTHS;
pub use layout::{Class, KvType, LayerShape, Layout, RingKind};
pub use policy::Eviction;
pub use schedule::{MOST_CHUNK, Plan};
pub use slots::MOST_RING;
pub use table::{BlockTable, MOST_WINDOW};
pub use tables::{Saved, Tables};
pub use visibility::{Place, Run, rows};

/// A row that goes to a slot of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where the row is stored.
    pub from: Place,
    /// The row there.
    pub row: u32,
    /// The slot of the ring that takes it.
    pub slot: u32,
}

#[cfg(test)]
mod tests;
