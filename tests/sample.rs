//! The sampler compared with a second implementation (tests/sample/judge.py), on random logits:
//! distribution by distribution, stage by stage and for whole chains.

mod common;

use attamba::sample::{Sampler, Sampling, Stage};
use common::python::run_python;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;

/// A case of the reference implementation, and its counterpart in the library.
struct Case {
    sampling: Sampling,
    recent: Vec<u32>,
    logits: Vec<f32>,
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (((self.0 >> 32) * u64::from(n)) >> 32) as u32
    }

    /// Roughly normal, with the given deviation.
    fn normal(&mut self, deviation: f32) -> f32 {
        let sum: f32 = (0..12).map(|_| self.below(1 << 20) as f32 / (1 << 20) as f32).sum();
        (sum - 6.0) * deviation
    }

    fn among<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }
}

/// The reference implementation's name for a stage, with its arguments.
fn stage(stage: Stage, s: &Sampling) -> Value {
    let arguments = match stage {
        Stage::Penalties => json!({
            "repeat": s.repeat_penalty, "frequency": s.frequency_penalty,
            "presence": s.presence_penalty, "last": s.repeat_last,
        }),
        Stage::Dry => json!({
            "multiplier": s.dry_multiplier, "base": s.dry_base, "allowed": s.dry_allowed_length,
            "last": s.dry_penalty_last_n, "breakers": s.dry_breakers,
        }),
        Stage::TopK => json!({ "k": s.top_k }),
        Stage::TypicalP => json!({ "p": s.typical_p }),
        Stage::TopP => json!({ "p": s.top_p }),
        Stage::MinP => json!({ "p": s.min_p }),
        Stage::Xtc => json!({ "threshold": s.xtc_threshold }),
        Stage::Temperature => json!({ "t": s.temperature }),
        other => panic!("the judge does not know {other}"),
    };
    json!([stage.to_string(), arguments])
}

/// Random parameters for every stage; each case draws all of them, so only the chain decides which
/// count.
fn sampling(random: &mut Random) -> Sampling {
    let breakers = (0..random.below(4))
        .map(|_| (0..=random.below(3)).map(|_| random.below(12)).collect::<Vec<u32>>());
    let breakers = breakers.collect();
    let mut s = Sampling::default();
    s.repeat_penalty = random.among(&[1.0, 1.1, 1.5, 0.8]);
    s.frequency_penalty = random.among(&[0.0, 0.3, -0.2]);
    s.presence_penalty = random.among(&[0.0, 0.5]);
    s.repeat_last = random.among(&[1, 10, 64]);
    s.dry_multiplier = random.among(&[0.5, 0.8, 2.0]);
    s.dry_base = random.among(&[1.0, 1.25, 1.75]);
    s.dry_allowed_length = random.among(&[0, 1, 2, 4]);
    s.dry_penalty_last_n = random.among(&[5, 30, 1024]);
    s.dry_breakers = breakers;
    s.top_k = random.among(&[1, 5, 40, 1000]);
    s.typical_p = random.among(&[0.2, 0.5, 0.9, 0.99]);
    s.top_p = random.among(&[0.05, 0.5, 0.9, 0.99]);
    s.min_p = random.among(&[0.01, 0.1, 0.5, 1.0]);
    s.xtc_probability = 1.0;
    s.xtc_threshold = random.among(&[0.01, 0.05, 0.2, 0.6]);
    s.temperature = random.among(&[0.0, 0.3, 0.8, 2.0]);
    s
}

fn compare(cases: &[Case]) {
    let described: Vec<Value> = cases
        .iter()
        .map(|case| {
            let chain: Vec<Value> =
                case.sampling.stages.iter().map(|s| stage(*s, &case.sampling)).collect();
            json!({ "logits": case.logits, "recent": case.recent, "chain": chain })
        })
        .collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(serde_json::to_string(&described).unwrap().as_bytes()).unwrap();
    let script = include_str!("sample/judge.py");
    let printed = run_python(script, &[file.path().to_str().unwrap()]);
    let verdicts: Vec<&str> = printed.lines().collect();
    assert_eq!(verdicts.len(), cases.len());

    for (case, verdict) in cases.iter().zip(verdicts) {
        let want: BTreeMap<u32, f64> = serde_json::from_str(verdict).unwrap();
        let mut sampler = Sampler::new(case.sampling.clone()).unwrap();
        case.recent.iter().for_each(|&token| sampler.accept(token));
        let got = sampler.distribution(&case.logits).unwrap();
        assert!(got.is_sorted_by(|a, b| a.1 >= b.1));
        let got: BTreeMap<u32, f64> = got.into_iter().collect();
        assert!(got.keys().eq(want.keys()), "{:?}: {got:?} for {want:?}", case.sampling);
        for (token, p) in &want {
            // The logits are single precision after each stage.
            let error = (got[token] - p).abs() / p;
            assert!(error < 1e-4, "{:?}: token {token}: {} for {p}", case.sampling, got[token]);
        }
    }
}

fn case(random: &mut Random, stages: &[Stage]) -> Case {
    let vocab = random.among(&[12, 300, 2000]);
    let deviation = random.among(&[0.5, 2.0, 4.0]);
    let logits = (0..vocab).map(|_| random.normal(deviation)).collect();
    // Few distinct tokens, so that there are repetitions.
    let kinds = random.among(&[2, 4, 12]);
    let recent = (0..random.below(80)).map(|_| random.below(kinds)).collect();
    let mut sampling = sampling(random);
    sampling.stages = stages.to_vec();
    Case { sampling, recent, logits }
}

#[test]
fn each_stage_matches_the_reference_distribution() {
    let mut random = Random(1);
    let mut cases = Vec::new();
    for stage in Sampling::default().stages {
        cases.extend((0..60).map(|_| case(&mut random, &[stage])));
    }
    compare(&cases);
}

#[test]
fn whole_chains_match_the_reference_distribution() {
    let mut random = Random(2);
    let all = Sampling::default().stages;
    let mut cases: Vec<Case> = (0..150).map(|_| case(&mut random, &all)).collect();
    for _ in 0..250 {
        // Some of the stages, in any order.
        let mut stages = all.clone();
        for i in (1..stages.len()).rev() {
            stages.swap(i, random.below(i as u32 + 1) as usize);
        }
        stages.truncate(1 + random.below(stages.len() as u32) as usize);
        cases.push(case(&mut random, &stages));
    }
    compare(&cases);
}
