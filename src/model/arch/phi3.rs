//! Phi-3 and Phi-4: queries, keys and values in one tensor, gate and up in another.

use super::{Family, Keys, Names};
use crate::error::Result;
use crate::model::spec::ModelSpec;

pub const FAMILY: Family = Family { name: "phi3", names: &FUSED, read };

const FUSED: Names = Names { qkv: Some("attn_qkv"), gate_up: Some("ffn_up"), ..Names::USUAL };

fn read(keys: &Keys) -> Result<ModelSpec> {
    Ok(keys.decoder()?.half_split())
}
