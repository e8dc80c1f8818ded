//! Gemma 3: layers with a sliding window, which have a rotary table of their own, and each sixth
//! without; norms before and after both halves of a layer, and of queries and keys.

use super::{Family, Keys, Names};
use crate::error::Result;
use crate::model::spec::{Activation, ModelSpec, Norms, RotaryTable, Scaling};

pub const FAMILY: Family = Family { name: "gemma3", names: &Names::USUAL, read };

/// No key says that the largest model divides by the root of another width than that of its heads.
const LAYERS_OF_27B: usize = 62;

fn read(keys: &Keys) -> Result<ModelSpec> {
    let mut spec = keys.decoder()?.half_split();
    spec.embedding_scale = (spec.d as f32).sqrt();
    spec.logit_cap = keys.number("final_logit_softcapping")?;
    let local = RotaryTable {
        base: keys.real("rope.freq_base_swa", 10000.0)?,
        scaling: Scaling::None,
        ..spec.rotary[0].clone()
    };
    spec.rotary.push(local);
    let layers = spec.layers.len();
    let windowed = keys.windowed(layers, 6)?;
    for (layer, windowed) in spec.layers.iter_mut().zip(windowed) {
        layer.window = layer.window.filter(|_| windowed);
        if let (Some(_), Some(rotation)) = (layer.window, &mut layer.rotation) {
            rotation.table = 1;
        }
        if layers == LAYERS_OF_27B {
            layer.attention_scale = 1.0 / ((spec.d / layer.heads) as f32).sqrt();
        }
        layer.qk_norm = true;
        let norms = Norms { before: true, after: true };
        (layer.attention_norms, layer.ffn_norms) = (norms, norms);
        layer.activation = Activation::GeluTanh;
    }
    Ok(spec)
}
