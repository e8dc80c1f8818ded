//! A profile as a file, and in a model's file.

use super::measure::Texts;
use super::ranking::Agreement;
use crate::common;
use anyhow::{Context, Result, bail};
use attamba::gguf::{Gguf, Tensor, Writer};
use attamba::model::{KvHead, Model};
use attamba::session::MOST_WINDOW;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Which KV heads of a model fetch facts from afar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name of the model.
    pub model: String,
    /// What it was found with.
    pub texts: Texts,
    pub halves: Agreement,
    /// How many heads are far.
    pub far_count: usize,
    /// Tokens that the other heads should see at least.
    pub near_window: usize,
    /// The best first.
    pub heads: Vec<Head>,
    /// A gate for each KV head of all layers, in their order, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_gates: Option<Vec<Vec<f32>>>,
}

/// A KV head.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub layer: usize,
    /// Within the layer.
    pub head: usize,
    /// The share of attention that it pays to a fact that is asked for.
    pub attention: f64,
}

impl Profile {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Profile> {
        let text = common::read_file(path)?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// The index of each head among those of all layers, if the profile suits a model.
    pub fn numbers(&self, model: &Model) -> Result<Vec<u32>> {
        check(self.far_count, self.near_window, self.heads.len())?;
        let mut numbers = Vec::new();
        for &Head { layer, head, .. } in &self.heads {
            let is = |kv: KvHead| (kv.layer, kv.head) == (layer, head);
            let Some(number) = model.kv_heads().position(is) else {
                bail!(
                    "the profile of another model: this one has no KV head {head} in layer {layer}"
                );
            };
            if numbers.contains(&(number as u32)) {
                bail!("the profile names KV head {head} of layer {layer} twice");
            }
            numbers.push(number as u32);
        }
        if let Some(gates) = &self.retention_gates {
            let (heads, width) = (model.kv_heads().count(), model.sizes().width);
            if gates.len() != heads || gates.iter().any(|gate| gate.len() != width) {
                bail!(
                    "the profile of another model: {} retention gates, where {heads} of {width} values are wanted",
                    gates.len()
                );
            }
        }
        Ok(numbers)
    }

    /// Writes the model `gguf` with this profile to `path`. Everything else stays as it is.
    pub fn write_model(&self, gguf: &Gguf, numbers: &[u32], path: &Path) -> Result<()> {
        let architecture = common::text(gguf, "general.architecture").unwrap_or_default();
        let key = |name: &str| format!("{architecture}.memory.{name}");
        let mut writer = Writer::default();
        writer.copy_metadata(gguf, |_| true);
        writer.set(&key("far_heads"), numbers);
        writer.set(&key("far_count"), u32::try_from(self.far_count)?);
        writer.set(&key("near_window"), u32::try_from(self.near_window)?);
        if let Some(gates) = &self.retention_gates {
            writer.set(&key("retention_gates"), &gates.concat()[..]);
        }
        let tensors: Vec<Tensor> = gguf.tensors().collect();
        for &tensor in &tensors {
            writer.tensor_like(tensor)?;
        }
        Ok(writer.write_file(path, |index, sink| {
            sink.write_all(tensors[index].data())?;
            tensors[index].release();
            Ok(())
        })?)
    }
}

/// Refuses numbers that no profile of `heads` KV heads can have.
pub fn check(far_count: usize, near_window: usize, heads: usize) -> Result<()> {
    if far_count > heads {
        bail!("{far_count} far heads; there are {heads} that can be");
    }
    if !(1..=MOST_WINDOW).contains(&near_window) {
        bail!("a near window of {near_window} tokens; it must be between 1 and {MOST_WINDOW}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_in_the_repository_is_whole() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/smollm2/profile.json");
        let profile = Profile::read(Path::new(path)).unwrap();
        assert_eq!((profile.heads.len(), profile.far_count, profile.near_window), (90, 14, 512));
        assert!(profile.heads.is_sorted_by(|a, b| a.attention >= b.attention));
        let mut places: Vec<_> = profile.heads.iter().map(|h| (h.layer, h.head)).collect();
        places.sort_unstable();
        let all = (0..30).flat_map(|layer| (0..3).map(move |head| (layer, head)));
        assert_eq!(places, all.collect::<Vec<_>>());
        let gates = profile.retention_gates.unwrap();
        assert!(gates.len() == 90 && gates.iter().all(|gate| gate.len() == 576));
    }
}
