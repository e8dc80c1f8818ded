pub mod models;
pub mod python;
