//! What a decoder is: its hyperparameters, read and checked, and its weights as named, shaped
//! views of the file. Nothing is computed here.

mod hyper;
mod weights;

pub use hyper::{Architecture, Hyper, Ssm};
pub use weights::{Attention, Layer, Matrix, Mixer, Projections, Weights};

use crate::error::{Error, Result};
use crate::gguf::Gguf;
use std::path::Path;
use std::sync::Arc;

/// A model file that has been found sound: every tensor is there, in the shape it must have.
#[derive(Debug)]
pub struct Model {
    /// The sizes.
    pub hyper: Hyper,
    /// The tensors.
    pub weights: Weights,
    gguf: Arc<Gguf>,
}

impl Model {
    /// Maps the file at `path`.
    pub fn open(path: &Path) -> Result<Model> {
        Model::from_gguf(Gguf::open(path)?)
    }

    /// Takes a GGUF that is open already.
    pub fn from_gguf(gguf: Gguf) -> Result<Model> {
        let gguf = Arc::new(gguf);
        let hyper = Hyper::read(&gguf)?;
        let weights = Weights::find(&gguf, &hyper)?;
        Ok(Model { hyper, weights, gguf })
    }

    /// The file behind the model.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// Reads the whole file, so that the first tokens do not wait for the disk. `each` gets the
    /// bytes read so far and those of the file, now and then, and says whether to go on. The system
    /// may drop the pages again where memory is short.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if `each` says no.
    pub fn preload(&self, each: &mut dyn FnMut(u64, u64) -> bool) -> Result<()> {
        // The smallest page in use; a byte of each brings it in.
        const PAGE: usize = 4096;
        const STEP: usize = 1024 * PAGE;
        let bytes = self.gguf.bytes();
        let all = bytes.len() as u64;
        let mut read = 0;
        for step in bytes.chunks(STEP) {
            let sum = step.iter().step_by(PAGE).fold(0u8, |sum, &byte| sum.wrapping_add(byte));
            std::hint::black_box(sum);
            read += step.len() as u64;
            if !each(read, all) {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    /// Every matrix, in the order in which a token meets them.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let weights = &self.weights;
        let layers = weights.layers.iter().flat_map(Layer::matrices);
        std::iter::once(&weights.embedding).chain(layers).chain([&weights.head])
    }

    /// `general.name`, where the file has it.
    pub fn name(&self) -> &str {
        self.gguf.str("general.name").ok().flatten().unwrap_or("unnamed")
    }
}
