//! On-device inference for Attamba language models ([arXiv 2411.17685]): a transformer whose keys
//! and values are state-space scans over chunks of tokens. Only the chunks' states are kept, in a
//! ring of fixed size, so a session never grows.
//!
//! - [`Model`] maps a GGUF file; [`Engine`] makes it ready to run, on the GPU or the CPU.
//! - [`Session`] is one conversation: tokens in, logits out, memory fixed at the start.
//! - [`Conversation`] is a chat on a session: messages in, answers out.
//! - [`memory`] estimates what all of it costs, before it is opened.
//! - [`Language`] converts between text and tokens, [`Sampler`] chooses tokens.
//! - [`gguf`] and [`quant`] read and write the files and their block formats.
//!
//! Models of the architecture `llama` run on the same engines, as the baseline to compare with.
//!
//! [arXiv 2411.17685]: https://arxiv.org/abs/2411.17685

#[doc = include_str!("../README.md")]
#[cfg(all(doctest, feature = "text"))]
struct Readme;

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!(
    "attamba runs on 64-bit little-endian machines: files are mapped as they lie, and larger than 4 GiB"
);

mod cache;
#[cfg(feature = "text")]
pub mod conversation;
mod engine;
mod error;
pub mod gguf;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
pub mod memory;
pub mod model;
pub mod quant;
mod replace;
mod room;
pub mod sample;
pub mod session;
#[cfg(feature = "text")]
pub mod text;

pub use cache::{Eviction, KvType};
#[cfg(feature = "text")]
pub use conversation::Conversation;
#[cfg(feature = "gpu")]
pub use engine::Adapter;
pub use engine::{
    Activations, Candidate, Counters, Engine, EngineKind, EngineOptions, KernelTime, KernelTimes,
    default_threads,
};
pub use error::{Detail, Error, Result};
pub use model::{Model, Pooling};
pub use sample::{Sampler, Sampling};
pub use session::{Budget, Options, Session};
#[cfg(feature = "text")]
pub use text::Language;
