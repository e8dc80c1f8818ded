//! Qwen2 and Qwen2.5: biases of queries, keys and values.

use super::{Family, Keys, Names};
use crate::error::Result;
use crate::model::spec::{Biases, ModelSpec};

pub const FAMILY: Family = Family { name: "qwen2", names: &Names::USUAL, read };

fn read(keys: &Keys) -> Result<ModelSpec> {
    let mut spec = keys.decoder()?.half_split();
    for layer in &mut spec.layers {
        layer.biases = Biases { q: true, k: true, v: true, o: false };
    }
    Ok(spec)
}
