//! What a text is to the model: its hidden states after the last layer, as one vector. Sessions
//! don't use it.

use super::Cpu;
use super::cache::Cache;
use super::kernels::Half;
use super::model::{Part, Pass};
use crate::engine::{Geometry, KvType, Pooling};
use crate::error::{Error, Result};
use std::sync::Arc;

impl Cpu {
    /// See [`Engine::embedding`](crate::Engine::embedding).
    pub(super) fn embed(&self, tokens: &[u32], pooling: Pooling) -> Result<Vec<f32>> {
        let shared = &*self.shared;
        let spec = shared.model.spec();
        if tokens.is_empty() {
            return Err(Error::argument(
                "a text to embed",
                "has 0 tokens; it must have at least 1",
            ));
        }
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= spec.vocab) {
            return Err(Error::TokenOutOfRange { token, vocab: spec.vocab });
        }
        // As many states as tokens: none is ever evicted.
        let layout = Geometry::new(spec, tokens.len(), KvType::F16).layout(spec)?;
        let mut scratch = shared.scratch()?;
        let mut cache = Cache::<Half>::new(Arc::new(layout), scratch.block)?;
        let norm = &shared.model.weights.output_norm;
        let (mut all, mut one) = (vec![0.0; spec.d], vec![0.0; spec.d]);
        for block in tokens.chunks(scratch.block) {
            let part = Part { cache: &mut cache, first: 0, len: block.len() };
            let mut pass = Pass { scratch: &mut scratch, parts: &mut [part] };
            pass.layers(shared, block, |_, _| ())?;
            let first = match pooling {
                Pooling::Mean => 0,
                Pooling::Last => block.len() - 1,
            };
            for h in scratch.h.as_mut_slice().chunks_exact(spec.d).take(block.len()).skip(first) {
                shared.kernels.rms_norm(h, norm, spec.eps, &mut one);
                match pooling {
                    Pooling::Mean => all.iter_mut().zip(&one).for_each(|(all, one)| *all += one),
                    Pooling::Last => all.copy_from_slice(&one),
                }
            }
        }
        let length = all.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            all.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
        }
        Ok(all)
    }
}
