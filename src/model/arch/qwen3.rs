//! Qwen3: queries and keys are normalized head by head.

use super::{Family, Keys, Names};
use crate::error::Result;
use crate::model::spec::ModelSpec;

pub const FAMILY: Family = Family { name: "qwen3", names: &Names::USUAL, read };

fn read(keys: &Keys) -> Result<ModelSpec> {
    let mut spec = keys.decoder()?.half_split();
    spec.layers.iter_mut().for_each(|layer| layer.qk_norm = true);
    Ok(spec)
}
