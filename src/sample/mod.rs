//! From logits to a token: a chain of stages that run in the order given, and a draw from what
//! remains.
//!
//! [`Sampling`] lists the stages and their parameters, [`Sampler`] runs them and keeps their state.
//! Stages and parameters mean the same as in llama.cpp, whose order is the default.

mod candidates;
mod dry;
mod history;
mod options;
mod penalties;
mod random;
mod recommended;
mod sampler;
mod stage;
mod truncation;
mod typical;
mod watch;
mod xtc;

pub use options::Sampling;
pub use sampler::Sampler;
pub use stage::Stage;
pub use watch::Watcher;
