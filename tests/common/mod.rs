pub mod models;
pub mod python;
pub mod suite;
