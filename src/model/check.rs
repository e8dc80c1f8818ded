//! What every model must satisfy, whatever its family says: engines rely on it.

use super::spec::{LayerSpec, ModelSpec, RotaryTable, Scaling, Ssm};
use crate::cache::{MOST_CHUNK, MOST_WINDOW};
use crate::error::{Error, Result};

/// Wider heads are not in use; the bound keeps a query head within a kernel's stack frame.
const MAX_HEAD_DIM: usize = 512;

/// Checks that sizes are consistent and that no engine is asked for something it can't run.
///
/// # Errors
/// [`Error::Model`] for a contradiction, [`Error::Unsupported`] for what can't be run.
pub(super) fn check(spec: &ModelSpec) -> Result<()> {
    if spec.vocab == 0 {
        return Err(Error::model(
            "the vocabulary",
            "is empty: vocab_size or the rows of token_embd.weight are 0",
        ));
    }
    if spec.layers.is_empty() {
        return Err(Error::model("the model", "has no layers"));
    }
    let scale = spec.embedding_scale;
    if !scale.is_finite() || scale <= 0.0 {
        return Err(Error::model("the scale of embeddings", format!("is {scale}")));
    }
    if let Some(cap) = spec.logit_cap.filter(|cap| !cap.is_finite() || *cap <= 0.0) {
        return Err(Error::model("the cap of logits", format!("is {cap}")));
    }
    let scale = spec.logit_scale;
    if !scale.is_finite() || scale <= 0.0 {
        return Err(Error::model("the scale of logits", format!("is {scale}")));
    }
    spec.rotary.iter().try_for_each(rotary)?;
    spec.layers.iter().try_for_each(|l| layer(spec, l))?;
    alike(&spec.layers)?;
    chunks(spec)
}

fn rotary(table: &RotaryTable) -> Result<()> {
    if let Scaling::Yarn { original: 0, .. } = table.scaling {
        return Err(Error::model("rope.scaling.original_context_length", "is 0"));
    }
    if table.width == 0 || table.width % 2 == 1 {
        return Err(Error::unsupported(
            "a rotation",
            format!("of {} values; the number must be even", table.width),
        ));
    }
    Ok(())
}

fn layer(spec: &ModelSpec, layer: &LayerSpec) -> Result<()> {
    let LayerSpec { heads, kv_heads, head_dim, .. } = *layer;
    if kv_heads == 0 || heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(Error::model(
            format!("{heads} query heads"),
            format!("can't be shared among {kv_heads} key heads"),
        ));
    }
    if head_dim == 0 || head_dim % 2 == 1 || head_dim > MAX_HEAD_DIM {
        return Err(Error::unsupported(
            "heads",
            format!("of width {head_dim}; the width must be even and at most {MAX_HEAD_DIM}"),
        ));
    }
    let scale = layer.attention_scale;
    if !scale.is_finite() || scale <= 0.0 {
        return Err(Error::model("the scale of attention", format!("is {scale}")));
    }
    if let Some(rotation) = layer.rotation {
        let width = spec.rotary.get(rotation.table).map(|table| table.width);
        if width.is_none_or(|width| width > head_dim) {
            let width = width.unwrap_or(0);
            return Err(Error::model(
                "rope.dimension_count",
                format!("is {width}; heads have {head_dim} values"),
            ));
        }
    }
    if let Some(window) = layer.window {
        if layer.ssm.is_some() {
            return Err(Error::unsupported(
                "attention.sliding_window",
                format!("= {window} in a layer with mixers"),
            ));
        }
        if window == 0 || window > MOST_WINDOW {
            return Err(Error::model(
                "attention.sliding_window",
                format!("= {window}; it must be between 1 and {MOST_WINDOW}"),
            ));
        }
    }
    if !layer.projected_kv && (layer.biases.k || layer.biases.v) {
        return Err(Error::model("keys and values", "have biases without W_k and W_v"));
    }
    if !layer.projected_kv && layer.kv_dim() != spec.d {
        return Err(Error::model(
            "",
            format!(
                "without W_k and W_v the {kv_heads} key heads of width {head_dim} must fill the embedding of {}",
                spec.d
            ),
        ));
    }
    layer.ssm.iter().try_for_each(mixer)
}

/// Buffers of mixers serve all layers that have them.
fn alike(layers: &[LayerSpec]) -> Result<()> {
    let mut mixed = layers.iter().enumerate().filter(|(_, layer)| layer.ssm.is_some());
    let Some((first, layer)) = mixed.next() else { return Ok(()) };
    match mixed.find(|(_, other)| other.ssm != layer.ssm) {
        None => Ok(()),
        Some((other, _)) => Err(Error::unsupported(
            "",
            format!("layers whose mixers differ, as those of {first} and {other} do"),
        )),
    }
}

fn mixer(ssm: &Ssm) -> Result<()> {
    if !ssm.inner.is_multiple_of(ssm.heads)
        || ssm.groups == 0
        || !ssm.heads.is_multiple_of(ssm.groups)
    {
        return Err(Error::model(
            format!("a mixer of width {}", ssm.inner),
            format!("can't have {} heads in {} groups", ssm.heads, ssm.groups),
        ));
    }
    Ok(())
}

fn chunks(spec: &ModelSpec) -> Result<()> {
    let (chunks, layers) = (&spec.chunks, spec.layers.len());
    let far = chunks.far_length;
    if !(1..=MOST_CHUNK).contains(&far) {
        return Err(Error::model(
            "chunk.far_length",
            format!("is {far}; it must be between 1 and {MOST_CHUNK}"),
        ));
    }
    let found = chunks.offsets.len();
    if found != layers {
        return Err(Error::model(
            "chunk.offsets",
            format!("holds {found} where {layers} numbers are expected, one per layer"),
        ));
    }
    if let Some(offset) = chunks.offsets.iter().find(|&&o| o >= chunks.length) {
        return Err(Error::model(
            "chunk.offsets",
            format!("holds {offset}; below the chunk length {} is expected", chunks.length),
        ));
    }
    Ok(())
}
