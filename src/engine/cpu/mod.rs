//! The CPU engine. `model.rs` is the model, top to bottom; the kernels are next to it.

#[cfg(feature = "internals")]
mod alone;
mod attend;
mod attention;
mod buffer;
mod cache;
mod embed;
mod kernels;
mod mass;
mod mixer;
mod model;
mod pool;
mod product;
mod scratch;
mod sequence;
mod shares;
mod simd;
mod threads;

#[cfg(feature = "internals")]
pub use alone::product;
pub use threads::default_threads;

use super::rotary::Rotary;
use super::{Activations, Backend, EngineOptions, Geometry, KvType, Pooling, State};
use crate::cache::Tables;
use crate::error::{Error, Result};
use crate::model::{Mixer, Model};
use crate::room;
use kernels::{Half, Kernels, Precision, Single};
use pool::{Pool, lock};
use scratch::Scratch;
use sequence::Sequence;
use std::ops::Range;
use std::sync::Arc;

/// More threads than on any machine that will run this.
const MAX_THREADS: usize = 256;

/// The stack of a worker, as the standard library has it.
const WORKER: usize = 2 << 20;

/// A model on the CPU.
pub struct Cpu {
    shared: Arc<Shared>,
}

/// What all sequences of an engine share.
struct Shared {
    model: Arc<Model>,
    kernels: Kernels,
    /// How activations are rounded.
    activations: Activations,
    pool: Pool,
    /// Convolution weights `[C][channels]`, tap by tap, of the two mixers of each layer that has
    /// them.
    conv: Vec<Option<[Vec<f32>; 2]>>,
    /// The rotary tables.
    rotary: Vec<Rotary>,
    /// Whether any matrix multiplies quantized activations.
    quantized: bool,
}

impl Cpu {
    /// Prepares `model` for `threads` threads (by default [`default_threads`]) on the best
    /// instruction set of this machine.
    pub fn new(model: Arc<Model>, threads: Option<usize>, activations: Activations) -> Result<Cpu> {
        Cpu::with_kernels(model, threads, activations, kernels::available()[0])
    }

    /// Like [`Cpu::new`], on the instruction set `name`, one of [`Cpu::instruction_sets`].
    #[cfg(feature = "internals")]
    pub fn with_instruction_set(
        model: Arc<Model>,
        threads: Option<usize>,
        activations: Activations,
        name: &str,
    ) -> Result<Cpu> {
        let found = kernels::available().into_iter().find(|k| k.name == name);
        let table = found.ok_or_else(|| {
            Error::argument(
                format!("instruction set {name:?}"),
                format!("is none of {:?}", Cpu::instruction_sets()),
            )
        })?;
        Cpu::with_kernels(model, threads, activations, table)
    }

    /// The instruction sets that this machine can run, best first.
    #[cfg(feature = "internals")]
    pub fn instruction_sets() -> Vec<&'static str> {
        kernels::available().into_iter().map(|k| k.name).collect()
    }

    fn with_kernels(
        model: Arc<Model>,
        threads: Option<usize>,
        activations: Activations,
        kernels: &Kernels,
    ) -> Result<Cpu> {
        let threads = threads.unwrap_or_else(default_threads);
        if threads == 0 || threads > MAX_THREADS {
            return Err(Error::argument(
                "the number of threads",
                format!("is {threads}; it must be between 1 and {MAX_THREADS}"),
            ));
        }
        let conv = model.weights.layers.iter().map(|layer| {
            let Some([k, v]) = &layer.attention.mixers else { return Ok(None) };
            let side = |mixer: &Mixer| transposed(&mixer.conv, mixer.conv_bias.len());
            Ok(Some([side(k)?, side(v)?]))
        });
        let conv = conv.collect::<Result<_>>()?;
        let quantized = model.matrices().any(|m| m.dtype.is_quantized() && !m.dtype.is_rare());
        let shared = Shared {
            kernels: match activations {
                Activations::Int14 => *kernels,
                Activations::Int8 => kernels.with_int8_activations(),
            },
            activations,
            pool: Pool::new(1 + room::threads(threads - 1, WORKER)),
            conv,
            rotary: Rotary::tables(&model),
            quantized,
            model,
        };
        Ok(Cpu { shared: Arc::new(shared) })
    }
}

/// What an engine with these options calls itself.
pub(crate) fn describe(options: &EngineOptions) -> String {
    let threads = options.threads.unwrap_or_else(default_threads);
    description(kernels::available()[0], options.activations, threads)
}

fn description(kernels: &Kernels, activations: Activations, threads: usize) -> String {
    let plural = if threads == 1 { "" } else { "s" };
    let rounded = match activations {
        Activations::Int14 => "",
        Activations::Int8 => "int8 activations, ",
    };
    format!("CPU, {}, {rounded}{threads} thread{plural}", kernels.name)
}

/// Scratch bytes of a session of this geometry, as reported by [`State::scratch_bytes`].
pub(crate) fn scratch_bytes(model: &Model, threads: usize, geometry: Geometry) -> Result<u64> {
    // Created and dropped again: no page is touched, and the sizes need not be computed in a second
    // place.
    let scratch = Scratch::new(model, threads, kernels::available()[0])?;
    let layout = Arc::new(geometry.layout(model.spec())?);
    let tables = Tables::new(layout, scratch.block)?.bytes() as u64;
    // One layer's worth at a time: the widest.
    let layers = model.spec().layers.iter();
    let block = layers.map(|l| geometry.kv.bytes(l.kv_heads, l.head_dim, 0, 1)).max().unwrap_or(0);
    Ok(scratch.bytes() as u64 + tables + scratch.block as u64 * block)
}

impl Shared {
    /// The buffers of a sequence.
    fn scratch(&self) -> Result<Scratch> {
        Scratch::new(&self.model, self.pool.threads(), &self.kernels)
    }
}

impl Backend for Cpu {
    fn describe(&self) -> String {
        description(&self.shared.kernels, self.shared.activations, self.shared.pool.threads())
    }

    fn model(&self) -> &Arc<Model> {
        &self.shared.model
    }

    fn forward_together(
        &self,
        states: &mut [&mut dyn State],
        tokens: &[u32],
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let vocab = self.shared.model.spec().vocab;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab });
        }
        if states.len() != tokens.len() {
            let (states, tokens) = (states.len(), tokens.len());
            return Err(Error::argument(
                "the number of tokens",
                format!("is {tokens} for {states} sequences"),
            ));
        }
        // States whose windows have the same precision are evaluated together.
        together::<Half>(states, tokens, sink)?;
        together::<Single>(states, tokens, sink)
    }

    fn attention_mass(
        &self,
        tokens: &[u32],
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> Result<Vec<f32>> {
        self.mass(tokens, queries, keys)
    }

    fn embed(&self, tokens: &[u32], pooling: Pooling) -> Result<Vec<f32>> {
        Cpu::embed(self, tokens, pooling)
    }

    fn open(&self, geometry: Geometry) -> Result<Box<dyn State>> {
        let shared = Arc::clone(&self.shared);
        let layout = geometry.layout(shared.model.spec())?;
        Ok(match geometry.kv {
            KvType::F32 => Box::new(Sequence::<Single>::new(shared, layout)?),
            KvType::F16 | KvType::I8 | KvType::I4 => {
                Box::new(Sequence::<Half>::new(shared, layout)?)
            }
        })
    }
}

/// Evaluates the tokens of those `states` whose windows are stored in the precision `P`.
fn together<P: Precision>(
    states: &mut [&mut dyn State],
    tokens: &[u32],
    sink: &mut dyn FnMut(usize, &[f32]),
) -> Result<()> {
    let mut sequences: Vec<&mut Sequence<P>> = Vec::new();
    let (mut indices, mut own) = (Vec::new(), Vec::new());
    for (index, (state, token)) in states.iter_mut().zip(tokens).enumerate() {
        let Some(sequence) = state.as_any().downcast_mut::<Sequence<P>>() else { continue };
        if sequences.first().is_some_and(|first| !first.is_beside(sequence)) {
            return Err(Error::argument("sequences of two engines", "can't run together"));
        }
        sequences.push(sequence);
        indices.push(index);
        own.push(*token);
    }
    let most = sequences.first().map_or(1, |first| first.block());
    let groups = sequences.chunks_mut(most).zip(own.chunks(most)).zip(indices.chunks(most));
    for ((sequences, tokens), indices) in groups {
        Sequence::together(sequences, tokens, &mut |i, logits| sink(indices[i], logits))?;
    }
    Ok(())
}

/// `[rows][columns]` to `[columns][rows]`.
fn transposed(matrix: &[f32], rows: usize) -> Result<Vec<f32>> {
    let columns = matrix.len() / rows;
    let mut transposed = room::list(matrix.len(), "weights")?;
    transposed.extend((0..matrix.len()).map(|i| matrix[i % rows * columns + i / rows]));
    Ok(transposed)
}
