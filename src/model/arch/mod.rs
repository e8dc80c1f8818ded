//! The supported model families, one file each: how the metadata of a family's files becomes a
//! [`ModelSpec`], and how its tensors are named. Nothing outside depends on a family's name.

mod attamba;
mod exaone4;
mod gemma3;
mod granite;
mod keys;
mod llama;
mod names;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

pub use keys::Keys;
pub use names::Names;

use super::profile::Profile;
use super::spec::ModelSpec;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// A family of models.
#[derive(Debug)]
pub struct Family {
    /// The value of `general.architecture`, and the prefix of its keys.
    pub name: &'static str,
    /// Names of its tensors.
    pub names: &'static Names,
    /// Reads the metadata of a file of the family.
    pub read: fn(&Keys) -> Result<ModelSpec>,
}

/// Every family, in alphabetical order.
pub static FAMILIES: &[Family] = &[
    attamba::FAMILY,
    exaone4::FAMILY,
    gemma3::FAMILY,
    granite::FAMILY,
    llama::FAMILY,
    phi3::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
    smollm3::FAMILY,
];

/// The family of `gguf` among `families`, and the description of its model.
pub(super) fn read<'a>(gguf: &Gguf, families: &'a [Family]) -> Result<(&'a Family, ModelSpec)> {
    let name = gguf.str("general.architecture")?;
    let name = name.ok_or_else(|| keys::missing("general.architecture"))?;
    let Some(family) = families.iter().find(|family| family.name == name) else {
        let known: Vec<&str> = families.iter().map(|family| family.name).collect();
        return Err(Error::unsupported(
            "architecture",
            format!("{:?}; supported: {}", keys::beginning(name), known.join(", ")),
        ));
    };
    let keys = Keys::new(gguf, family.name);
    let mut spec = (family.read)(&keys)?;
    if spec.is_transformer() && keys.optional("chunk.length")?.is_some() {
        attamba::read_mixers(&keys, &mut spec)?;
    }
    spec.profile = Profile::read(&keys, &spec)?;
    Ok((family, spec))
}
