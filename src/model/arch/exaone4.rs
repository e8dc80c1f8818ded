//! EXAONE 4: norms after the halves of a layer instead of before, and of queries and keys. If the
//! file has a sliding window, each fourth layer has none, and does not rotate.

use super::{Family, Keys, Names};
use crate::error::Result;
use crate::model::spec::{ModelSpec, Norms};

pub const FAMILY: Family = Family { name: "exaone4", names: &Names::USUAL, read };

fn read(keys: &Keys) -> Result<ModelSpec> {
    let mut spec = keys.decoder()?.half_split();
    let windowed = keys.windowed(spec.layers.len(), 4)?;
    for (layer, windowed) in spec.layers.iter_mut().zip(windowed) {
        if layer.window.is_some() && !windowed {
            (layer.window, layer.rotation) = (None, None);
        }
        layer.qk_norm = true;
        let norms = Norms { before: false, after: true };
        (layer.attention_norms, layer.ffn_norms) = (norms, norms);
    }
    Ok(spec)
}
