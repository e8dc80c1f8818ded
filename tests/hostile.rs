//! Damaged and absurd model files, and absurd arguments: each gives a readable error or the defined
//! behavior; never a panic, and never more memory than the file warrants.

mod common;

use attamba::Eviction;
use attamba::gguf::Gguf;
use attamba::internals::Cpu;
use attamba::internals::{self, Geometry};
use attamba::model::Model;
use attamba::quant::{DType, type_name};
use attamba::sample::{Sampler, Sampling};
use attamba::session::{Budget, Options, Session};
use attamba::{Activations, Engine, EngineOptions, KvType};
use attamba::{Error, Result};
use common::models::{File, Meta, Numbers, Sizes, Tensor, open};
use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error as _;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// An allocator that refuses any single request beyond this, so that absurd sizes are refused alike
/// on every machine. A request that can't fail gracefully aborts the test program.
struct Scarce;

const MOST_BYTES: usize = 256 << 20;

// SAFETY: everything is passed on to the system's allocator, or refused with a null pointer.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > MOST_BYTES {
            return std::ptr::null_mut();
        }
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > MOST_BYTES {
            return std::ptr::null_mut();
        }
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > MOST_BYTES {
            return std::ptr::null_mut();
        }
        // SAFETY: passed on.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Scarce = Scarce;

/// Errors are for people: the contents of a file may be quoted, but not in full.
const LONGEST_TEXT: usize = 600;

fn small() -> Sizes {
    Sizes { vocab: 8, d: 8, heads: 2, kv_heads: 2, ffn: 6, inner: 4, state: 2, ..Sizes::default() }
}

/// As small as blocks of 32 allow, with everything that a file may contain.
fn blocks() -> Sizes {
    Sizes {
        layers: 1,
        projected: true,
        dtype: DType::Q4_0,
        heads: 2,
        kv_heads: 1,
        ..Sizes::default()
    }
}

fn every_kind() -> [Sizes; 3] {
    let small = Sizes { ssm_heads: 2, ..small() };
    let llama = Sizes { architecture: "llama", tied: true, ..small.clone() };
    [small, llama, blocks()]
}

fn options(budget: Budget) -> Options {
    Options::default().with_budget(budget).with_kv(KvType::F16)
}

/// Opens a model and feeds it a few tokens, one and many at a time, twice.
fn run(bytes: Vec<u8>) -> Result<()> {
    let model = Arc::new(open(bytes)?);
    let vocab = model.sizes().vocab;
    let engine = Engine::cpu(model, &EngineOptions::default().with_threads(1))?;
    let mut session = Session::open(&engine, options(Budget::Bytes(8 << 20)))?;
    for _ in 0..2 {
        session.feed(&[0, vocab as u32 - 1, 0])?;
        session.feed(&[0; 7])?;
        session.feed(&[vocab as u32 / 2])?;
        assert_eq!(session.logits()?.len(), vocab);
        session.reset();
    }
    Ok(())
}

/// The outcome for damaged bytes; a panic is reported with the damage.
fn survive(bytes: Vec<u8>, damage: impl FnOnce() -> String) -> Result<()> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(bytes)));
    let Ok(result) = outcome else { panic!("a panic: {}", damage()) };
    if let Err(e) = &result {
        let text = e.to_string();
        assert!(
            (10..=LONGEST_TEXT).contains(&text.len()),
            "an error of {} bytes: {}: {}…",
            text.len(),
            damage(),
            text.chars().take(200).collect::<String>()
        );
    }
    result
}

/// Asserts that a file is rejected and that the reason contains all the words.
#[track_caller]
fn refused(file: &File, words: &[&str]) {
    let text = match survive(file.bytes(), || format!("expected: {words:?}")) {
        Ok(()) => panic!("not refused: {words:?}"),
        Err(e) => e.to_string(),
    };
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn sound_files_run() {
    for sizes in every_kind() {
        survive(sizes.file(1).bytes(), || format!("{sizes:?}")).unwrap();
    }
}

#[test]
fn files_cut_short_are_refused() {
    for sizes in every_kind() {
        let file = sizes.file(1);
        let whole = file.bytes();
        let tables = file.tables().len();
        // After the last tensor there may be padding, which can be missing.
        let end = whole.len() - 32;
        let cuts = (0..tables).chain((tables..end).step_by(7)).chain([end]);
        for cut in cuts {
            let result = survive(whole[..cut].to_vec(), || format!("cut to {cut} bytes"));
            assert!(result.is_err(), "{sizes:?}, cut to {cut} of {} bytes", whole.len());
        }
    }
}

#[test]
fn flipped_bits_are_errors_or_another_model() {
    let mut numbers = Numbers::new(1);
    for sizes in every_kind() {
        let file = sizes.file(1);
        let whole = file.bytes();
        let tables = file.tables().len();
        let mut opened = 0;
        let mut damaged = |places: &[(usize, u8)]| {
            let mut bytes = whole.clone();
            places.iter().for_each(|&(at, bits)| bytes[at] ^= bits);
            let result = survive(bytes, || format!("{sizes:?}, flipped (byte, bits) {places:?}"));
            opened += u32::from(result.is_ok());
        };
        for at in 0..tables {
            damaged(&[(at, 1 << numbers.below(8))]);
            damaged(&[(at, 1 + numbers.below(255) as u8)]);
        }
        for _ in 0..2000 {
            let count = 2 + numbers.below(4);
            let place = |_| (numbers.below(tables), 1 << numbers.below(8));
            let places: Vec<_> = (0..count).map(place).collect();
            damaged(&places);
        }
        for _ in 0..300 {
            let at = tables + numbers.below(whole.len() - tables);
            damaged(&[(at, 1 << numbers.below(8))]);
        }
        // Data and unimportant names are damaged too: some of these files are still valid models.
        assert!(opened > 100, "{opened} opened");
    }
}

#[test]
fn any_metadata_of_any_type_is_survived() {
    for sizes in every_kind() {
        let file = sizes.file(1);
        for (key, _) in &file.metadata {
            let mut values = vec![
                Meta::I32(-1),
                Meta::I32(3),
                Meta::U64(u64::MAX),
                Meta::Bool(true),
                Meta::Str(String::new()),
                Meta::Str("many".into()),
                Meta::Str("long ".repeat(20_000)),
                Meta::U32s(vec![]),
                Meta::U32s(vec![1]),
                Meta::U32s(vec![u32::MAX; 100_000]),
            ];
            let sizes = [0, 1, 2, 3, 7, 8, 500, 512, 1 << 16, 1 << 20, 1 << 24, (1 << 24) + 1];
            values.extend(sizes.into_iter().chain([1 << 31, u32::MAX]).map(Meta::U32));
            let reals = [0.0, -0.0, -1.0, 0.5, 1e-45, 1e38, f32::INFINITY, f32::NAN];
            values.extend(reals.map(Meta::F32));
            for value in values {
                let mut damaged = file.clone();
                damaged.set(key, value.clone());
                let shown: String = format!("{value:?}").chars().take(60).collect();
                let _ = survive(damaged.bytes(), || format!("{key} = {shown}"));
            }
            let mut damaged = file.clone();
            damaged.remove(key);
            let _ = survive(damaged.bytes(), || format!("without {key}"));
        }
    }
}

#[test]
fn absurd_sizes_are_refused_with_the_number() {
    let attamba = Sizes { ssm_heads: 2, ..small() }.file(1);
    let cases: &[(&str, Meta, &[&str])] = &[
        ("block_count", Meta::U32(0), &["attamba.block_count", "0"]),
        ("block_count", Meta::U32(3), &["chunk.offsets", "3"]),
        ("block_count", Meta::U32(1_000_000), &["1000000", "2048"]),
        ("block_count", Meta::U32(u32::MAX), &["4294967295", "16777216"]),
        ("block_count", Meta::I32(-2), &["attamba.block_count", "-2", "unsigned"]),
        ("block_count", Meta::Str("two".into()), &["attamba.block_count", "a string of 3 bytes"]),
        ("embedding_length", Meta::U32(0), &["attamba.embedding_length", "0"]),
        ("embedding_length", Meta::U32(10), &["2 key heads", "width 4", "embedding of 10"]),
        ("feed_forward_length", Meta::U32(0), &["attamba.feed_forward_length", "0"]),
        ("feed_forward_length", Meta::U32(7), &["ffn_gate", "[6, 8]", "[7, 8]"]),
        ("context_length", Meta::U32(0), &["attamba.context_length", "0"]),
        ("vocab_size", Meta::U32(9), &["token_embd.weight", "[8, 8]", "[9, 8]"]),
        ("attention.head_count", Meta::U32(0), &["attamba.attention.head_count", "0"]),
        ("attention.head_count", Meta::U32(3), &["3 query heads", "2 key heads"]),
        ("attention.head_count_kv", Meta::U32(0), &["0 key heads"]),
        ("attention.head_count_kv", Meta::U32(3), &["2 query heads", "3 key heads"]),
        ("attention.head_count_kv", Meta::U32(1), &["1 key heads", "4", "8"]),
        ("attention.key_length", Meta::U32(0), &["width 0"]),
        ("attention.key_length", Meta::U32(7), &["width 7"]),
        ("attention.key_length", Meta::U32(514), &["514", "512"]),
        ("attention.value_length", Meta::U32(2), &["4", "2"]),
        ("rope.dimension_count", Meta::U32(6), &["rope.dimension_count", "6", "4"]),
        ("rope.freq_base", Meta::F32(0.0), &["attamba.rope.freq_base", "0"]),
        ("rope.freq_base", Meta::F32(f32::NAN), &["attamba.rope.freq_base", "NaN"]),
        ("attention.layer_norm_rms_epsilon", Meta::F32(-1.0), &["rms_epsilon", "-1"]),
        ("attention.projected_kv", Meta::Bool(true), &["blk.0.attn_k.weight", "missing"]),
        ("attention.projected_kv", Meta::U32(1), &["attention.projected_kv", "boolean"]),
        ("chunk.length", Meta::U32(0), &["attamba.chunk.length", "0"]),
        ("chunk.length", Meta::U32(2), &["chunk.offsets", "below the chunk length 2"]),
        ("chunk.window", Meta::U32(1 << 24), &["16777217 tokens", "8388608"]),
        ("chunk.window", Meta::U32((1 << 24) + 1), &["attamba.chunk.window", "16777217"]),
        ("chunk.offsets", Meta::U32s(vec![0]), &["chunk.offsets", "2 numbers"]),
        ("chunk.offsets", Meta::U32s(vec![0, 1, 2]), &["chunk.offsets", "2 numbers"]),
        ("chunk.offsets", Meta::U32s(vec![0, 4]), &["chunk.offsets", "below the chunk length 4"]),
        ("chunk.offsets", Meta::U32s(vec![0; 100_000]), &["chunk.offsets"]),
        ("chunk.offsets", Meta::U32(1), &["chunk.offsets", "an array"]),
        ("ssm.inner_size", Meta::U32(0), &["attamba.ssm.inner_size", "0"]),
        ("ssm.inner_size", Meta::U32(5), &["width 5", "2 heads"]),
        ("ssm.inner_size", Meta::U32(1 << 24), &["ssm_k", "16777220"]),
        ("ssm.state_size", Meta::U32(0), &["attamba.ssm.state_size", "0"]),
        ("ssm.state_size", Meta::U32(1 << 24), &["ssm_k", "33554436"]),
        ("ssm.group_count", Meta::U32(0), &["0 groups"]),
        ("ssm.group_count", Meta::U32(3), &["3 groups"]),
        ("ssm.time_step_rank", Meta::U32(0), &["attamba.ssm.time_step_rank", "0"]),
        ("ssm.conv_kernel", Meta::U32(0), &["attamba.ssm.conv_kernel", "0"]),
        ("ssm.conv_kernel", Meta::U32(5), &["conv1d", "[8, 4]", "[8, 5]"]),
        ("attention.head_count", Meta::U32s(vec![2]), &["attention.head_count", "1", "2 numbers"]),
        ("attention.head_count", Meta::U32s(vec![2, 0]), &["attamba.attention.head_count", "0"]),
        ("attention.head_count_kv", Meta::U32s(vec![2, 1]), &["1 key heads", "4", "8"]),
        ("attention.head_count_kv", Meta::U32s(vec![2, 0]), &["0 key heads"]),
        ("feed_forward_length", Meta::U32s(vec![6, 7]), &["blk.1.ffn_gate", "[6, 8]", "[7, 8]"]),
        ("rope.scaling.type", Meta::Str("longrope".into()), &["rope.scaling.type", "longrope"]),
        ("rope.scaling.factor", Meta::F32(f32::INFINITY), &["rope.scaling.factor", "inf"]),
        ("rope.scaling.factor", Meta::F32(-2.0), &["rope.scaling.factor", "-2"]),
        ("rope.scaling.yarn_ext_factor", Meta::F32(0.5), &["yarn_ext_factor", "0.5"]),
        ("rope.scaling.yarn_log_multiplier", Meta::F32(0.1), &["yarn_log_multiplier", "0.1"]),
        ("rope.scale_linear", Meta::F32(0.0), &["rope.scale_linear", "0"]),
        ("expert_count", Meta::U32(8), &["expert_count", "8"]),
        ("attention.sliding_window", Meta::U32(64), &["attention.sliding_window", "64"]),
    ];
    for (key, value, words) in cases {
        let mut file = attamba.clone();
        file.set(&format!("attamba.{key}"), value.clone());
        refused(&file, words);
    }
    let general: &[(&str, Meta, &[&str])] = &[
        ("general.architecture", Meta::Str("gpt2".into()), &["gpt2", "supported: attamba, "]),
        ("general.architecture", Meta::U32(2), &["general.architecture", "string"]),
        ("general.alignment", Meta::U32(0), &["general.alignment", "0"]),
        ("general.alignment", Meta::U32(3), &["general.alignment", "3"]),
        ("general.alignment", Meta::U32(1 << 20), &["general.alignment", "1048576", "65536"]),
        ("general.alignment", Meta::U32(64), &["offset", "alignment 64"]),
        ("general.alignment", Meta::Str("32".into()), &["general.alignment", "string"]),
    ];
    for (key, value, words) in general {
        let mut file = attamba.clone();
        file.set(key, value.clone());
        refused(&file, words);
    }
    for key in ["block_count", "chunk.length", "chunk.window", "ssm.inner_size", "context_length"] {
        let mut file = attamba.clone();
        file.remove(&format!("attamba.{key}"));
        refused(&file, &[key, "missing"]);
    }
}

#[test]
fn a_part_of_a_split_file_says_so() {
    let mut file = small().file(1);
    file.set("split.count", Meta::U32(3));
    file.set("split.no", Meta::U32(1));
    refused(&file, &["part 2 of 3", "NAME-00001-of-00003.gguf"]);
    file.set("split.count", Meta::U32(1));
    survive(file.bytes(), || "one part".into()).unwrap();
}

#[test]
fn a_number_that_is_repeated_is_that_number() {
    let mut file = Sizes { architecture: "llama", ..small() }.file(1);
    for key in ["embedding_length", "attention.key_length", "rope.dimension_count"] {
        let size = if key == "embedding_length" { 8 } else { 4 };
        file.set(&format!("llama.{key}"), Meta::U32s(vec![size; 3]));
    }
    survive(file.bytes(), || "repeated".into()).unwrap();
    file.set("llama.embedding_length", Meta::U32s(vec![8, 8, 9]));
    refused(&file, &["llama.embedding_length", "8 and 9"]);
    file.set("llama.embedding_length", Meta::U32s(vec![]));
    refused(&file, &["llama.embedding_length", "array of 0"]);
}

#[test]
fn a_model_without_a_vocabulary_is_refused() {
    for sizes in every_kind() {
        let empty = Sizes { vocab: 0, ..sizes };
        refused(&empty.file(1), &["vocab_size", "0"]);
        let mut unsaid = empty.file(1);
        unsaid.remove(&format!("{}.vocab_size", empty.architecture));
        refused(&unsaid, &["token_embd.weight"]);
    }
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    // What a file may omit; its head is then tied to the embedding.
    let optional = |name: &str| name.ends_with("bias") || name == "output.weight";
    for sizes in every_kind() {
        let file = sizes.file(1);
        for index in 0..file.tensors.len() {
            let original = &file.tensors[index];
            let name = original.name.as_str();
            let changed = |change: &dyn Fn(&mut Tensor)| {
                let mut file = file.clone();
                change(&mut file.tensors[index]);
                file
            };
            let shapes = |shape: &[u64]| {
                let mut longer = shape.to_vec();
                longer.insert(0, 1);
                let mut more = shape.to_vec();
                more[0] += 1;
                let mut fewer = shape.to_vec();
                fewer[0] -= 1;
                let mut turned = shape.to_vec();
                turned.reverse();
                let huge = vec![u64::MAX; shape.len()];
                vec![longer, more, fewer, turned, huge, vec![], vec![0], vec![1 << 40, 1 << 40]]
            };
            for shape in shapes(&original.shape) {
                if shape != original.shape {
                    refused(&changed(&|t| t.shape = shape.clone()), &[name]);
                }
            }
            refused(&changed(&|t| t.shape = vec![1; 5]), &[name, "5 dimensions"]);

            let mut without = file.clone();
            without.tensors.remove(index);
            if optional(name) {
                survive(without.bytes(), || format!("without {name}")).unwrap();
            } else {
                refused(&without, &[name, "missing"]);
            }
            refused(&changed(&|t| t.name.push('x')), &[name]);
            let mut twice = file.clone();
            twice.tensors.push(original.clone());
            refused(&twice, &[name, "twice"]);

            for type_id in (0..48).chain([u32::MAX]).filter(|&id| id != original.type_id) {
                let retyped = changed(&|t| t.type_id = type_id);
                let result = survive(retyped.bytes(), || format!("{name} of type {type_id}"));
                if DType::from_id(type_id).is_none() {
                    let text = result.unwrap_err().to_string();
                    assert!(text.contains(name) && text.contains(&type_name(type_id)), "{text}");
                    assert!(text.contains("requantize it to Q4_K"), "{text}");
                }
            }
        }
    }
}

#[test]
fn unused_tensors_are_rejected_by_name() {
    let attamba = Sizes { ssm_heads: 2, ..small() };
    let llama = Sizes { architecture: "llama", ..attamba.clone() };
    for (sizes, names) in [
        (&attamba, &["blk.0.attn_k.weight", "blk.2.attn_norm.weight", "output.bias"]),
        (&llama, &["blk.0.ffn_gate.bias", "blk.0.ffn_gate_exps.weight", "blk.0.ssm_k_in.weight"]),
    ] {
        for name in names {
            let mut file = sizes.file(1);
            file.tensors.push(Tensor::of_floats(name, &[8], &[0.5; 8]));
            refused(&file, &[name]);
        }
    }
}

#[test]
fn weights_that_are_not_numbers_are_survived() {
    let specials = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -f32::MAX, 1e-45];
    for sizes in every_kind() {
        let file = sizes.file(1);
        for index in 0..file.tensors.len() {
            for special in specials {
                let mut damaged = file.clone();
                let tensor = &mut damaged.tensors[index];
                let one = tensor.type_id == DType::F32 as u32;
                match one {
                    true => tensor.data.chunks_mut(4).for_each(|x| {
                        x.copy_from_slice(&special.to_le_bytes());
                    }),
                    // The scale of every block.
                    false => tensor.data.chunks_mut(18).for_each(|block| {
                        block[..2].copy_from_slice(&half::f16::from_f32(special).to_le_bytes());
                    }),
                }
                let name = tensor.name.clone();
                let _ = survive(damaged.bytes(), || format!("{name} full of {special}"));
            }
        }
        // Logits of NaN are an error that says so.
        let mut damaged = file.clone();
        let tensor = damaged.tensor("output_norm.weight");
        tensor.data.chunks_mut(4).for_each(|x| x.copy_from_slice(&f32::NAN.to_le_bytes()));
        let engine = Engine::cpu(
            Arc::new(open(damaged.bytes()).unwrap()),
            &EngineOptions::default().with_threads(1),
        )
        .unwrap();
        let mut session = Session::open(&engine, options(Budget::States(3))).unwrap();
        session.feed(&[1]).unwrap();
        for sampling in [Sampling::greedy(), Sampling::default()] {
            let mut sampler = Sampler::new(sampling).unwrap();
            let result = session.generate(&mut sampler, 4, |_| false, |_| true);
            let all = |nan, vocab| nan == vocab && vocab == sizes.vocab;
            assert!(
                matches!(result, Err(Error::Logits { nan, vocab, .. }) if all(nan, vocab)),
                "{result:?}"
            );
        }
    }
}

#[test]
fn decays_that_grow_are_refused() {
    for bad in [0.5, f32::NAN, f32::NEG_INFINITY] {
        let mut file = Sizes { ssm_heads: 2, ..small() }.file(1);
        file.tensor("blk.1.ssm_v_a").data[..4].copy_from_slice(&bad.to_le_bytes());
        refused(&file, &["blk.1.ssm_v_a", &bad.to_string()]);
    }
}

#[test]
fn rotary_factors_must_be_positive() {
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let mut file = Sizes { architecture: "llama", ..small() }.file(1);
        file.tensors.push(Tensor::of_floats("rope_freqs.weight", &[2], &[1.0, bad]));
        refused(&file, &["rope_freqs.weight", &bad.to_string()]);
        file.tensor("rope_freqs.weight").shape = vec![1];
        refused(&file, &["rope_freqs.weight", "[1]", "[2]"]);
    }
}

fn no_logits(session: &mut Session) -> bool {
    matches!(session.logits(), Err(Error::NoLogits { .. }))
}

#[test]
fn token_ids_out_of_range_are_not_processed() {
    let sizes = small();
    let mut session = session(&sizes, Budget::States(4));
    for (tokens, bad) in [(&[0, 8][..], 8), (&[u32::MAX], u32::MAX), (&[0, 1, 9, 8], 9)] {
        match session.feed(tokens) {
            Err(Error::TokenOutOfRange { token, vocab: 8 }) => assert_eq!(token, bad),
            other => panic!("{other:?}"),
        }
        let mut called = false;
        assert!(session.feed_each(tokens, |_, _| called = true).is_err());
        assert!(!called && session.position() == 0 && no_logits(&mut session));
    }
    let text = session.feed(&[77]).unwrap_err().to_string();
    assert!(text.contains("77") && text.contains('8'), "{text}");
    session.feed(&[7, 0]).unwrap();
    assert_eq!(session.position(), 2);
}

#[test]
fn no_tokens_change_nothing() {
    let mut session = session(&small(), Budget::States(4));
    session.feed(&[]).unwrap();
    assert!(session.position() == 0 && no_logits(&mut session));
    session.feed(&[1, 2]).unwrap();
    let logits = session.logits().unwrap().to_vec();
    session.feed(&[]).unwrap();
    session.feed_each(&[], |_, _| panic!("no token, no logits")).unwrap();
    assert_eq!((session.position(), session.logits().unwrap()), (2, &logits[..]));
}

#[test]
fn a_prompt_longer_than_the_budget_is_prefilled() {
    for sizes in [small(), Sizes { architecture: "llama", ..small() }] {
        let tokens = Numbers::new(5).tokens(1000, sizes.vocab);
        for budget in [Budget::Tokens(0), Budget::States(0), Budget::Tokens(9), Budget::States(1)] {
            let mut session = session(&sizes, budget);
            let memory = session.memory();
            session.feed(&tokens).unwrap();
            assert_eq!(session.ring().0, session.ring().1);
            assert!(session.logits().unwrap().iter().all(|x| x.is_finite()));
            assert_eq!(session.memory(), memory);
        }
    }
}

fn session(sizes: &Sizes, budget: Budget) -> Session {
    Session::open(&sizes.engine(1, 1), options(budget)).unwrap()
}

#[test]
fn budgets_of_bytes_are_kept_or_refused_with_the_least_that_would_do() {
    for sizes in every_kind() {
        let engine = sizes.engine(1, 1);
        let spec = internals::spec(engine.model());
        for kv in [KvType::I8, KvType::F16, KvType::F32] {
            let least = Geometry::new(spec, 1, kv).state_bytes(spec);
            let open = |bytes| {
                let options = Options::default().with_budget(Budget::Bytes(bytes)).with_kv(kv);
                Session::open(&engine, options)
            };
            for bytes in [0, 1, least - 1] {
                let Err(e) = open(bytes) else { panic!("{bytes} bytes of {least} were enough") };
                assert!(
                    matches!(e, Error::Budget { budget, needed, .. }
                        if budget == bytes && needed == least),
                    "{e}"
                );
                let text = e.to_string();
                assert!(text.contains(&least.to_string()), "{text}");
            }
            let mut session = open(least).unwrap();
            assert_eq!((session.ring().1, session.memory().state), (1, least));
            session.feed(&[1; 100]).unwrap();
            assert_eq!(session.ring().0, 1);
        }
    }
}

#[test]
fn more_memory_than_there_is_is_an_error() {
    for sizes in every_kind() {
        let engine = sizes.engine(1, 1);
        let spec = internals::spec(engine.model());
        for budget in [
            Budget::Bytes(u64::MAX),
            Budget::Bytes(1 << 50),
            Budget::States(usize::MAX),
            Budget::States(usize::MAX / 2),
            Budget::States(1 << 40),
            Budget::Tokens(u64::MAX),
        ] {
            let kinds = [KvType::I8, KvType::F16, KvType::F32].map(|kv| (kv, Eviction::Drop));
            for (kv, eviction) in kinds.into_iter().chain([(KvType::F16, Eviction::Thin)]) {
                let options =
                    Options::default().with_budget(budget).with_kv(kv).with_eviction(eviction);
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    let promised = internals::geometry(&options, spec)?.state_bytes(spec);
                    assert!(promised >= 1 << 40, "{promised} bytes for {budget:?}");
                    Session::open(&engine, options).map(drop)
                }));
                match outcome {
                    Ok(Err(Error::OutOfMemory { bytes, .. })) => assert!(bytes > 1 << 30),
                    Ok(other) => panic!("{options:?}: {other:?}"),
                    Err(_) => panic!("a panic: {options:?}, {sizes:?}"),
                }
            }
        }
    }
}

#[test]
fn unavailable_engines_are_errors() {
    let model = small().model(1);
    for threads in [0, 257, usize::MAX] {
        let Err(e) =
            Engine::cpu(Arc::clone(&model), &EngineOptions::default().with_threads(threads))
        else {
            panic!("{threads}")
        };
        assert!(e.to_string().contains(&threads.to_string()), "{e}");
    }
    let Err(e) = Cpu::with_instruction_set(model, Some(1), Activations::Int14, "MMX") else {
        panic!("MMX")
    };
    assert!(e.to_string().contains("MMX") && e.to_string().contains("portable"), "{e}");
}

#[test]
fn a_model_inside_another_file_is_the_same_model() {
    let sizes = blocks();
    let bytes = sizes.file(1).bytes();
    let logits = |gguf: Gguf| {
        let model = Arc::new(Model::from_gguf(gguf).unwrap());
        let engine = Engine::cpu(model, &EngineOptions::default().with_threads(1)).unwrap();
        let mut session = Session::open(&engine, options(Budget::States(5))).unwrap();
        session.feed(&Numbers::new(2).tokens(50, sizes.vocab)).unwrap();
        session.logits().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let want = logits(Gguf::from_bytes(bytes.clone()).unwrap());
    for before in [0, 1, 13, 4096, 70_001] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'G'; before]).unwrap();
        file.write_all(&bytes).unwrap();
        let (start, length) = (before as u64, bytes.len() as u64);
        assert_eq!(logits(Gguf::read_file(&file, start, None).unwrap()), want);
        // SAFETY: nobody else has the file, which grows, but keeps what is mapped.
        assert_eq!(logits(unsafe { Gguf::map_file(&file, start, None) }.unwrap()), want);
        file.write_all(b"and more").unwrap();
        assert_eq!(logits(Gguf::read_file(&file, start, Some(length)).unwrap()), want);
        // SAFETY: as above.
        assert_eq!(logits(unsafe { Gguf::map_file(&file, start, Some(length)) }.unwrap()), want);

        let end = start + length + 8;
        for (start, length) in [
            (start, Some(end + 1)),
            (end + 1, None),
            (end, None),
            (start, Some(0)),
            (u64::MAX, Some(u64::MAX)),
            (start, Some(u64::MAX)),
            (start, Some(length / 2)),
            (start + 1, None),
        ] {
            // SAFETY: as above.
            let mapped = unsafe { Gguf::map_file(&file, start, length) };
            for result in [mapped, Gguf::read_file(&file, start, length)] {
                let Err(Error::Gguf { detail, path: None }) = result else {
                    panic!("{start}, {length:?}: {result:?}")
                };
                assert!((10..LONGEST_TEXT).contains(&detail.to_string().len()), "{detail}");
            }
        }
    }
}

#[test]
fn paths_that_are_no_model_are_errors_with_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.gguf");
    std::fs::write(&empty, "").unwrap();
    let text = folder.path().join("text.gguf");
    std::fs::write(&text, "a letter to a friend").unwrap();
    let absent = folder.path().join("absent.gguf");
    for path in [&empty, &text, &absent, &folder.path().to_path_buf()] {
        let last = path.file_name().unwrap().to_str().unwrap();
        // SAFETY: nobody else has the files.
        for e in [Model::read(path).unwrap_err(), unsafe { Model::map(path) }.unwrap_err()] {
            assert_eq!(e.to_string().matches(last).count(), 1, "{e}");
            assert!(e.source().is_none(), "what the system said is told twice: {e}");
            match e {
                Error::Gguf { path: found, detail } if path != folder.path() => {
                    assert_eq!((found.as_ref(), &*detail.what), (Some(path), "the file"));
                }
                Error::Gguf { .. } => {}
                Error::Io { path: found, .. } => assert_eq!(&found, path),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn errors_name_what_is_at_fault() {
    let mut sampling = Sampling::default();
    sampling.top_p = 2.0;
    let Err(Error::Argument(detail)) = Sampler::new(sampling) else { panic!("2 is accepted") };
    assert_eq!((&*detail.what, &*detail.problem), ("top_p", "is 2; it must be between 0 and 1"));

    let mut file = Sizes::default().file(1);
    file.tensors.retain(|tensor| tensor.name != "blk.0.attn_q.weight");
    let Err(Error::Model(detail)) = open(file.bytes()) else { panic!("it is missing") };
    let said = (&*detail.what, &*detail.problem);
    assert_eq!(said, ("tensor blk.0.attn_q.weight", "is missing"));
}
