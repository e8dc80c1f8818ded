pub mod command;
pub mod models;
pub mod python;
