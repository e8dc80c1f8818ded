//! The GPU engine: Vulkan, Metal and DirectX 12 through wgpu.

mod adapter;
mod cases;
mod device;
mod format;
mod params;
mod pipelines;
mod plan;
mod proof;
mod shaders;
#[cfg(test)]
mod tests;
mod twin;
pub mod variants;

pub use adapter::Adapter;
pub use device::Counters;
