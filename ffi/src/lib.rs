//! The C ABI. `include/attamba.h` is generated from this crate by cbindgen, its documentation from
//! the comments here; `cbindgen.toml` holds what the header says before the first function.
//!
//! Every exported function goes through [`guard`]: a panic becomes a status, an error leaves its
//! message on the handle. Handles are numbers in disguise ([`handle`]), so that one that is closed,
//! or of the wrong kind, is detected instead of dereferenced.
#![allow(clippy::missing_safety_doc, reason = "the header says what a caller owes")]

mod buffer;
mod engines;
mod error;
mod guard;
mod handle;
mod input;
mod status;
mod versioned;
mod work;

// The functions, in the order of the header.
mod log;

mod options;

mod open;

mod model;

mod embed;

mod session;

mod cancel;

mod chat;

mod generate;

mod snapshot;

mod estimate;

mod adapter;
