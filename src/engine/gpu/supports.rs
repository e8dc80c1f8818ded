//! Which models the GPU engine runs.

use crate::error::{Error, Result};
use crate::model::{LayerSpec, ModelSpec};

/// Refuses what there are no kernels for.
///
/// # Errors
/// [`Error::Unsupported`] names what the kernels cannot do.
pub(super) fn check(spec: &ModelSpec) -> Result<()> {
    let refuse = |what: String| Err(Error::unsupported("the GPU", format!("does not run {what}")));
    let kept = |layer: &LayerSpec| (layer.kv_heads, layer.head_dim);
    // The turns of all tables are in one list, equally spaced.
    if let Some(other) = spec.rotary.iter().find(|table| table.width != spec.rotary[0].width) {
        let widths = (spec.rotary[0].width, other.width);
        return refuse(format!("rotations of unequal widths, as {widths:?}"));
    }
    for (index, layer) in spec.layers.iter().enumerate() {
        // The rows of all layers are in one buffer, equally spaced.
        if kept(layer) != kept(&spec.layers[0]) {
            return refuse(format!("layers whose key heads differ, as those of 0 and {index} do,"));
        }
        // What copies the mixers' input to keys and values is a norm.
        if layer.ssm.is_some() && !layer.projected_kv && !layer.attention_norms.before {
            return refuse(format!("mixers of layer {index} that read the residual stream itself"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use std::path::Path;

    #[test]
    fn unsupported_features_are_rejected_by_name() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/attamba-stories.gguf");
        let model = Model::read(&path).unwrap();
        check(model.spec()).unwrap();
        type Change = fn(&mut LayerSpec);
        let changes: [(Change, &str); 2] = [
            (|layer| layer.kv_heads += 1, "key heads"),
            (
                |layer| (layer.projected_kv, layer.attention_norms.before) = (false, false),
                "residual stream",
            ),
        ];
        for (change, named) in changes {
            let mut spec = model.spec().clone();
            let last = spec.layers.len() - 1;
            change(&mut spec.layers[last]);
            let message = check(&spec).unwrap_err().to_string();
            assert!(message.contains(named) && message.contains(&last.to_string()), "{message}");
        }
    }
}
