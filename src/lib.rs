//! On-device inference for Attamba language models (arXiv 2411.17685).
pub mod chunk;
pub mod error;
pub mod gguf;
pub mod quant;
pub use error::{Error, Result};
