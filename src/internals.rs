//! What is behind the public API, for this project's own tests. Nothing here is stable.

pub use crate::cache::*;
pub use crate::engine::cpu::{Cpu, product};
#[cfg(feature = "gpu")]
pub use crate::engine::gpu::{Driver, Gpu, variants};
pub use crate::engine::{Backend, Geometry, OrCpu, State, Want};
pub use crate::model::spec::*;
pub use crate::model::weights::Matrix;

use crate::engine::Engine;
use crate::error::Result;
use crate::gguf::Gguf;
use crate::model::Model;
pub use crate::session::lost::History;
use crate::session::{Options, Session};

/// Families of models.
pub mod arch {
    pub use crate::model::arch::*;
}

#[cfg(feature = "text")]
use crate::text::{Chat, Language, Message, Tokenizer};
#[cfg(feature = "text")]
pub use crate::text::{chat::Turn, message::Variables, source::TextSource, template::ChatTemplate};

/// The tokenizer of a source.
#[cfg(feature = "text")]
pub fn tokenizer(source: &TextSource) -> Result<Tokenizer> {
    Tokenizer::new(source)
}

/// A tokenizer with a template, or with the reason why there is none.
#[cfg(feature = "text")]
pub fn language(tokenizer: Tokenizer, template: Result<ChatTemplate>) -> Language {
    Language::new(tokenizer, template)
}

/// A tokenizer with a template.
#[cfg(feature = "text")]
pub fn chat<'a>(tokenizer: &'a Tokenizer, template: &'a ChatTemplate) -> Chat<'a> {
    static NONE: std::sync::LazyLock<Variables> = std::sync::LazyLock::new(Variables::default);
    Chat::new(tokenizer, template, &NONE)
}

/// What to feed for the next answer.
#[cfg(feature = "text")]
pub fn turn(chat: &Chat, messages: &[Message], fed: &str) -> Result<Turn> {
    chat.turn(messages, fed, &|| false)
}

/// Maximum tokens that a session computes at once at the moment.
pub fn block(session: &Session) -> usize {
    session.block()
}

/// What a session is restored from when its engine is lost.
pub fn set_history(session: &mut Session, history: impl History + 'static) {
    session.set_history(history);
}

/// The engine of a backend.
pub fn engine(backend: impl Backend + 'static) -> Engine {
    Engine::new(backend)
}

/// A sequence on `engine`.
pub fn open(engine: &Engine, geometry: Geometry) -> Result<Box<dyn State>> {
    engine.open(geometry)
}

/// One token of each of `states`: see [`Backend::forward_together`].
pub fn forward_together(
    engine: &Engine,
    states: &mut [&mut dyn State],
    tokens: &[u32],
    sink: &mut dyn FnMut(usize, &[f32]),
) -> Result<()> {
    engine.forward_together(states, tokens, sink)
}

/// The model in a file of one of `families`.
pub fn model_of(gguf: Gguf, families: &[arch::Family]) -> Result<Model> {
    Model::of_families(gguf, families)
}

/// What a model is, layer by layer.
pub fn spec(model: &Model) -> &ModelSpec {
    model.spec()
}

/// What determines the memory of a session with these options.
pub fn geometry(options: &Options, spec: &ModelSpec) -> Result<Geometry> {
    options.geometry(spec)
}

/// What determines the memory of a session.
pub fn geometry_of(session: &Session) -> Geometry {
    session.geometry()
}

/// Every matrix of a model.
pub fn matrices(model: &Model) -> impl Iterator<Item = &Matrix> {
    model.matrices()
}

/// The most sessions that `engine` has processed in one pass for several threads.
pub fn most_together(engine: &Engine) -> usize {
    engine.gathering().map_or(0, |gathering| gathering.most())
}
