pub mod cancel;
pub mod models;
pub mod python;
pub mod suite;
pub mod toy;
