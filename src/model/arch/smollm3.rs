//! SmolLM3: each fourth layer does not rotate queries and keys.

use super::{Family, Keys, Names};
use crate::error::Result;
use crate::model::spec::ModelSpec;

pub const FAMILY: Family = Family { name: "smollm3", names: &Names::USUAL, read };

/// No key says so.
const UNROTATED: usize = 4;

fn read(keys: &Keys) -> Result<ModelSpec> {
    let mut spec = keys.decoder()?;
    for layer in spec.layers.iter_mut().skip(UNROTATED - 1).step_by(UNROTATED) {
        layer.rotation = None;
    }
    Ok(spec)
}
