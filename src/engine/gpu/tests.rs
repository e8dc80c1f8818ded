//! Every variant of every kernel against its twin, on inputs of awkward sizes.

use super::adapter::Adapter;
use super::device::Device;
use super::pipelines::Pipelines;
use super::proof;
use super::variants::Kernel;
use std::sync::Arc;

/// Inputs of each variant.
const SEEDS: u64 = 12;

fn adapters() -> Vec<Adapter> {
    let all = Adapter::all();
    assert!(
        !all.is_empty(),
        "no Vulkan, Metal or DirectX 12 driver was found; on Debian a software driver comes with \
         apt-get install mesa-vulkan-drivers libvulkan1"
    );
    all
}

#[test]
fn every_variant_computes_what_its_twin_does() {
    for adapter in adapters() {
        let device = Arc::new(Device::open(&adapter).unwrap());
        let pipelines = Pipelines::new(Arc::clone(&device));
        let mut failures = Vec::new();
        let mut variants = 0;
        for kernel in Kernel::all() {
            for variant in kernel.variants(device.abilities()) {
                variants += 1;
                let result = pipelines.compile(kernel, &variant).and_then(|pipeline| {
                    (0..SEEDS).try_for_each(|seed| {
                        let proved = proof::prove_with(&device, &pipeline, seed);
                        proved.inspect_err(|_| eprintln!("{kernel:?}, seed {seed}"))
                    })
                });
                if let Err(e) = result {
                    failures.push(format!("{kernel:?}, {}: {e}", variant.name));
                }
            }
        }
        println!("{}: {variants} variants", adapter.describe());
        assert!(failures.is_empty(), "{}\n{}", adapter.describe(), failures.join("\n"));
    }
}
