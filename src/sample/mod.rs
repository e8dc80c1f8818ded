//! From logits to a token: a chain of stages that run in the order given, and a draw from what they
//! leave.
//!
//! [`Sampling`] says which stages there are and with which numbers, [`Sampler`] runs them and keeps
//! what they need to remember. Stages and numbers mean what they mean in llama.cpp, whose order is
//! the default one ([`Stage::DEFAULT`]).

mod candidates;
mod dry;
mod history;
mod options;
mod penalties;
mod random;
mod sampler;
mod stage;
mod truncation;
mod typical;
mod xtc;

pub use options::Sampling;
pub use sampler::Sampler;
pub use stage::Stage;
