//! Granite: a llama with factors for the embedding, for what is added to the residual stream, for
//! attention and for logits.

use super::{Family, Keys, Names};
use crate::error::Result;
use crate::model::spec::ModelSpec;

pub const FAMILY: Family = Family { name: "granite", names: &Names::USUAL, read };

fn read(keys: &Keys) -> Result<ModelSpec> {
    let mut spec = keys.decoder()?;
    // Everything that reads the residual stream is a norm. So instead of what is added, what it
    // begins with may be scaled, and the epsilon of norms with its square.
    let residual = keys.real("residual_scale", 1.0)?;
    spec.embedding_scale = keys.real("embedding_scale", 1.0)? / residual;
    spec.eps /= residual * residual;
    spec.logit_scale = 1.0 / keys.real("logit_scale", 1.0)?;
    Ok(spec)
}
