//! Llama, and the many models that share its file layout.

use super::{Family, Keys, Names};
use crate::error::Result;
use crate::model::spec::ModelSpec;

pub const FAMILY: Family = Family { name: "llama", names: &Names::USUAL, read };

fn read(keys: &Keys) -> Result<ModelSpec> {
    keys.decoder()
}
