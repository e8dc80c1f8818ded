//! Which KV heads of a model fetch what lies far back, as `attamba profile` finds out and a file
//! tells. Names as in `spec/architecture.md`.

use super::arch::Keys;
use super::spec::{LayerSpec, ModelSpec};
use crate::cache::MOST_WINDOW;
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::sync::Arc;

/// Tokens that heads should see at least if a file says nothing else.
const NEAR_WINDOW: usize = 512;

/// KV heads that fetch what lies far back.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Layer and index of these heads, the best first. None of them is in a layer with its own
    /// sliding window.
    pub far_heads: Vec<(usize, usize)>,
    /// How many of them are worth their bytes when bytes are short.
    pub far_count: usize,
    /// Tokens that the other heads should see at least.
    pub near_window: usize,
    /// Retention gates, if it has any, one per KV head of all layers, of as many values as the residual
    /// stream has. The product of a gate and the input of its layer's attention says how much a token will
    /// be needed by its head once it is far away.
    pub gates: Option<Arc<[f32]>>,
}

impl Profile {
    /// Reads the profile of a model, if the file has one.
    ///
    /// # Errors
    /// [`Error::Model`] if it names heads that the model does not have, or one twice, or has gates of other
    /// sizes.
    pub(super) fn read(keys: &Keys, spec: &ModelSpec) -> Result<Option<Profile>> {
        let layers = &spec.layers[..];
        let Some(numbers) = keys.sizes("memory.far_heads")?.filter(|list| !list.is_empty()) else {
            return Ok(None);
        };
        let all: usize = layers.iter().map(|layer| layer.kv_heads).sum();
        let mut far_heads = Vec::new();
        let mut known = HashSet::new();
        for &number in &numbers {
            let head = place(layers, number).ok_or_else(|| {
                Error::model(
                    "memory.far_heads",
                    format!("holds {number}; there are {all} KV heads"),
                )
            })?;
            if let Some(window) = layers[head.0].window {
                return Err(Error::model(
                    "memory.far_heads",
                    format!(
                        "holds {number}, a head of layer {}, which sees {window} tokens",
                        head.0
                    ),
                ));
            }
            if !known.insert(head) {
                return Err(Error::model("memory.far_heads", format!("holds {number} twice")));
            }
            far_heads.push(head);
        }
        let listed = far_heads.len();
        let far_count = keys.optional("memory.far_count")?.unwrap_or(listed);
        if far_count > listed {
            return Err(Error::model(
                "memory.far_count",
                format!("is {far_count}; memory.far_heads lists {listed}"),
            ));
        }
        let near_window = keys.optional("memory.near_window")?.unwrap_or(NEAR_WINDOW);
        if near_window == 0 || near_window > MOST_WINDOW {
            return Err(Error::model(
                "memory.near_window",
                format!("is {near_window}; it must be between 1 and {MOST_WINDOW}"),
            ));
        }
        let gates = keys.numbers("memory.retention_gates")?;
        if let Some(found) = gates.as_ref().map(Vec::len).filter(|found| *found != all * spec.d) {
            return Err(Error::model(
                "memory.retention_gates",
                format!("holds {found} numbers; {all} KV heads want {} each", spec.d),
            ));
        }
        Ok(Some(Profile { far_heads, far_count, near_window, gates: gates.map(Arc::from) }))
    }

    /// The retention gate of a KV head of a layer whose first head has the number `first`, for inputs of
    /// `d` values.
    pub fn gate(&self, first: usize, head: usize, d: usize) -> Option<&[f32]> {
        let gates = self.gates.as_ref()?;
        gates.get((first + head) * d..)?.get(..d)
    }

    /// Those of the first `count` heads that are in a layer, in ascending order.
    pub fn far_in(&self, layer: usize, count: usize) -> Vec<usize> {
        let first = self.far_heads.iter().take(count);
        let mut heads: Vec<usize> =
            first.filter(|place| place.0 == layer).map(|place| place.1).collect();
        heads.sort_unstable();
        heads
    }
}

/// Layer and index of a KV head, given its number among those of all layers.
fn place(layers: &[LayerSpec], number: usize) -> Option<(usize, usize)> {
    let mut head = number;
    for (layer, spec) in layers.iter().enumerate() {
        if head < spec.kv_heads {
            return Some((layer, head));
        }
        head -= spec.kv_heads;
    }
    None
}
