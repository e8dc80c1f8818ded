//! Which models the GPU engine runs.

use crate::error::{Error, Result};
use crate::model::{Activation, Biases, LayerSpec, ModelSpec, Norms, Pairs, Scaling};

/// What every layer of the model is, where kernels for it exist.
///
/// # Errors
/// [`Error::Unsupported`] names what the kernels cannot do.
pub(super) fn layer_of(spec: &ModelSpec) -> Result<&LayerSpec> {
    let refuse = |what: String| Err(Error::Unsupported(format!("{what} on the GPU")));
    let layer = &spec.layers[0];
    if let Some(other) = spec.layers.iter().position(|other| other != layer) {
        return refuse(format!("layers that differ, as 0 and {other} do,"));
    }
    if spec.embedding_scale != 1.0 {
        return refuse(format!("embeddings times {}", spec.embedding_scale));
    }
    if let Some(cap) = spec.logit_cap {
        return refuse(format!("logits capped at {cap}"));
    }
    match layer.rotation {
        Some(rotation) if rotation.pairs != Pairs::Interleaved => {
            return refuse(format!("rotation of {:?} pairs", rotation.pairs));
        }
        Some(rotation) if spec.rotary[rotation.table].scaling != Scaling::None => {
            return refuse(format!("rope scaling {:?}", spec.rotary[rotation.table].scaling));
        }
        Some(_) => {}
        None => return refuse("attention without rotation".into()),
    }
    if layer.biases != Biases::default() {
        return refuse(format!("attention with {:?}", layer.biases));
    }
    if layer.qk_norm {
        return refuse("norms of queries and keys".into());
    }
    let usual = Norms { before: true, after: false };
    for norms in [layer.attention_norms, layer.ffn_norms] {
        if norms != usual {
            return refuse(format!("layers with {norms:?}"));
        }
    }
    if layer.activation != Activation::Silu {
        return refuse(format!("the activation {:?}", layer.activation));
    }
    Ok(layer)
}
