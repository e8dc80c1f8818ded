#[cfg(feature = "cli")]
pub mod command;
pub mod models;
pub mod python;
pub mod suite;
