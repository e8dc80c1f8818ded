//! On-device inference for Attamba language models (arXiv 2411.17685).
pub mod chunk;
pub mod engine;
pub mod error;
pub mod gguf;
pub mod model;
pub mod quant;
pub mod sample;
pub mod session;
pub mod text;
pub use error::{Error, Result};
