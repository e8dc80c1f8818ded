//! The GPU engine: logits compared with `spec/reference.py` and with the CPU engine, and what
//! happens when things go wrong. Without a GPU, a software Vulkan driver is sufficient.
#![cfg(feature = "gpu")]

mod common;

use attamba::Adapter;
use attamba::Counters;
use attamba::Error as Failure;
use attamba::Eviction;
use attamba::internals::{self, Backend, Geometry};
use attamba::internals::{Driver, Gpu};
use attamba::memory::Estimate;
use attamba::model::Model;
use attamba::quant::{DType, quantize};
use attamba::sample::{Sampler, Sampling};
use attamba::session::{Budget, Options, Session};
use attamba::{Engine, EngineKind, EngineOptions, KvType};
use common::models::{Meta, Numbers, Sizes, open, with_gates};
use common::suite::{Error, RARE, Split, feed, suite};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Relative error allowed where weights are real numbers.
const FLOATS: f64 = 1e-3;
/// If weights come in blocks.
const BLOCKS: f64 = 3e-2;
/// Keys and values are rounded to four bits after a block of tokens, whose size is not the same on
/// both engines.
const OTHER_BLOCKS: f64 = 2e-1;
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
        adapters
            .iter()
            .map(|adapter| Driver::open(adapter, &EngineOptions::default()).unwrap())
            .collect()
    })
}

/// What a session on a driver will take.
fn estimate(model: &Model, options: &Options, driver: &Driver) -> Result<Estimate, Failure> {
    Estimate::gpu(model, options, &EngineOptions::default().with_block(driver.block()).unwrap())
}

/// The first adapter, which processes up to this many tokens at once.
fn with_block(tokens: usize) -> Driver {
    let options = EngineOptions::default().with_block(tokens).unwrap();
    Driver::open(&Adapter::find(None).unwrap(), &options).unwrap()
}

#[test]
fn weights_take_the_predicted_bytes() {
    let driver = &drivers()[0];
    // Layers with different memory are for the CPU engine only.
    for case in suite().iter().filter(|case| case.kind != "toy layers") {
        let engine = Gpu::new(Arc::clone(&case.model), driver).unwrap();
        let estimate = estimate(&case.model, &Options::default(), driver).unwrap();
        assert_eq!(estimate.weights.device, engine.device_bytes(), "{}", case.kind);
        assert!(engine.device_bytes() > 0);
    }
}

#[test]
fn sessions_take_the_predicted_bytes() {
    let llama = Sizes { architecture: "llama", ..Sizes::default() };
    let differing = Sizes { dtype: DType::Q4_0, d: 96, ffn: 160, ..Sizes::default() };
    let short_and_long = [16, 512].map(with_block);
    let drivers = || drivers().iter().chain(&short_and_long);
    for sizes in [Sizes::default(), shared_heads(), llama, differing] {
        let model = sizes.model(5);
        let tokens = Numbers::new(26).tokens(700, model.sizes().vocab);
        for driver in drivers() {
            let gpu = internals::engine(Gpu::new(Arc::clone(&model), driver).unwrap());
            let thin = options(30, KvType::I8).with_eviction(Eviction::Thin);
            // Thinned for longer, it may lie in more runs than there is room for from the start.
            for (options, length) in
                [(options(0, KvType::F32), 700), (options(77, KvType::F16), 700), (thin, 300)]
            {
                let estimate = estimate(&model, &options, driver).unwrap();
                assert_eq!(estimate.weights.device, gpu.weights().device);
                let mut session = Session::open(&gpu, options).unwrap();
                assert_eq!(session.memory(), estimate.session, "{sizes:?}, {options:?}");
                session.feed(&tokens[..length]).unwrap();
                assert_eq!(session.memory(), estimate.session, "{sizes:?}, {options:?}");
            }
            let least = Options::default().with_budget(Budget::Bytes(1));
            let refused = estimate(&model, &least, driver);
            assert!(matches!(refused, Err(Failure::Budget { budget: 1, .. })));
        }
    }
}

#[test]
fn a_block_may_have_from_16_to_512_tokens() {
    for tokens in [16, 512] {
        EngineOptions::default().with_block(tokens).unwrap();
    }
    for tokens in [0, 15, 513] {
        let refused = EngineOptions::default().with_block(tokens).unwrap_err().to_string();
        assert!(refused.ends_with(&format!("between 16 and 512, not {tokens}")), "{refused}");
    }
    let model = Sizes::default().model(5);
    let bytes = |options: EngineOptions| {
        let estimate = Estimate::gpu(&model, &Options::default(), &options);
        estimate.unwrap().session.scratch
    };
    let of = |tokens| bytes(EngineOptions::default().with_block(tokens).unwrap());
    assert!(of(16) < of(128) && of(128) < of(512));
    let nowhere = EngineOptions::default().with_adapter("no such adapter");
    assert_eq!(bytes(nowhere), of(128));
    assert_eq!(bytes(EngineOptions::default()), of(drivers()[0].block()));
}

/// Blocks of all lengths, longer than rings and windows, with other types of rings and with heads
/// that see far.
#[test]
fn blocks_of_any_length_compute_the_same() {
    let drivers = [128, 512].map(with_block);
    let awkward: &[usize] = &[1, 127, 129, 511, 512, 513, 700];
    let llama = Sizes { architecture: "llama", layers: 3, ..shared_heads() };
    let by_head = |sizes: &Sizes| {
        let mut file = sizes.file(5);
        let key = |name: &str| format!("{}.memory.{name}", sizes.architecture);
        file.set(&key("far_heads"), Meta::U32s(vec![3, 4, 5]));
        file.set(&key("near_window"), Meta::U32(8));
        Arc::new(open(file.bytes()).unwrap())
    };
    let far = |near, far| {
        let options = Options::default().with_kv(near).with_far_kv(far);
        options.with_far(3).with_near(40).with_horizon(300)
    };
    let thin = options(9, KvType::F32).with_eviction(Eviction::Thin);
    let wide = Sizes { d: 128, heads: 2, kv_heads: 2, ..Sizes::default() };
    for (model, options, lengths, bound) in [
        (shared_heads().model(5), options(9, KvType::F32), awkward, FLOATS),
        (llama.model(5), options(700, KvType::F32), awkward, FLOATS),
        (llama.model(5), thin, awkward, FLOATS),
        (by_head(&llama), far(KvType::F32, KvType::F32), awkward, FLOATS),
        (by_head(&llama), far(KvType::F16, KvType::I8), &[513, 700], BLOCKS),
        (wide.model(5), options(9, KvType::I4), &[513, 700], OTHER_BLOCKS),
    ] {
        let vocab = model.sizes().vocab;
        let tokens = Numbers::new(7).tokens(700, vocab);
        let cpu =
            Engine::cpu(Arc::clone(&model), &EngineOptions::default().with_threads(1)).unwrap();
        let of_cpu = feed(&cpu, options, &tokens, Split::Whole);
        let engines = drivers
            .each_ref()
            .map(|driver| internals::engine(Gpu::new(Arc::clone(&model), driver).unwrap()));
        for (engine, driver) in engines.iter().zip(&drivers) {
            let session = Session::open(engine, options).unwrap();
            assert_eq!(internals::block(&session), driver.block());
        }
        for &length in lengths {
            let what = format!("{length} tokens, {options:?}");
            let [short, long] =
                engines.each_ref().map(|e| feed(e, options, &tokens[..length], Split::Whole));
            assert_near(&long, &short, bound, &what);
            assert_near(&long, &of_cpu[..length * vocab], bound, &what);
        }
    }
}

#[test]
fn attention_and_embeddings_are_computed_by_the_other_engine() {
    side_by_side(&shared_heads(), |_, gpu, cpu| {
        assert!(cpu.attention_mass(&[1, 2, 3], 1..3, 0..1).is_ok());
        assert!(cpu.embedding(&[1, 2, 3], None).is_ok());
        let attention = gpu.attention_mass(&[1, 2, 3], 1..3, 0..1).unwrap_err();
        let embedding = gpu.embedding(&[1, 2, 3], None).unwrap_err();
        for (e, says) in [(attention, "does not measure attention"), (embedding, "does not embed")]
        {
            assert!(matches!(e, Failure::Unsupported(_)), "{e}");
            assert!(e.to_string().contains(says), "{e}");
        }
    });
}

#[test]
fn an_upload_reports_progress_and_can_be_cancelled() {
    let model = shared_heads().model(5);
    let driver = &drivers()[0];
    let mut told = Vec::new();
    let engine = Gpu::load(Arc::clone(&model), driver, &mut |done, all| {
        told.push((done, all));
        true
    })
    .unwrap();
    let all = engine.device_bytes();
    assert!(told.len() > 2 && told.is_sorted(), "{told:?}");
    assert!(told.iter().all(|t| t.1 == all) && told.last() == Some(&(all, all)), "{told:?}");

    let mut calls = 0;
    let cancelled = Gpu::load(Arc::clone(&model), driver, &mut |_, _| {
        calls += 1;
        calls < 2
    });
    assert!(matches!(cancelled.map(|_| ()), Err(Failure::Cancelled)));
    assert_eq!(calls, 2);
    // Nor does the CPU take over when nobody is waiting any more.
    let options = EngineOptions::default().with_adapter(adapter_name());
    let cancelled =
        Engine::start(EngineKind::Auto, Arc::clone(&model), &options, &mut |_, _| false);
    assert!(matches!(cancelled.map(|_| ()), Err(Failure::Cancelled)));
    // The driver still works.
    Gpu::new(model, driver).unwrap();
}

fn adapter_name() -> String {
    Adapter::find(None).unwrap().name().to_owned()
}

/// Compares all cases of some kinds with the reference and with the CPU engine, split into calls in
/// several ways.
fn compare(kinds: &[&str], kv: KvType, bound: f64, least_cases: u64) {
    for driver in drivers() {
        let mut cases = 0;
        let mut most = [Error::default(); 2];
        let mut failures = Vec::new();
        for case in suite().iter().filter(|case| kinds.contains(&case.kind.as_str())) {
            cases += 1;
            let gpu = internals::engine(Gpu::new(Arc::clone(&case.model), driver).unwrap());
            let cpu =
                Engine::cpu(Arc::clone(&case.model), &EngineOptions::default().with_threads(1))
                    .unwrap();
            let tokens = &case.tokens;
            for (number, run) in (0..).zip(&case.runs) {
                let options = run.options(internals::spec(&case.model), tokens.len(), kv);
                let of_cpu = feed(&cpu, options, tokens, run.splits([Split::Whole])[0]);
                // Single tokens take most of the time.
                let fine = if (cases + number) % 2 == 0 { Split::Ones } else { Split::Pieces(100) };
                for split in run.splits([Split::Whole, Split::Pieces(cases), fine]) {
                    let got = feed(&gpu, options, tokens, split);
                    let others = [("reference", &run.logits), ("CPU", &of_cpu)];
                    for ((other, want), most) in others.into_iter().zip(&mut most) {
                        let error = Error::of(&got, want, case.model.sizes().vocab);
                        most.all = most.all.max(error.all);
                        most.worst_token = most.worst_token.max(error.worst_token);
                        if !error.within(bound) {
                            let (name, ring, far) = (&case.name, run.ring, run.far);
                            failures.push(format!(
                                "{error:?}: {name}, ring {ring:?}, far {far:?}, {split:?}, {other}"
                            ));
                        }
                    }
                }
            }
        }
        let [reference, cpu] = most.map(|error| error.all);
        let driver = driver.describe();
        println!(
            "{kinds:?}, {cases} files, {driver}: {reference:.1e} from the reference, {cpu:.1e} \
             from the CPU"
        );
        assert!(cases >= least_cases, "{cases} cases of {kinds:?}");
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
    compare(&["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL"], KvType::F32, BLOCKS, 28);
}

#[test]
fn files_of_k_blocks() {
    compare(&["Q4_K", "Q5_K", "Q6_K"], KvType::F32, BLOCKS, 9);
}

#[test]
fn files_of_rare_blocks() {
    compare(&RARE.map(DType::name), KvType::F32, FLOATS, 12);
}

#[test]
fn a_custom_family() {
    compare(&["toy"], KvType::F32, FLOATS, 26);
    compare(&["toy blocks"], KvType::F32, BLOCKS, 8);
    compare(&["toy"], KvType::F16, HALVES, 26);
}

#[test]
fn rotary_factors() {
    compare(&["factors"], KvType::F32, FLOATS, 2);
}

#[test]
fn memory_by_head() {
    compare(&["by head"], KvType::F32, FLOATS, 60);
}

#[test]
fn learned_retention() {
    compare(&["retain"], KvType::F32, FLOATS, 16);
}

#[test]
fn keys_and_values_in_four_bits() {
    // A value that is rounded otherwise is off by an eighth of the largest.
    compare(&["int4"], KvType::F16, BLOCKS, 30);
}

/// Heads of a layer whose rings differ in length and in type, on both engines and from one to the
/// other, shrunk and split.
#[test]
fn heads_whose_rings_differ() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let llama = Sizes { architecture: "llama", layers: 3, ..shared_heads() };
    // Heads of 32 values, as four bits want them.
    let wide = Sizes { d: 128, ..Sizes::default() };
    for (sizes, far_heads) in
        [(llama, vec![3, 4, 5]), (Sizes::default(), vec![5, 1, 2]), (wide, vec![5, 1, 2])]
    {
        let mut file = sizes.file(5);
        let key = |name: &str| format!("{}.memory.{name}", sizes.architecture);
        file.set(&key("far_heads"), Meta::U32s(far_heads));
        file.set(&key("near_window"), Meta::U32(8));
        let model = Arc::new(open(file.bytes()).unwrap());
        let cpu =
            Engine::cpu(Arc::clone(&model), &EngineOptions::default().with_threads(1)).unwrap();
        let tokens = Numbers::new(1).tokens(1500, internals::spec(&model).vocab);
        for driver in drivers() {
            let gpu = internals::engine(Gpu::new(Arc::clone(&model), driver).unwrap());
            for (near, far, bound) in [
                (KvType::F32, KvType::F32, FLOATS),
                (KvType::F16, KvType::I8, BLOCKS),
                (KvType::I8, KvType::F16, BLOCKS),
                (KvType::I8, KvType::I8, BLOCKS),
                (KvType::F16, KvType::I4, OTHER_BLOCKS),
                (KvType::I4, KvType::I8, OTHER_BLOCKS),
                (KvType::I4, KvType::I4, OTHER_BLOCKS),
            ] {
                if sizes.d != 128 && [near, far].contains(&KvType::I4) {
                    continue;
                }
                let options = Options::default()
                    .with_kv(near)
                    .with_far_kv(far)
                    .with_far(3)
                    .with_near(40)
                    .with_horizon(1000);
                let what = format!("{}, {options:?}", sizes.architecture);
                let mut sessions = [&gpu, &cpu].map(|e| Session::open(e, options).unwrap());
                for session in &mut sessions {
                    // Several blocks, then single tokens, whose attention is split.
                    session.feed(&tokens[..1200]).unwrap();
                    tokens[1200..1230].iter().for_each(|token| session.feed(&[*token]).unwrap());
                }
                let [of_gpu, of_cpu] = &mut sessions;
                assert_eq!(of_gpu.memory().state, of_cpu.memory().state);
                let estimate = estimate(&model, &options, driver).unwrap();
                assert_eq!(of_gpu.memory(), estimate.session, "{what}");
                assert_near(of_gpu.logits().unwrap(), of_cpu.logits().unwrap(), bound, &what);
                // Saved on one, resumed on the other.
                of_gpu.save(&path, b"").unwrap();
                let (mut moved, _) = Session::resume(&cpu, &path).unwrap();
                of_cpu.save(&path, b"").unwrap();
                let (mut back, _) = Session::resume(&gpu, &path).unwrap();
                let mut all = [of_gpu, of_cpu, &mut moved, &mut back];
                // Near heads give way first, then all; the second time in a pause, when nothing may use
                // the GPU.
                for (share, paused) in [(0.9, false), (0.3, true)] {
                    let mut each = Vec::new();
                    for session in &mut all {
                        let bytes = (session.memory().state as f64 * share) as u64;
                        let control = session.control();
                        if paused {
                            control.pause();
                        }
                        session.shrink(bytes).unwrap();
                        control.resume();
                        session.feed(&tokens[1230..1400]).unwrap();
                        assert!(session.memory().state <= bytes);
                        each.push((
                            internals::geometry_of(session),
                            session.logits().unwrap().to_vec(),
                        ));
                    }
                    for (geometry, logits) in &each[1..] {
                        assert_eq!(*geometry, each[0].0);
                        assert_near(logits, &each[0].1, bound, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn keys_and_values_in_half_precision() {
    compare(&["F16", "factors"], KvType::F16, HALVES, 7);
}

/// A model on every adapter, each alongside the CPU.
fn side_by_side(sizes: &Sizes, each: impl Fn(Arc<Model>, &Engine, &Engine)) {
    let model = sizes.model(5);
    let cpu = Engine::cpu(Arc::clone(&model), &EngineOptions::default().with_threads(1)).unwrap();
    for driver in drivers() {
        let gpu = internals::engine(Gpu::new(Arc::clone(&model), driver).unwrap());
        each(Arc::clone(&model), &gpu, &cpu);
    }
}

/// A model whose heads share keys, with more tokens in its chunks than offsets.
fn shared_heads() -> Sizes {
    Sizes { heads: 8, kv_heads: 2, d: 96, projected: true, window: 9, ..Sizes::default() }
}

/// A model whose mixers have too many states for one workgroup each.
fn wide_mixers() -> Sizes {
    Sizes { inner: 480, state: 72, ssm_heads: 6, groups: 2, ..shared_heads() }
}

fn options(states: usize, kv: KvType) -> Options {
    Options::default().with_budget(Budget::States(states)).with_kv(kv)
}

fn assert_near(got: &[f32], want: &[f32], bound: f64, what: &str) {
    let error = Error::of(got, want, got.len());
    assert!(error.all <= bound, "{what}: {error:?}, {bound} is allowed");
}

#[test]
fn rings_of_integers_and_thinned_rings() {
    let odd = Sizes { d: 56, heads: 4, kv_heads: 4, ..Sizes::default() };
    let wide = Sizes { d: 128, heads: 2, kv_heads: 2, ..Sizes::default() };
    for sizes in [shared_heads(), odd, wide] {
        side_by_side(&sizes, |model, gpu, cpu| {
            let tokens = Numbers::new(1).tokens(300, model.sizes().vocab);
            for (kv, bound) in [(KvType::F32, FLOATS), (KvType::I8, BLOCKS), (KvType::I4, BLOCKS)] {
                if kv == KvType::I4 && sizes.d / sizes.heads != 64 {
                    continue;
                }
                for eviction in [Eviction::Drop, Eviction::Thin] {
                    let options = options(9, kv).with_eviction(eviction);
                    // Four bits are rounded after each block, by so much that blocks have to be the same.
                    let four_bits = kv == KvType::I4;
                    let whole = if four_bits { Split::Blocks(40) } else { Split::Whole };
                    let pieces = if four_bits { Split::Blocks(9) } else { Split::Pieces(4) };
                    for split in [whole, pieces, Split::Ones] {
                        let of_cpu = if four_bits { split } else { Split::Pieces(3) };
                        let want = feed(cpu, options, &tokens, of_cpu);
                        let got = feed(gpu, options, &tokens, split);
                        assert_near(&got, &want, bound, &format!("{options:?}, {split:?}"));
                    }
                }
            }
        });
    }
}

#[test]
fn matrices_that_belong_together_and_differ_in_type() {
    for sizes in
        [shared_heads(), Sizes { architecture: "llama", ..shared_heads() }, Sizes::default()]
    {
        let mut file = sizes.file(5);
        let changes = [
            ("attn_k.weight", DType::F16),
            ("attn_v.weight", DType::BF16),
            ("ffn_up.weight", DType::F16),
            ("ssm_v_in.weight", DType::BF16),
            ("ssm_v_out.weight", DType::F16),
        ];
        for tensor in &mut file.tensors {
            let change = changes.iter().find(|(name, _)| tensor.name.ends_with(name));
            if let Some((_, dtype)) = change {
                let values: Vec<f32> =
                    tensor.data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                tensor.data = vec![0; dtype.bytes_of(values.len()).unwrap()];
                quantize(*dtype, &values, &mut tensor.data).unwrap();
                tensor.type_id = *dtype as u32;
            }
        }
        let model = Arc::new(open(file.bytes()).unwrap());
        let cpu =
            Engine::cpu(Arc::clone(&model), &EngineOptions::default().with_threads(1)).unwrap();
        let tokens = Numbers::new(1).tokens(70, model.sizes().vocab);
        let want = feed(&cpu, options(9, KvType::F32), &tokens, Split::Whole);
        for driver in drivers() {
            let gpu = internals::engine(Gpu::new(Arc::clone(&model), driver).unwrap());
            for split in [Split::Whole, Split::Ones] {
                let got = feed(&gpu, options(9, KvType::F32), &tokens, split);
                assert_near(&got, &want, FLOATS, &format!("{}, {split:?}", sizes.architecture));
            }
        }
    }
}

#[test]
fn wide_mixers_in_many_workgroups() {
    for carry in [false, true] {
        side_by_side(&Sizes { carry, ..wide_mixers() }, |model, gpu, cpu| {
            let tokens = Numbers::new(1).tokens(70, model.sizes().vocab);
            let want = feed(cpu, options(9, KvType::F32), &tokens, Split::Whole);
            for split in [Split::Ones, Split::Pieces(3)] {
                let got = feed(gpu, options(9, KvType::F32), &tokens, split);
                assert_near(&got, &want, FLOATS, &format!("{split:?}"));
            }
        });
    }
}

#[test]
fn attention_that_is_split() {
    for sizes in [Sizes { architecture: "llama", ..shared_heads() }, shared_heads()] {
        side_by_side(&sizes, |model, gpu, cpu| {
            let tokens = Numbers::new(2).tokens(1200, model.sizes().vocab);
            let options = options(1200, KvType::F32).with_chunk(1);
            let mut sessions = [gpu, cpu].map(|e| Session::open(e, options).unwrap());
            sessions.iter_mut().for_each(|session| session.feed(&tokens).unwrap());
            for token in 0..3 {
                let [gpu, cpu] = &mut sessions;
                gpu.feed(&[token]).unwrap();
                cpu.feed(&[token]).unwrap();
                assert_near(
                    gpu.logits().unwrap(),
                    cpu.logits().unwrap(),
                    FLOATS,
                    "after 1200 tokens",
                );
            }
        });
    }
}

#[test]
fn chunk_lengths_and_rings_that_change() {
    side_by_side(&shared_heads(), |model, gpu, cpu| {
        let tokens = Numbers::new(3).tokens(60, model.sizes().vocab);
        for kv in [KvType::F32, KvType::I8] {
            let options = options(20, kv);
            let mut sessions = [gpu, cpu].map(|e| Session::open(e, options).unwrap());
            for session in &mut sessions {
                session.feed(&tokens).unwrap();
                session.set_chunk(3).unwrap();
                session.feed(&tokens).unwrap();
                session
                    .shrink(
                        Geometry::new(internals::spec(&model), 7, kv)
                            .state_bytes(internals::spec(&model)),
                    )
                    .unwrap();
                session.feed(&tokens[..30]).unwrap();
                session.set_chunk(7).unwrap();
                tokens.iter().for_each(|token| session.feed(&[*token]).unwrap());
            }
            let [gpu, cpu] = &mut sessions;
            assert_eq!(gpu.memory().state, cpu.memory().state);
            let bound = if kv == KvType::I8 { BLOCKS } else { FLOATS };
            assert_near(gpu.logits().unwrap(), cpu.logits().unwrap(), bound, "after changes");
        }
    });
}

#[test]
fn a_token_is_one_submit_and_one_pass() {
    // With the dispatches per layer.
    let every_kind = [
        (Sizes::default(), 8),
        (shared_heads(), 8),
        (Sizes { architecture: "llama", ..Sizes::default() }, 5),
        (Sizes { dtype: DType::Q4_0, ..shared_heads() }, 8),
        (wide_mixers(), 11),
    ];
    for adapter in Adapter::all() {
        // A separate device: the counters of the others include the work of other tests.
        let driver = Driver::open(&adapter, &EngineOptions::default()).unwrap();
        for (sizes, of_a_layer) in &every_kind {
            let model = sizes.model(5);
            let layers = model.sizes().layers as u64;
            let gpu = internals::engine(Gpu::new(model, &driver).unwrap());
            let mut session = Session::open(&gpu, Options::default()).unwrap();
            session.feed(&[1, 2, 3]).unwrap();
            for token in 0..5 {
                let before = gpu.counters().unwrap();
                session.feed_top(token).unwrap();
                let Counters { dispatches, passes, submits, bytes_read, .. } =
                    gpu.counters().unwrap();
                assert_eq!((passes - before.passes, submits - before.submits), (1, 1));
                assert!(bytes_read - before.bytes_read <= 1024);
                // In addition to the layers: the moves, the head and the pass that finds
                // candidates.
                assert_eq!(dispatches - before.dispatches, of_a_layer * layers + 3);
            }
        }
    }
}

#[test]
fn candidates_choose_what_all_logits_would() {
    let sizes = Sizes { vocab: 1500, ..Sizes::default() };
    side_by_side(&sizes, |_, gpu, cpu| {
        let mut sampling = Sampling::default();
        sampling.temperature = 1.5;
        sampling.top_k = 50;
        sampling.seed = Some(7);
        for sampling in [Sampling::greedy(), sampling] {
            let mut generated = Vec::new();
            for engine in [gpu, cpu] {
                let mut session = Session::open(engine, options(99, KvType::F32)).unwrap();
                let mut sampler = Sampler::new(sampling.clone()).unwrap();
                let mut tokens = Vec::new();
                session.feed(&[3, 1, 4]).unwrap();
                let each = |token| {
                    tokens.push(token);
                    true
                };
                session.generate(&mut sampler, 30, |_| false, each).unwrap();
                assert_eq!(
                    session.logits().unwrap().len(),
                    1500,
                    "logits are there when it is over"
                );
                generated.push(tokens);
            }
            let mut session = Session::open(gpu, options(99, KvType::F32)).unwrap();
            let mut sampler = Sampler::new(sampling).unwrap();
            session.feed(&[3, 1, 4]).unwrap();
            let mut tokens = Vec::new();
            for _ in 0..30 {
                tokens.push(sampler.sample(session.logits().unwrap()).unwrap());
                session.feed(&tokens[tokens.len() - 1..]).unwrap();
            }
            generated.push(tokens);
            assert!(generated.iter().all(|g| *g == generated[0]), "{generated:?}");
        }
    });
}

#[test]
fn a_session_goes_on_on_the_other_engine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    for sizes in [shared_heads(), Sizes { d: 56, heads: 4, kv_heads: 4, ..Sizes::default() }] {
        side_by_side(&sizes, |model, gpu, cpu| {
            let tokens = Numbers::new(4).tokens(90, model.sizes().vocab);
            for kv in [KvType::F16, KvType::F32, KvType::I8] {
                for (from, to) in [(gpu, cpu), (cpu, gpu)] {
                    let mut first = Session::open(from, options(6, kv)).unwrap();
                    first.feed(&tokens).unwrap();
                    first.save(&path, b"note").unwrap();
                    let (mut second, note) = Session::resume(to, &path).unwrap();
                    assert_eq!(note, b"note");
                    assert_eq!(second.logits().unwrap(), first.logits().unwrap());
                    for session in [&mut first, &mut second] {
                        session.feed(&tokens[..20]).unwrap();
                    }
                    let bound = if kv == KvType::F32 { FLOATS } else { BLOCKS };
                    assert_near(
                        second.logits().unwrap(),
                        first.logits().unwrap(),
                        bound,
                        "after a resume",
                    );
                }
            }
        });
    }
}

#[test]
fn what_is_kept_by_scores_goes_on_on_the_other_engine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let sizes = Sizes { architecture: "llama", ..shared_heads() };
    let model = Arc::new(open(with_gates(&sizes, 5).bytes()).unwrap());
    let cpu = Engine::cpu(Arc::clone(&model), &EngineOptions::default().with_threads(1)).unwrap();
    let tokens = Numbers::new(4).tokens(160, sizes.vocab);
    let options = options(30, KvType::F32).with_far(0).with_eviction(Eviction::Retain);
    let want = feed(&cpu, options, &tokens, Split::Whole);
    for driver in drivers() {
        let gpu = internals::engine(Gpu::new(Arc::clone(&model), driver).unwrap());
        for (from, to) in [(&gpu, &cpu), (&cpu, &gpu)] {
            let mut first = Session::open(from, options).unwrap();
            first.feed(&tokens[..101]).unwrap();
            first.save(&path, b"").unwrap();
            let (mut second, _) = Session::resume(to, &path).unwrap();
            tokens[101..].iter().for_each(|token| second.feed(&[*token]).unwrap());
            let end = &want[want.len() - sizes.vocab..];
            assert_near(second.logits().unwrap(), end, FLOATS, "after a resume");
        }
    }
}

#[test]
fn what_is_computed_after_a_rewind_is_the_same_to_the_bit() {
    side_by_side(&shared_heads(), |_, gpu, _| {
        let mut session = Session::open(gpu, options(5, KvType::F16)).unwrap();
        session.feed(&Numbers::new(5).tokens(50, 48)).unwrap();
        let snapshot = session.snapshot().unwrap();
        session.feed(&[1, 2, 3]).unwrap();
        let logits = session.logits().unwrap().to_vec();
        session.feed(&Numbers::new(6).tokens(200, 48)).unwrap();
        session.rewind(&snapshot).unwrap();
        session.feed(&[1, 2, 3]).unwrap();
        assert_eq!(session.logits().unwrap(), logits);
        let mut fork = session.fork().unwrap();
        fork.feed(&[4]).unwrap();
        session.feed(&[4]).unwrap();
        assert_eq!(session.logits().unwrap(), fork.logits().unwrap());
    });
}

#[test]
fn a_cancel_ends_a_long_prefill() {
    side_by_side(&shared_heads(), |model, gpu, _| {
        let mut session = Session::open(gpu, options(64, KvType::F16)).unwrap();
        let tokens = Numbers::new(8).tokens(10_000, model.sizes().vocab);
        let cancel = session.control();
        let block = internals::block(&session) as u64;
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            cancel.cancel();
            Instant::now()
        });
        let result = session.feed(&tokens);
        let took = canceller.join().unwrap().elapsed();
        assert!(matches!(result, Err(Failure::Cancelled)), "{result:?}");
        assert!(session.position() > 0 && session.position().is_multiple_of(block));
        println!("{took:?} after the cancel, at {}", session.position());
        session.reset();
        session.feed(&tokens[..5]).unwrap();
        assert_eq!(session.position(), 5);
    });
}

#[test]
fn a_lost_device_is_an_error_and_the_session_goes_on_elsewhere() {
    let model = shared_heads().model(5);
    let cpu = Engine::cpu(Arc::clone(&model), &EngineOptions::default().with_threads(1)).unwrap();
    for adapter in Adapter::all() {
        let driver = Driver::open(&adapter, &EngineOptions::default()).unwrap();
        let gpu = internals::engine(Gpu::new(Arc::clone(&model), &driver).unwrap());
        let mut session = Session::open(&gpu, options(9, KvType::F32)).unwrap();
        session.feed(&Numbers::new(9).tokens(77, 48)).unwrap();
        let snapshot = session.snapshot().unwrap();
        driver.lose();
        for _ in 0..2 {
            let result = session.feed(&[1, 2]);
            assert!(matches!(result, Err(Failure::DeviceLost(_))), "{result:?}");
            let result = session.feed_top(1).map(|_| ());
            assert!(matches!(result, Err(Failure::DeviceLost(_))), "{result:?}");
            session.reset();
        }
        assert!(matches!(session.rewind(&snapshot), Err(Failure::DeviceLost(_))));
        assert!(session.fork().is_err());
        assert!(Session::open(&gpu, Options::default()).is_err());
        assert!(Gpu::new(Arc::clone(&model), &driver).is_err());
        let mut elsewhere = Session::open(&cpu, options(9, KvType::F32)).unwrap();
        elsewhere.rewind(&snapshot).unwrap();
        elsewhere.feed(&[1, 2]).unwrap();
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_size() {
    side_by_side(&shared_heads(), |_, gpu, _| {
        let result = Session::open(gpu, options(1 << 40, KvType::F16)).map(|_| ());
        let refused = matches!(result, Err(Failure::GpuLimit { .. } | Failure::OutOfMemory { .. }));
        assert!(refused, "{result:?}");
        // The engine still works.
        let mut session = Session::open(gpu, options(4, KvType::F16)).unwrap();
        session.feed(&[1]).unwrap();
    });
}

#[test]
fn an_adapter_that_is_not_there_is_named() {
    let Err(e) = Adapter::find(Some("no such adapter")).map(|_| ()) else { panic!("found") };
    assert!(matches!(e, Failure::NoAdapter(_)), "{e}");
    assert!(e.to_string().contains("no such adapter"), "{e}");
}
