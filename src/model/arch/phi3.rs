//! Phi-3 and Phi-4: queries, keys and values in one tensor, gate and up in another; divisors of the
//! rotary frequencies for the context of the first training, and others for a longer one.

use super::{Family, Keys, Names};
use crate::error::Result;
use crate::model::spec::ModelSpec;

pub const FAMILY: Family = Family { name: "phi3", names: &FUSED, read };

const FUSED: Names = Names { qkv: Some("attn_qkv"), gate_up: Some("ffn_up"), ..Names::USUAL };

const SHORT: &str = "rope_factors_short.weight";
const LONG: &str = "rope_factors_long.weight";

fn read(keys: &Keys) -> Result<ModelSpec> {
    let mut spec = keys.decoder()?.half_split();
    if keys.has_tensor(LONG) || keys.has_tensor(SHORT) {
        // Keys are stored rotated, so all tokens of a session are rotated by the same table, however
        // many will come: by that for the whole context of the file.
        let original = keys.optional("rope.scaling.original_context_length")?;
        let long = spec.context > original.unwrap_or(spec.context);
        let (used, unused) = if long { (LONG, SHORT) } else { (SHORT, LONG) };
        spec.rotary[0].factors = Some(used);
        spec.unused.push(unused);
    }
    Ok(spec)
}
