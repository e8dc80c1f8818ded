//! Logits of the CPU engine compared with `spec/reference.py`, which computes in double precision,
//! one token at a time.

mod common;

use attamba::internals::{self, Cpu};
use attamba::quant::DType;
use attamba::session::{Budget, Options};
use attamba::{Activations, Engine, EngineOptions, KvType};
use common::models::Sizes;
use common::suite::{Error, RARE, Split, feed, suite};
use std::sync::Arc;

/// Relative error allowed where weights and activations are real numbers.
const FLOATS: f64 = 1e-4;
/// If weights come in blocks, activations are rounded to integers too: to at least eight bits.
const BLOCKS: f64 = 2e-2;
/// The same where they are rounded to eight bits, 64 times as coarsely as to fourteen.
const BYTES: f64 = 64.0 * 2e-3;
/// Keys and values in half precision are off by up to 2^-11 of themselves: a value passes that on
/// as it is, a score of the sizes here (up to 10) by its own size. Ten such roundings.
const HALVES: f64 = 10.0 / 2048.0;

/// Compares all cases of some kinds on every instruction set. Thread counts and ways of splitting
/// rotate.
fn compare(kinds: &[&str], kv: KvType, bound: f64, least_cases: usize) {
    compare_with(Activations::Int14, kinds, kv, bound, least_cases);
}

fn compare_with(
    activations: Activations,
    kinds: &[&str],
    kv: KvType,
    bound: f64,
    least_cases: usize,
) {
    let mut cases = 0;
    let mut most = Error::default();
    let mut failures = Vec::new();
    for case in suite().iter().filter(|case| kinds.contains(&case.kind.as_str())) {
        cases += 1;
        let vocab = case.model.sizes().vocab;
        let tokens = &case.tokens;
        for (turn, set) in Cpu::instruction_sets().into_iter().enumerate() {
            let turn = cases + turn;
            let threads = 1 + turn % 3;
            let engine = internals::engine(
                Cpu::with_instruction_set(Arc::clone(&case.model), Some(threads), activations, set)
                    .unwrap(),
            );
            for run in &case.runs {
                let options = run.options(internals::spec(&case.model), tokens.len(), kv);
                // Single tokens wake the threads some hundred times each.
                let fine = if threads == 1 { Split::Ones } else { Split::Pieces(100) };
                let splits = [Split::Whole, fine, Split::Pieces(turn as u64)];
                let mut check = |length: usize, split: Split| {
                    let got = feed(&engine, options, &tokens[..length], split);
                    let error = Error::of(&got, &run.logits[..length * vocab], vocab);
                    most.all = most.all.max(error.all);
                    most.worst_token = most.worst_token.max(error.worst_token);
                    if !error.within(bound) {
                        let engine = engine.describe();
                        let name = &case.name;
                        failures.push(format!(
                            "{error:?}: {name}, ring {:?}, far {:?}, {length} tokens, {split:?}, \
                             {engine}",
                            run.ring, run.far
                        ));
                    }
                };
                run.splits(splits).into_iter().for_each(|split| check(tokens.len(), split));
                check(1, Split::Whole);
                run.splits([Split::Whole]).into_iter().for_each(|split| check(2, split));
            }
        }
    }
    println!("{kinds:?}, {cases} files: {most:?}");
    assert!(cases >= least_cases, "{cases} cases of {kinds:?}");
    let some = failures.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} beyond {bound}, such as\n{some}", failures.len());
}

#[test]
fn files_of_real_numbers() {
    compare(&["F32", "F16", "BF16"], KvType::F32, FLOATS, 42);
}

#[test]
fn texts_longer_than_a_block() {
    compare(&["long"], KvType::F32, FLOATS, 2);
}

#[test]
fn files_of_blocks() {
    for kind in ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"] {
        compare(&[kind], KvType::F32, BLOCKS, 5);
    }
    compare(&["IQ4_NL"], KvType::F32, BLOCKS, 3);
}

#[test]
fn files_of_k_blocks() {
    for kind in ["Q4_K", "Q5_K", "Q6_K"] {
        compare(&[kind], KvType::F32, BLOCKS, 3);
    }
}

/// Eight bits are an option for files whose weights come in blocks, and change nothing in others.
#[test]
fn activations_in_eight_bits() {
    for kind in ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"] {
        compare_with(Activations::Int8, &[kind], KvType::F32, BYTES, 3);
    }
    compare_with(Activations::Int8, &["F16"], KvType::F32, FLOATS, 3);
}

/// Their weights are read into floats, and nothing is rounded.
#[test]
fn files_of_rare_blocks() {
    for kind in RARE.map(DType::name) {
        compare(&[kind], KvType::F32, FLOATS, 3);
    }
}

/// What only some families have: biases, norms of queries and keys and after the halves of a layer,
/// other pairs, layers without rotation, scaled frequencies, GELU, layers of unequal sizes and with
/// sliding windows.
#[test]
fn a_custom_family() {
    compare(&["toy"], KvType::F32, FLOATS, 26);
    compare(&["toy blocks"], KvType::F32, BLOCKS, 8);
    compare(&["toy layers"], KvType::F32, FLOATS, 12);
}

/// Models in which some KV heads see far: from one of them to all.
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

#[test]
fn rotary_factors() {
    compare(&["factors"], KvType::F32, FLOATS, 2);
    // They matter: without them the logits differ.
    let case = suite().iter().find(|case| case.name == "factors-llama").unwrap();
    let plain = Sizes { architecture: "llama", ..Sizes::default() }.engine(12, 1);
    let options =
        Options::default().with_budget(Budget::States(case.tokens.len())).with_kv(KvType::F32);
    let got = feed(&plain, options, &case.tokens, Split::Whole);
    let error = Error::of(&got, &case.runs[0].logits, case.model.sizes().vocab);
    assert!(error.all > 100.0 * FLOATS, "{error:?}");
}

#[test]
fn keys_and_values_in_half_precision() {
    compare(&["F16", "factors"], KvType::F16, HALVES, 7);
}

/// What the heads of every kind of model look at, in texts of one block of tokens and of several.
#[test]
fn attention_to_a_stretch_of_the_text() {
    let (mut cases, mut beyond_a_block) = (0, 0);
    for (case, mass) in suite().iter().filter_map(|case| Some((case, case.mass.as_ref()?))) {
        cases += 1;
        let threads = 1 + cases % 2;
        let options = EngineOptions::default().with_threads(threads);
        let cpu = Engine::cpu(Arc::clone(&case.model), &options).unwrap();
        let (queries, keys) = (mass.queries.clone(), mass.keys.clone());
        beyond_a_block += usize::from(queries.end > 256 && keys.start < 256);
        let got = cpu.attention_mass(&case.tokens, queries, keys).unwrap();
        let blocks = internals::matrices(&case.model).any(|m| m.dtype.block_len() > 1);
        let bound = if blocks { BLOCKS } else { FLOATS };
        let worst = got.iter().zip(&mass.heads).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
        assert_eq!(got.len(), mass.heads.len());
        assert!(f64::from(worst) <= bound, "{}: {got:?} instead of {:?}", case.name, mass.heads);
    }
    assert!(
        cases >= 100 && beyond_a_block >= 2,
        "{cases} cases, {beyond_a_block} of several blocks"
    );
}

#[test]
fn attention_to_what_is_not_there_is_an_error() {
    let cpu = Sizes::default().engine(1, 1);
    for (queries, keys, sentence) in [
        (2..5, 0..2, "2..5 is not within a text of 4 tokens"),
        (2..2, 0..2, "2..2 is not within a text of 4 tokens"),
        (2..4, 3..5, "3..5 is not within a text of 4 tokens"),
        (2..4, 0..0, "0..0 is not within a text of 4 tokens"),
    ] {
        let error = cpu.attention_mass(&[1, 2, 3, 4], queries, keys).unwrap_err();
        assert!(error.to_string().contains(sentence), "{error}");
    }
    let error = cpu.attention_mass(&[1, 999, 3, 4], 2..4, 0..2).unwrap_err();
    assert!(error.to_string().contains("999"), "{error}");
}
