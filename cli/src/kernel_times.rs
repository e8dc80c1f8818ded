//! What `attamba bench --profile` tells of a GPU's kernels.

use attamba::{KernelTime, KernelTimes};
use serde::Serialize;

/// Time per kernel of a test, warm-up included.
#[derive(Serialize)]
pub struct Profile {
    /// What the GPU reaches in a kernel that copies, and in one that multiplies and adds.
    peak_bytes_per_second: f64,
    peak_operations_per_second: f64,
    kernels: Vec<OfKernel>,
}

#[derive(Serialize)]
struct OfKernel {
    kernel: String,
    variant: String,
    dispatches: u64,
    microseconds: f64,
    /// Fraction of the time of all kernels.
    share: f64,
    /// Of the weights of a product; 0 for other kernels.
    bytes: u64,
    operations: u64,
    /// Fractions of the peaks.
    of_peak_bytes: f64,
    of_peak_operations: f64,
}

impl From<KernelTimes> for Profile {
    fn from(times: KernelTimes) -> Profile {
        let all: u64 = times.kernels.iter().map(|of| of.nanoseconds).sum();
        let of_kernel = |of: KernelTime| {
            let seconds = of.nanoseconds.max(1) as f64 / 1e9;
            OfKernel {
                dispatches: of.dispatches,
                microseconds: of.nanoseconds as f64 / 1e3,
                share: of.nanoseconds as f64 / all.max(1) as f64,
                bytes: of.bytes,
                operations: of.operations,
                of_peak_bytes: of.bytes as f64 / seconds / times.bytes_per_second,
                of_peak_operations: of.operations as f64 / seconds / times.operations_per_second,
                kernel: of.kernel,
                variant: of.variant,
            }
        };
        Profile {
            peak_bytes_per_second: times.bytes_per_second,
            peak_operations_per_second: times.operations_per_second,
            kernels: times.kernels.into_iter().map(of_kernel).collect(),
        }
    }
}

impl Profile {
    /// As a table in Markdown.
    pub fn table(&self, test: &str) -> String {
        let mut table = format!(
            "{test}: the GPU copies {:.1} GB/s and computes {:.1} Gop/s\n\
             | kernel | runs | µs | share | of GB/s | of Gop/s |\n|---|--:|--:|--:|--:|--:|",
            self.peak_bytes_per_second / 1e9,
            self.peak_operations_per_second / 1e9,
        );
        for of in &self.kernels {
            table += &format!(
                "\n| {} | {} | {:.1} | {:.1} % | {:.1} % | {:.1} % |",
                of.kernel,
                of.dispatches,
                of.microseconds,
                100.0 * of.share,
                100.0 * of.of_peak_bytes,
                100.0 * of.of_peak_operations,
            );
        }
        table
    }
}
