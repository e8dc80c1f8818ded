//! Every variant of every kernel against its twin, on inputs of awkward sizes.

use super::adapter::Adapter;
use super::choice::Times;
use super::device::{Device, check_limits};
use super::format::Format;
use super::params::Finish;
use super::permutations::IN_RANGE;
use super::pipelines::Pipelines;
use super::proof;
use super::variants::{Abilities, Kernel, Variant};
use super::weights::Weights;
use super::{Driver, Gpu};
use crate::engine::{Engine, EngineOptions};
use crate::error::Error;
use crate::model::Model;
use crate::session::{Options, Session};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Number of inputs per variant.
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

/// Proves the variants of some kernels whose names contain `only`: how many there are, and what is wrong with them.
fn proved(adapter: &Adapter, kernels: &[Kernel], only: &str) -> (usize, Vec<String>) {
    let device = Arc::new(Device::open(adapter).unwrap());
    let mut pipelines = Pipelines::new(Arc::clone(&device), &EngineOptions::default());
    let mut failures = Vec::new();
    let mut variants = 0;
    for &kernel in kernels {
        for variant in kernel.variants(device.abilities()) {
            // Without matrix units nothing is rounded, so that they are those of the exact kernel.
            let known = matches!(kernel, Kernel::Matmul { rounded: true, .. })
                && !variant.name.contains("factors_rounded");
            if known || !variant.name.contains(only) {
                continue;
            }
            variants += 1;
            for checked in [true, false] {
                if !checked && !variant.in_range {
                    continue;
                }
                pipelines.checked = checked;
                let result = pipelines.compile(kernel, &variant).and_then(|pipeline| {
                    (0..SEEDS).try_for_each(|seed| {
                        let proved = proof::prove_with(&device, &pipeline, seed);
                        proved.inspect_err(|e| {
                            eprintln!("{kernel:?}, {}, seed {seed}: {e}", variant.name)
                        })
                    })
                });
                if let Err(e) = result {
                    let with = if checked { "with" } else { "without" };
                    failures.push(format!("{kernel:?}, {}, {with} checks: {e}", variant.name));
                }
            }
        }
    }
    (variants, failures)
}

#[test]
fn every_variant_computes_what_its_twin_does() {
    // For who works on some of them.
    let only = std::env::var("ATTAMBA_TEST_VARIANTS").unwrap_or_default();
    // Most of the time is spent by the driver's compiler, which uses one thread per device.
    let halves = [0, 1].map(|half| Vec::from_iter(Kernel::all().into_iter().skip(half).step_by(2)));
    for adapter in adapters() {
        let found = std::thread::scope(|scope| {
            let threads =
                halves.each_ref().map(|half| scope.spawn(|| proved(&adapter, half, &only)));
            threads.map(|thread| thread.join().unwrap())
        });
        let variants: usize = found.iter().map(|(variants, _)| variants).sum();
        let failures = found.map(|(_, failures)| failures).concat();
        println!("{}: {variants} variants", adapter.describe());
        assert!(failures.is_empty(), "{}\n{}", adapter.describe(), failures.join("\n"));
    }
}

/// A variant for matrix units with the matrices in plain arithmetic, which every driver runs.
fn emulated(variant: &Variant) -> Variant {
    let lines = variant.text.lines();
    let of_units = |line: &&str| line.starts_with("enable ") || line.contains("= coop_mat");
    let text = lines.filter(|line| !of_units(line)).flat_map(|line| [line, "\n"]).collect();
    let mut variant = Variant { text, ..variant.clone() };
    for (from, to) in [
        (
            include_str!("../../../shaders/shared/matrices.wgsl"),
            include_str!("../../../shaders/test/matrices.wgsl"),
        ),
        ("@builtin(subgroup_id) subgroup_id: u32,", ""),
        ("= subgroup_id % 4u;", "= index / LANES;\n    lane = index % LANES;"),
    ] {
        variant = changed(&variant, from, to);
    }
    variant
}

/// How they divide the work and what becomes of the sums; that the units themselves multiply as they
/// should is proved where there are any.
#[test]
fn variants_for_matrix_units_compute_what_their_twin_does_without_such_units() {
    for adapter in adapters() {
        let device = Arc::new(Device::open(&adapter).unwrap());
        let pipelines = Pipelines::new(Arc::clone(&device), &EngineOptions::default());
        let mut failures = Vec::new();
        let mut variants = 0;
        for kernel in Kernel::all() {
            let Kernel::Matmul { format: Format::F32 | Format::Q4_0, finish, .. } = kernel else {
                continue;
            };
            let mut all = kernel.variants(Abilities::ALL);
            // What reads weights is in other kernels too.
            all.retain(|v| v.name.contains("cooperative") && !v.name.contains("half_bits"));
            if finish != Finish::Store {
                all.truncate(1);
            }
            variants += all.len();
            for variant in all {
                let result = pipelines.compile(kernel, &emulated(&variant)).and_then(|made| {
                    (0..3).try_for_each(|seed| proof::prove_with(&device, &made, seed))
                });
                if let Err(e) = result {
                    failures.push(format!("{kernel:?}, {}: {e}", variant.name));
                }
            }
        }
        println!("{}: {variants} variants", adapter.describe());
        assert!(variants > 12, "{variants}");
        assert!(failures.is_empty(), "{}\n{}", adapter.describe(), failures.join("\n"));
    }
}

#[test]
fn kernels_without_bounds_checks_say_why() {
    for file in IN_RANGE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("shaders/{file}.wgsl"));
        let text = std::fs::read_to_string(path).unwrap();
        let head = text.split("\n\n").take_while(|part| part.starts_with("//"));
        assert!(head.into_iter().any(|part| part.starts_with("// In range:")), "{file}");
    }
}

/// A variant with a piece of its text replaced.
fn changed(variant: &Variant, from: &str, to: &str) -> Variant {
    let text = variant.text.replace(from, to);
    assert_ne!(text, variant.text, "{from} is not in {}", variant.name);
    Variant { text, name: format!("{}, changed", variant.name), ..variant.clone() }
}

#[test]
fn a_variant_that_is_wrong_is_replaced_by_the_next() {
    for adapter in adapters() {
        let device = Arc::new(Device::open(&adapter).unwrap());
        let pipelines = Pipelines::new(Arc::clone(&device), &EngineOptions::default());
        let kernel = Kernel::Matmul { format: Format::Q4_0, finish: Finish::Store, rounded: false };
        let good = &kernel.variants(device.abilities())[0];
        let wrong = [
            // Half of the products are off, and subnormal scales are flushed to zero.
            changed(good, "(words >> vec4(shift))", "(words >> vec4(shift / 2u))"),
            changed(
                good,
                "let d = vec4(halves(packed.d.x), halves(packed.d.y));",
                "let e = vec4(halves(packed.d.x), halves(packed.d.y));
                 let d = select(e, vec4(0.0), abs(e) < vec4(6.2e-5));",
            ),
            // What no compiler accepts.
            changed(good, "fn main(", "fn main((("),
            changed(good, "fn main(", "fn other("),
        ];
        for variant in &wrong {
            let both = [variant.clone(), good.clone()];
            let chosen = pipelines.best_of(kernel, &both).unwrap();
            assert_eq!(chosen.variant, good.name);
            let alone = pipelines.best_of(kernel, &both[..1]).map(|_| ());
            let Err(Error::Kernel { adapter: named, kernel, reason }) = alone else {
                panic!("{alone:?}");
            };
            assert_eq!((named, &*kernel), (adapter.describe(), "matmul Q4_0, Store"));
            assert!(reason.contains("changed"), "{reason}");
        }
    }
}

#[test]
fn variants_are_timed_once_and_the_fastest_is_tried_first() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/attamba-stories.gguf");
    let model = Model::read(&path).unwrap();
    for adapter in adapters() {
        let device = Arc::new(Device::open(&adapter).unwrap());
        let pipelines = Pipelines::new(Arc::clone(&device), &EngineOptions::default());
        let weights = Weights::upload(&device, &model, &mut |_, _| true).unwrap();
        let mut times = Times::default();
        pipelines.choose(&weights, &mut times, Duration::MAX).unwrap();
        let text = times.write("this");
        let name = |line: &str| line.split('\t').nth(2).map(str::to_owned);
        let names: Vec<String> = text.lines().filter_map(name).collect();
        assert!(names.len() > 1, "{text}");

        // Whichever was slower is said to have taken no time at all: it is taken.
        let submits = device.counters().submits;
        for wanted in ["matmul_small", "matmul_alone"] {
            let said: String = text
                .lines()
                .map(|line| match name(line).is_some_and(|name| name.starts_with(wanted)) {
                    true => format!("0\t{}\n", line.split_once('\t').unwrap().1),
                    false => format!("{line}\n"),
                })
                .collect();
            let mut times = Times::read(&said, "this");
            let choices = pipelines.choose(&weights, &mut times, Duration::ZERO).unwrap();
            assert_eq!(device.counters().submits, submits, "nothing is timed again");
            let kernel =
                Kernel::Matmul { format: Format::Q8_0, finish: Finish::Add, rounded: false };
            let mut variants = kernel.variants(device.abilities());
            choices.order(kernel, &mut variants);
            assert!(variants[0].name.starts_with(wanted), "{}", variants[0].name);
            assert!(choices.describe(kernel).contains(" took 0.000 ms"));
        }
    }
}

#[test]
fn a_limit_that_is_too_small_is_named() {
    let limits = wgpu::Limits::default();
    check_limits("a GPU", &limits).unwrap();
    let few = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..limits };
    let message = check_limits("a GPU", &few).unwrap_err().to_string();
    assert_eq!(message, "a GPU: a kernel needs 8 storage buffers, the limit is 4");
}

#[test]
fn weights_in_many_parts_are_the_same_weights() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/attamba-stories.gguf");
    let model = Arc::new(Model::read(&path).unwrap());
    for adapter in adapters() {
        let logits = [None, Some(100_000)].map(|binding| {
            let mut device = Device::open(&adapter).unwrap();
            device.binding = binding.unwrap_or(device.binding);
            let device = Arc::new(device);
            let pipelines =
                Arc::new(Pipelines::new(Arc::clone(&device), &EngineOptions::default()));
            let driver = Driver { device, pipelines };
            let engine = Engine::new(Gpu::new(Arc::clone(&model), &driver).unwrap());
            let mut session = Session::open(&engine, Options::default()).unwrap();
            session.feed(&[1, 2, 3, 4, 5]).unwrap();
            let after_block = session.logits().unwrap().to_vec();
            session.feed(&[6]).unwrap();
            [after_block, session.logits().unwrap().to_vec()]
        });
        assert_eq!(logits[0], logits[1]);
    }
}

#[test]
fn a_block_in_several_submits_is_the_same_block() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/attamba-stories.gguf");
    let model = Arc::new(Model::read(&path).unwrap());
    let tokens: Vec<u32> = (1..42).collect();
    for adapter in adapters() {
        let runs = [None, Some(50_000_000), Some(1)].map(|work| {
            let mut device = Device::open(&adapter).unwrap();
            device.submit_work = work.unwrap_or(device.submit_work);
            let device = Arc::new(device);
            let pipelines =
                Arc::new(Pipelines::new(Arc::clone(&device), &EngineOptions::default()));
            let driver = Driver { device: Arc::clone(&device), pipelines };
            let engine = Engine::new(Gpu::new(Arc::clone(&model), &driver).unwrap());
            let mut session = Session::open(&engine, Options::default()).unwrap();
            let before = device.counters().submits;
            session.feed(&tokens).unwrap();
            (session.logits().unwrap().to_vec(), device.counters().submits - before)
        });
        let submits = runs.each_ref().map(|run| run.1);
        assert_eq!(submits[0], 1);
        assert!(submits[1] > 1 && submits[2] > submits[1], "{submits:?}");
        assert_eq!(runs[0].0, runs[1].0);
        assert_eq!(runs[0].0, runs[2].0);
    }
}

#[test]
fn a_buffer_can_be_read_after_a_read_that_failed() {
    for adapter in adapters() {
        let device = Device::open(&adapter).unwrap();
        let staging = device.staging(16, "a test").unwrap();
        device.refuse_next("the driver has a bad day");
        let failed = device.read(&staging, 16, |_| ()).unwrap_err();
        assert!(failed.to_string().contains("bad day"), "{failed}");
        assert_eq!(device.read(&staging, 16, <[u8]>::to_vec).unwrap(), [0; 16]);
        device.check().unwrap();
    }
}

/// A driver error while a session changes its chunks or its size is reported to the caller, and the
/// session continues afterwards as if it had not happened.
#[test]
fn an_error_after_a_change_of_plans_is_reported_and_harms_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/attamba-stories.gguf");
    let model = Arc::new(Model::read(&path).unwrap());
    for adapter in adapters() {
        let device = Arc::new(Device::open(&adapter).unwrap());
        let pipelines = Arc::new(Pipelines::new(Arc::clone(&device), &EngineOptions::default()));
        let driver = Driver { device: Arc::clone(&device), pipelines };
        let engine = Engine::new(Gpu::new(model.clone(), &driver).unwrap());
        let [expected, got] = [false, true].map(|refused| {
            let mut session = Session::open(&engine, Options::default()).unwrap();
            session.feed(&[1, 2, 3, 4, 5]).unwrap();
            session.set_chunk(4).unwrap();
            if refused {
                device.refuse_next("the driver has a bad day");
                let failed = session.feed(&[6, 7]).unwrap_err();
                assert!(failed.to_string().contains("bad day"), "{failed}");
            }
            session.feed(&[6, 7]).unwrap();
            let smaller = session.memory().state / 2;
            if refused {
                device.refuse_next("the driver has a bad day");
                let failed = session.shrink(smaller).unwrap_err();
                assert!(failed.to_string().contains("bad day"), "{failed}");
            }
            session.shrink(smaller).unwrap();
            session.feed(&[8]).unwrap();
            session.logits().unwrap().to_vec()
        });
        assert_eq!(got, expected);
    }
}
