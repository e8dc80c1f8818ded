//! Attamba: a decoder whose keys and values are scans over chunks of tokens. Files of every other
//! family may have the same mixers.

use super::{Family, Keys, Names};
use crate::error::{Error, Result};
use crate::model::spec::{ChunkSpec, ModelSpec, Ssm};

/// The family.
pub const FAMILY: Family = Family { name: "attamba", names: &Names::USUAL, read };

fn read(keys: &Keys) -> Result<ModelSpec> {
    let mut spec = keys.decoder()?;
    read_mixers(keys, &mut spec)?;
    Ok(spec)
}

/// Adds the mixers and the chunk schedule described by `keys` to a decoder; layers with a sliding
/// window of their own stay as they are.
///
/// # Errors
/// [`Error::Model`] for a key that is missing or invalid, [`Error::Unsupported`] if there is no layer
/// for mixers.
pub(super) fn read_mixers(keys: &Keys, spec: &mut ModelSpec) -> Result<()> {
    let projected_kv = keys.boolean("attention.projected_kv")?;
    let ssm = Ssm {
        inner: keys.positive("ssm.inner_size")?,
        state: keys.positive("ssm.state_size")?,
        groups: keys.optional("ssm.group_count")?.unwrap_or(1),
        heads: keys.positive("ssm.time_step_rank")?,
        conv: keys.positive("ssm.conv_kernel")?,
    };
    // A layer that sees a window of its own keeps nothing for later, so it has nothing to mix.
    for layer in spec.layers.iter_mut().filter(|layer| layer.window.is_none()) {
        layer.projected_kv = projected_kv;
        layer.ssm = Some(ssm);
    }
    if spec.is_transformer() {
        let window = spec.layers.iter().find_map(|layer| layer.window).unwrap_or(0);
        return Err(Error::unsupported(
            "attention.sliding_window",
            format!("= {window} in each layer, which leaves none for mixers"),
        ));
    }
    let length = keys.positive("chunk.length")?;
    spec.chunks = ChunkSpec {
        length,
        far_length: keys.optional("chunk.far_length")?.unwrap_or(1),
        window: keys.required("chunk.window")?,
        offsets: keys.sizes("chunk.offsets")?.unwrap_or_else(|| vec![0; spec.layers.len()]),
        trained: keys.sizes("chunk.trained_lengths")?.unwrap_or_else(|| vec![length]),
        carry_state: keys.boolean("chunk.carry_state")?,
    };
    if spec.chunks.trained.contains(&0) {
        return Err(Error::model("chunk.trained_lengths", "holds 0"));
    }
    Ok(())
}
