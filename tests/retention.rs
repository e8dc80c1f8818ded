//! Sessions whose heads keep what their gates score highest.

mod common;

use attamba::memory::Estimate;
use attamba::session::{Budget, Options, Session};
use attamba::{Engine, EngineOptions, Eviction, KvType};
use common::models::{Meta, Numbers, Sizes, open, with_gates};
use common::suite::{Split, feed};
use std::sync::Arc;

fn sizes() -> Sizes {
    Sizes { architecture: "llama", layers: 3, kv_heads: 2, d: 128, ..Sizes::default() }
}

fn engine(threads: usize) -> Engine {
    let model = Arc::new(open(with_gates(&sizes(), 1).bytes()).unwrap());
    Engine::cpu(model, &EngineOptions::default().with_threads(threads)).unwrap()
}

/// One memory for all heads, and by head.
fn kinds() -> Vec<Options> {
    let retain = Options::default().with_eviction(Eviction::Retain).with_kv(KvType::F32);
    let by_head = retain.with_far(2).with_near(18).with_horizon(90);
    let small = retain.with_far(0).with_budget(Budget::States(25));
    vec![small, by_head, by_head.with_near(40), by_head.with_near(1)]
}

fn assert_close(got: &[f32], want: &[f32], what: &Options) {
    assert_eq!(got.len(), want.len());
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-4, "{what:?}: {worst}");
}

#[test]
fn a_session_is_saved_forked_and_returned_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let engine = engine(1);
    let tokens = Numbers::new(4).tokens(250, sizes().vocab);
    // Within a segment between two evictions, and right after one.
    for first in [170, 101] {
        let (first, then) = tokens.split_at(first);
        for options in kinds() {
            let whole = feed(&engine, options, &tokens, Split::Whole);
            let end = &whole[whole.len() - sizes().vocab..];
            let mut session = Session::open(&engine, options).unwrap();
            session.feed(first).unwrap();
            session.save(&path, b"").unwrap();
            let snapshot = session.snapshot().unwrap();
            let mut fork = session.fork().unwrap();
            let (mut resumed, _) = Session::resume(&engine, &path).unwrap();
            for other in [&mut session, &mut fork, &mut resumed] {
                then.iter().for_each(|token| other.feed(&[*token]).unwrap());
                assert_close(other.logits().unwrap(), end, &options);
            }
            session.rewind(&snapshot).unwrap();
            session.feed(then).unwrap();
            assert_close(session.logits().unwrap(), end, &options);
        }
    }
}

#[test]
fn several_sessions_are_fed_together() {
    let engine = engine(2);
    let tokens = Numbers::new(6).tokens(120, sizes().vocab);
    let alone: Vec<Vec<f32>> =
        kinds().iter().map(|options| feed(&engine, *options, &tokens, Split::Pieces(3))).collect();
    let open = |options: &Options| Session::open(&engine, *options).unwrap();
    let mut sessions: Vec<Session> = kinds().iter().map(open).collect();
    for token in &tokens {
        let mut each: Vec<&mut Session> = sessions.iter_mut().collect();
        let same = vec![*token; each.len()];
        Session::feed_together(&mut each, &same).unwrap();
    }
    for ((session, options), alone) in sessions.iter_mut().zip(kinds()).zip(&alone) {
        assert_close(session.logits().unwrap(), &alone[alone.len() - sizes().vocab..], &options);
    }
}

#[test]
fn a_session_shrinks_and_goes_on_in_what_it_has() {
    let engine = engine(1);
    let tokens = Numbers::new(7).tokens(200, sizes().vocab);
    for options in kinds() {
        let mut session = Session::open(&engine, options).unwrap();
        session.feed(&tokens).unwrap();
        let before = session.memory().state;
        if session.shrink(before * 2 / 3).is_err() {
            continue;
        }
        let after = session.memory().state;
        assert!(after <= before * 2 / 3, "{options:?}: {before} to {after}");
        session.feed(&tokens).unwrap();
        assert!(session.logits().unwrap().iter().all(|logit| logit.is_finite()));
        assert_eq!(session.memory().state, after);
    }
}

#[test]
fn what_is_estimated_is_reported_and_stays() {
    let engine = engine(2);
    for options in kinds() {
        let estimate = Estimate::cpu(engine.model(), &options, 2).unwrap();
        let mut session = Session::open(&engine, options).unwrap();
        assert_eq!(session.memory(), estimate.session, "{options:?}");
        for token in Numbers::new(3).tokens(400, sizes().vocab) {
            session.feed(&[token]).unwrap();
            assert_eq!(session.memory().state, estimate.session.state, "{options:?}");
            // An eviction takes some for a moment.
            let scratch = session.memory().scratch;
            let most = estimate.session.scratch + estimate.session.scratch / 20;
            assert!(scratch <= most, "{options:?}: {scratch} bytes, {most} at most");
        }
        assert_eq!(session.reach(), estimate.reach);
        assert_eq!(session.reach(), options.reach(engine.model()).unwrap());
    }
}

/// What is kept depends on the gates: of two that are opposites, and of none.
#[test]
fn what_is_kept_depends_on_the_gates() {
    let tokens = Numbers::new(8).tokens(150, sizes().vocab);
    let options = Options::default()
        .with_far(0)
        .with_budget(Budget::States(25))
        .with_kv(KvType::F32)
        .with_eviction(Eviction::Retain);
    let last = |file: common::models::File, options: Options| {
        let model = Arc::new(open(file.bytes()).unwrap());
        let engine = Engine::cpu(model, &EngineOptions::default().with_threads(1)).unwrap();
        let logits = feed(&engine, options, &tokens, Split::Whole);
        logits[logits.len() - sizes().vocab..].to_vec()
    };
    let gates = |factor: f32| {
        let mut file = with_gates(&sizes(), 1);
        let count = sizes().layers * sizes().kv_heads * sizes().d;
        let numbers = (0..count).map(|i| factor * ((i * 37 % 101) as f32 - 50.0)).collect();
        file.set("llama.memory.retention_gates", Meta::F32s(numbers));
        file
    };
    let each = [
        last(gates(1.0), options),
        last(gates(-1.0), options),
        last(gates(1.0), options.with_eviction(Eviction::Drop)),
    ];
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let apart = each[a].iter().zip(&each[b]).any(|(a, b)| (a - b).abs() > 1e-3);
        assert!(apart, "{a} and {b} keep the same");
    }
    // Their size does not matter.
    assert_close(&last(gates(4.0), options), &each[0], &options);
}

#[test]
fn what_has_no_gates_or_no_single_tokens_is_refused() {
    let refused = |sizes: &Sizes, options: Options| {
        let model = Arc::new(open(sizes.file(1).bytes()).unwrap());
        let engine = Engine::cpu(model, &EngineOptions::default().with_threads(1)).unwrap();
        Session::open(&engine, options).map(|_| ()).unwrap_err().to_string()
    };
    let retain = Options::default().with_eviction(Eviction::Retain);
    let e = refused(&sizes(), retain);
    assert!(e.contains("no retention gates"), "{e}");
    let engine = engine(1);
    let e = Session::open(&engine, retain.with_chunk(4)).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("single tokens") && e.contains("4"), "{e}");
    let mut session = Session::open(&engine, retain).unwrap();
    assert!(session.set_chunk(2).is_err());
}

#[test]
fn gates_are_checked_when_the_file_is_opened() {
    for (gates, part) in [
        (vec![1.0; 5], "holds 5 numbers; 6 KV heads want 128 each"),
        (vec![f32::NAN; 6 * 128], "holds NaN"),
        (vec![f32::INFINITY; 6 * 128], "holds inf"),
    ] {
        let mut file = with_gates(&sizes(), 1);
        file.set("llama.memory.retention_gates", Meta::F32s(gates));
        let e = open(file.bytes()).unwrap_err().to_string();
        assert!(e.contains(part), "{e}");
    }
}
