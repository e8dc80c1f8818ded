//! What a decoder is: its description layer by layer, read and checked, and its weights as named,
//! shaped views of the file. Nothing is computed here.

pub(crate) mod arch;
mod check;
mod profile;
mod sizes;
pub(crate) mod spec;
pub(crate) mod weights;

#[cfg(test)]
pub(crate) use profile::Profile;
pub use sizes::{KvHead, Mixers, Sizes};
#[cfg(test)]
pub(crate) use spec::ChunkSpec;
pub(crate) use spec::{Activation, LayerSpec, ModelSpec, Pairs, RotaryTable, Scaling, Ssm};
#[cfg(feature = "gpu")]
pub(crate) use spec::{Biases, Rotation};
pub(crate) use weights::{Layer, Matrix, Mixer, Projection, Weights};

use crate::error::{Error, Result};
use crate::gguf::Gguf;
use arch::Family;
use std::path::Path;
use std::sync::Arc;

/// How the hidden states of a text become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the last token.
    Last,
}

/// A validated model file: every tensor is present, in the shape it must have.
#[derive(Debug)]
pub struct Model {
    spec: ModelSpec,
    pub(crate) weights: Weights,
    gguf: Arc<Gguf>,
}

impl Model {
    /// Maps the file at `path`: weights are read on demand, and shared with every process that maps
    /// the same file.
    ///
    /// # Safety
    /// As long as the model or an engine of it lives, nobody may write to the file or shorten it:
    /// see [`Gguf::map`].
    ///
    /// # Errors
    /// Those of [`Gguf::map`] and of [`Model::from_gguf`].
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Model> {
        // SAFETY: passed on to the caller.
        Model::from_gguf(unsafe { Gguf::map(path) }?)
    }

    /// Reads the file at `path` into memory.
    ///
    /// # Errors
    /// Those of [`Gguf::read`] and of [`Model::from_gguf`].
    pub fn read(path: impl AsRef<Path>) -> Result<Model> {
        Model::from_gguf(Gguf::read(path)?)
    }

    /// Takes a GGUF that is already open.
    ///
    /// # Errors
    /// [`Error::Model`] if a key or a tensor is missing or of the wrong kind,
    /// [`Error::Unsupported`] if the model needs something that is not implemented.
    pub fn from_gguf(gguf: Gguf) -> Result<Model> {
        Model::of_families(gguf, arch::FAMILIES)
    }

    /// Like [`Model::from_gguf`], for one of `families`: lets a test bring its own family.
    pub(crate) fn of_families(gguf: Gguf, families: &[Family]) -> Result<Model> {
        if let Some([part, parts]) = gguf.part()? {
            return Err(Error::unsupported(
                "this",
                format!(
                    "is part {part} of {parts}; a model in several files is opened by the path of the first, NAME-00001-of-{parts:05}.gguf, with the others beside it"
                ),
            ));
        }
        let gguf = Arc::new(gguf);
        let (family, spec) = arch::read(&gguf, families)?;
        check::check(&spec)?;
        let weights = Weights::find(&gguf, &spec, family.names)?;
        Ok(Model { spec, weights, gguf })
    }

    /// What the model is, layer by layer.
    pub(crate) fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Whether its file says which KV heads see far: see `attamba profile`.
    pub fn has_profile(&self) -> bool {
        self.spec.profile.is_some()
    }

    /// Whether its file has retention gates, which [`Eviction::Retain`](crate::Eviction::Retain) uses.
    pub fn has_retention_gates(&self) -> bool {
        self.spec.profile.as_ref().is_some_and(|profile| profile.gates.is_some())
    }

    /// How the model makes one vector of a text, if it was made for it: see
    /// [`Engine::embedding`](crate::Engine::embedding).
    pub fn pooling(&self) -> Option<Pooling> {
        let family = self.gguf.get("general.architecture")?.as_str()?;
        // The numbers are those of llama.cpp.
        match self.gguf.get(&format!("{family}.pooling_type"))?.as_i128()? {
            1 => Some(Pooling::Mean),
            3 => Some(Pooling::Last),
            _ => None,
        }
    }

    /// The file behind the model.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// Reads the whole file, so that the first tokens do not wait for the disk. `each` is called
    /// now and then with the bytes read so far and the size of the file, and returns whether to
    /// continue. The system may drop the pages again when memory is short.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if `each` returns false.
    pub fn preload(&self, each: &mut dyn FnMut(u64, u64) -> bool) -> Result<()> {
        // The smallest page size in use; touching a byte of each page brings it in.
        const PAGE: usize = 4096;
        const STEP: usize = 1024 * PAGE;
        let all = self.gguf.file_bytes() as u64;
        let mut read = 0;
        for step in self.gguf.files().flat_map(|file| file.chunks(STEP)) {
            let sum = step.iter().step_by(PAGE).fold(0u8, |sum, &byte| sum.wrapping_add(byte));
            std::hint::black_box(sum);
            read += step.len() as u64;
            if !each(read, all) {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    /// Every matrix, in the order in which a token passes through them.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let weights = &self.weights;
        let layers = weights.layers.iter().flat_map(Layer::matrices);
        std::iter::once(&weights.embedding).chain(layers).chain([&weights.head])
    }

    /// `general.name`, if the file has it.
    pub fn name(&self) -> &str {
        self.gguf.str("general.name").ok().flatten().unwrap_or("unnamed")
    }
}
