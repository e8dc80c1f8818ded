//! What every model must satisfy, whatever its family says: engines rely on it.

use super::spec::{LayerSpec, ModelSpec, RotaryTable, Ssm};
use crate::error::{Error, Result};

/// Wider heads are not in use; the bound keeps a query head within a kernel's stack frame.
const MAX_HEAD_DIM: usize = 512;

/// Checks that sizes fit each other and that nothing is asked for which no engine can run.
///
/// # Errors
/// [`Error::Model`] for a contradiction, [`Error::Unsupported`] for what cannot be run.
pub(super) fn check(spec: &ModelSpec) -> Result<()> {
    if spec.vocab == 0 {
        return Err(Error::Model(
            "the vocabulary is empty: vocab_size or the rows of token_embd.weight are 0".into(),
        ));
    }
    spec.rotary.iter().try_for_each(rotary)?;
    spec.layers.iter().try_for_each(|l| layer(spec, l))?;
    chunks(spec)
}

fn rotary(table: &RotaryTable) -> Result<()> {
    if table.width == 0 || table.width % 2 == 1 {
        return Err(Error::Unsupported(format!(
            "a rotation of {} values; an even number can be run",
            table.width
        )));
    }
    Ok(())
}

fn layer(spec: &ModelSpec, layer: &LayerSpec) -> Result<()> {
    let LayerSpec { heads, kv_heads, head_dim, .. } = *layer;
    if kv_heads == 0 || heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(Error::Model(format!(
            "{heads} query heads can't be shared among {kv_heads} key heads"
        )));
    }
    if head_dim == 0 || head_dim % 2 == 1 || head_dim > MAX_HEAD_DIM {
        return Err(Error::Unsupported(format!(
            "heads of width {head_dim}; an even width up to {MAX_HEAD_DIM} can be run"
        )));
    }
    if let Some(rotation) = layer.rotation {
        let width = spec.rotary.get(rotation.table).map(|table| table.width);
        if width != Some(head_dim) {
            return Err(Error::Unsupported(format!(
                "heads of width {head_dim} with {} rotated dimensions; both must be equal",
                width.unwrap_or(0)
            )));
        }
    }
    if let Some(window) = layer.window {
        return Err(Error::Unsupported(format!(
            "a sliding window of {window} tokens in a transformer"
        )));
    }
    if !layer.projected_kv && layer.kv_dim() != spec.d {
        return Err(Error::Model(format!(
            "without W_k and W_v the {kv_heads} key heads of width {head_dim} must fill the \
             embedding of {}",
            spec.d
        )));
    }
    layer.ssm.iter().try_for_each(mixer)
}

fn mixer(ssm: &Ssm) -> Result<()> {
    if !ssm.inner.is_multiple_of(ssm.heads)
        || ssm.groups == 0
        || !ssm.heads.is_multiple_of(ssm.groups)
    {
        return Err(Error::Model(format!(
            "a mixer of width {} can't have {} heads in {} groups",
            ssm.inner, ssm.heads, ssm.groups
        )));
    }
    Ok(())
}

fn chunks(spec: &ModelSpec) -> Result<()> {
    let (chunks, layers) = (&spec.chunks, spec.layers.len());
    let found = chunks.offsets.len();
    if found != layers {
        return Err(Error::Model(format!(
            "chunk.offsets holds {found} where {layers} numbers are expected, one per layer"
        )));
    }
    if let Some(offset) = chunks.offsets.iter().find(|&&o| o >= chunks.length) {
        return Err(Error::Model(format!(
            "chunk.offsets holds {offset}; below the chunk length {} is expected",
            chunks.length
        )));
    }
    Ok(())
}
