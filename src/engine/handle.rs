//! The engine as the public sees it, whichever backend is behind it.

use super::gather::Gathering;
use super::{Backend, Counters, EngineOptions, Geometry, KernelTimes, State, cpu};
use crate::error::Result;
use crate::model::{Model, Pooling};
use std::ops::Range;
use std::sync::Arc;

/// A model ready to run, on the CPU or on a GPU. Cheap to clone: sessions and threads share it.
#[derive(Clone)]
pub struct Engine {
    backend: Arc<dyn Backend>,
    /// Where sessions that generate at the same time meet, if they are to.
    gathering: Option<Arc<Gathering>>,
}

impl Engine {
    /// The engine of a backend.
    pub(crate) fn new(backend: impl Backend + 'static) -> Engine {
        Engine { backend: Arc::new(backend), gathering: None }
    }

    /// The same engine, whose sessions generate together.
    pub(crate) fn batching(self) -> Engine {
        Engine { gathering: Some(Arc::default()), ..self }
    }

    /// A description of the engine: `CPU, AVX-512 VNNI, 2 threads`.
    pub fn describe(&self) -> String {
        self.backend.describe()
    }

    /// What [`Engine::describe`] says of a CPU engine, without a model.
    pub fn describe_cpu(options: &EngineOptions) -> String {
        cpu::describe(options)
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        self.backend.model()
    }

    /// Bytes of weights on the engine's own device; 0 if it has none.
    pub(crate) fn device_bytes(&self) -> u64 {
        self.backend.device_bytes()
    }

    /// Whether its sessions are on a device of its own, rather than in the host's memory.
    pub(crate) fn has_device(&self) -> bool {
        self.device_bytes() > 0
    }

    /// Work submitted to the device, if the engine has one.
    pub fn counters(&self) -> Option<Counters> {
        self.backend.counters()
    }

    /// How long each kernel took since the last call, if the engine was started with
    /// [`EngineOptions::with_kernel_times`] on a GPU whose driver has a clock.
    pub fn take_kernel_times(&self) -> Option<KernelTimes> {
        self.backend.take_kernel_times()
    }

    /// The attention that the tokens `queries` of the text `tokens` pay to the positions `keys`, as
    /// `[layer][kv_head]`: the sum of the softmax weights of those positions, the largest among the
    /// query heads of a KV head, averaged over the queries. Each is between 0 and 1. It shows which
    /// KV heads fetch from afar.
    ///
    /// Nothing is evicted. A chunk state counts as the position that closed the chunk.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if a range is empty or not within the text,
    /// [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange),
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if the text's keys and values don't fit into
    /// memory, [`Error::Unsupported`](crate::Error::Unsupported) on an engine other than
    /// [`Engine::cpu`].
    pub fn attention_mass(
        &self,
        tokens: &[u32],
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> Result<Vec<f32>> {
        self.backend.attention_mass(tokens, queries, keys)
    }

    /// The text `tokens` as a vector of length 1, to compare texts by: its hidden states after the
    /// last layer and its norm, `[width]`, averaged or that of the last token. Without a `pooling`,
    /// as the model's file says, or their mean, with a warning, for a model that was not made for it.
    /// It takes the memory of a session that keeps the whole text, in half precision.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for an empty text,
    /// [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange),
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::Unsupported`](crate::Error::Unsupported)
    /// on an engine other than [`Engine::cpu`].
    pub fn embedding(
        &self,
        tokens: &[u32],
        pooling: impl Into<Option<Pooling>>,
    ) -> Result<Vec<f32>> {
        let own = self.model().pooling();
        if own.is_none() {
            log::warn!("{} was not made for embeddings", self.model().name());
        }
        self.backend.embed(tokens, pooling.into().or(own).unwrap_or(Pooling::Mean))
    }

    /// A new sequence at position 0.
    pub(crate) fn open(&self, geometry: Geometry) -> Result<Box<dyn State>> {
        self.backend.open(geometry)
    }

    /// See [`Backend::forward_together`].
    pub(crate) fn forward_together(
        &self,
        states: &mut [&mut dyn State],
        tokens: &[u32],
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.backend.forward_together(states, tokens, sink)
    }

    /// Where its sessions meet that generate at the same time, if they do.
    pub(crate) fn gathering(&self) -> Option<&Gathering> {
        self.gathering.as_deref()
    }

    /// The engine that takes over if this one is lost, if any.
    pub(crate) fn successor(&self) -> Option<Engine> {
        self.backend.successor()
    }

    /// Whether both are the same engine, so that sequences of one can run on the other.
    pub(crate) fn is(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.backend, &other.backend)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Engine").field(&self.describe()).finish()
    }
}
