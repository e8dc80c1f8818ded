//! The GPU engine: logits against `spec/reference.py` and against the CPU engine, and what happens
//! when things go wrong. Without a GPU, a software Vulkan driver does.
#![cfg(feature = "gpu")]

mod common;

use attamba::engine::gpu::{Adapter, Driver, Gpu};
use attamba::engine::{Engine, KvType};
use attamba::session::{Budget, Options};
use common::suite::{Error, Split, feed, suite};
use std::sync::{Arc, OnceLock};

/// Relative error allowed where weights are real numbers.
const FLOATS: f64 = 1e-3;
/// Where weights come in blocks.
const BLOCKS: f64 = 3e-2;
/// Keys and values in half precision: see `logits.rs`.
const HALVES: f64 = 10.0 / 2048.0;

/// Every adapter of the machine.
fn drivers() -> &'static [Driver] {
    static DRIVERS: OnceLock<Vec<Driver>> = OnceLock::new();
    DRIVERS.get_or_init(|| {
        let adapters = Adapter::all();
        assert!(
            !adapters.is_empty(),
            "no Vulkan, Metal or DirectX 12 driver was found; on Debian a software driver comes \
             with apt-get install mesa-vulkan-drivers libvulkan1"
        );
        adapters.iter().map(|adapter| Driver::open(adapter).unwrap()).collect()
    })
}

/// Compares all cases of some kinds, cut into calls in several ways.
fn compare(kinds: &[&str], kv: KvType, bound: f64, least_cases: usize) {
    for driver in drivers() {
        let mut cases = 0;
        let mut most = Error::default();
        let mut failures = Vec::new();
        for case in suite().iter().filter(|case| kinds.contains(&case.kind.as_str())) {
            cases += 1;
            let vocab = case.model.hyper.vocab;
            let engine: Arc<dyn Engine> =
                Arc::new(Gpu::new(Arc::clone(&case.model), driver).unwrap());
            let tokens = &case.tokens;
            for run in &case.runs {
                let states = run.ring.unwrap_or(tokens.len());
                let options = Options { budget: Budget::States(states), kv, ..Options::default() };
                for split in [Split::Whole, Split::Pieces(cases), Split::Ones] {
                    let got = feed(&engine, options, tokens, split);
                    let error = Error::of(&got, &run.logits, vocab);
                    most.all = most.all.max(error.all);
                    most.worst_token = most.worst_token.max(error.worst_token);
                    if !error.within(bound) {
                        let name = &case.name;
                        failures.push(format!("{error:?}: {name}, ring {:?}, {split:?}", run.ring));
                    }
                }
            }
        }
        println!("{kinds:?}, {cases} files, {}: {most:?}", driver.describe());
        assert!(cases >= least_cases as u64, "{cases} cases of {kinds:?}");
        let some = failures.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
        assert!(failures.is_empty(), "{} beyond {bound}, such as\n{some}", failures.len());
    }
}

#[test]
fn files_of_real_numbers() {
    compare(&["F32", "F16", "BF16"], KvType::F32, FLOATS, 42);
}

#[test]
fn files_of_blocks() {
    compare(&["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"], KvType::F32, BLOCKS, 25);
}

#[test]
fn files_of_k_blocks() {
    compare(&["Q4_K", "Q5_K", "Q6_K"], KvType::F32, BLOCKS, 9);
}

#[test]
fn rotary_factors() {
    compare(&["factors"], KvType::F32, FLOATS, 2);
}

#[test]
fn keys_and_values_in_half_precision() {
    compare(&["F16", "factors"], KvType::F16, HALVES, 7);
}
