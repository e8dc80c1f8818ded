//! Sessions in which some KV heads see far and the others near.

mod common;

use attamba::Error;
use attamba::internals;
use attamba::memory::Estimate;
use attamba::session::{Budget, Options, Session};
use attamba::{Engine, EngineOptions, Eviction, KvType};
use common::models::{Meta, Numbers, Sizes, open};
use common::suite::{Split, feed};
use std::sync::Arc;

/// A model in which `far` KV heads, numbered through the layers, see far.
fn engine(sizes: &Sizes, far: &[u32], threads: usize) -> Engine {
    let mut file = sizes.file(1);
    let key = |name: &str| format!("{}.{name}", sizes.architecture);
    file.set(&key("memory.far_heads"), Meta::U32s(far.to_vec()));
    file.set(&key("memory.near_window"), Meta::U32(6));
    let model = Arc::new(open(file.bytes()).unwrap());
    Engine::cpu(model, &EngineOptions::default().with_threads(threads)).unwrap()
}

/// Models, with their far heads: scattered, all of a layer, all there are.
fn models() -> Vec<(Sizes, Vec<u32>)> {
    // Heads of 32 values, as four bits want them.
    let plain = Sizes { d: 128, ..Sizes::default() };
    let llama = Sizes { architecture: "llama", layers: 3, kv_heads: 2, ..plain.clone() };
    vec![
        (llama.clone(), vec![3, 0]),
        (llama.clone(), vec![2, 3, 1]),
        (llama, vec![0, 1, 2, 3, 4, 5]),
        (plain.clone(), vec![5, 1, 2]),
        (Sizes { carry: true, projected: true, kv_heads: 2, ..plain }, vec![2, 3]),
    ]
}

fn by_head(far: usize, near: u64, horizon: u64) -> Options {
    let (far, near, horizon) = (Some(far), Some(near), Some(horizon));
    Options::default().with_far(far).with_near(near).with_horizon(horizon)
}

/// The types that heads of a session may have: near, far.
const TYPES: [(KvType, KvType); 8] = [
    (KvType::F32, KvType::F32),
    (KvType::F16, KvType::F16),
    (KvType::F16, KvType::I8),
    (KvType::I8, KvType::F16),
    (KvType::I8, KvType::I8),
    (KvType::F16, KvType::I4),
    (KvType::I4, KvType::I8),
    (KvType::I4, KvType::I4),
];

fn kinds(far: usize) -> impl Iterator<Item = Options> {
    let evictions = [Eviction::Drop, Eviction::Thin];
    TYPES.into_iter().zip(evictions.into_iter().cycle()).map(move |((near, of_far), eviction)| {
        let (kv, far_kv) = (Some(near), Some(of_far));
        by_head(far, 9, 40).with_kv(kv).with_far_kv(far_kv).with_eviction(eviction)
    })
}

/// The types of a session: near, far.
fn types(options: &Options) -> (KvType, KvType) {
    let stored = |(near, far): &(KvType, KvType)| options.with_kv(*near).with_far_kv(*far);
    *TYPES.iter().find(|types| stored(types) == *options).unwrap()
}

fn off(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |x: f32| f64::from(x).powi(2);
    let off: f64 = got.iter().zip(want).map(|(&g, &w)| square(g - w)).sum();
    (off / want.iter().map(|&w| square(w)).sum::<f64>()).sqrt()
}

/// Between sessions that were fed in the same way. Other kernels may still round differently.
fn close(options: &Options, got: &[f32], want: &[f32]) -> bool {
    let single = types(options).0 == KvType::F32;
    off(got, want) <= if single { 1e-5 } else { 1e-3 }
}

/// However they were fed: within a block of tokens keys and values are not rounded yet.
fn alike(options: &Options, got: &[f32], want: &[f32]) -> bool {
    let bound = match types(options) {
        (KvType::F32, _) => 1e-5,
        (KvType::F16, KvType::F16) => 1e-3,
        (KvType::I4, _) | (_, KvType::I4) => 4e-1,
        _ => 4e-2,
    };
    off(got, want) <= bound
}

/// Token by token.
fn feed_ones(session: &mut Session, tokens: &[u32]) {
    tokens.iter().for_each(|token| session.feed(&[*token]).unwrap());
}

#[test]
fn any_split_computes_the_same() {
    for (sizes, far) in models() {
        let engine = engine(&sizes, &far, 2);
        let tokens = Numbers::new(2).tokens(300, sizes.vocab);
        for options in kinds(far.len()) {
            let whole = feed(&engine, options, &tokens, Split::Whole);
            for split in [Split::Ones, Split::Pieces(5)] {
                assert!(
                    alike(&options, &feed(&engine, options, &tokens, split), &whole),
                    "{options:?}"
                );
            }
        }
    }
}

#[test]
fn what_is_estimated_is_reported_and_stays() {
    for (sizes, far) in models() {
        let engine = engine(&sizes, &far, 2);
        let mut all: Vec<Options> = kinds(far.len()).collect();
        let bytes = |bytes| Options::default().with_budget(Budget::Bytes(bytes));
        let budgets = [30_000, 60_000, 100_000, 1 << 20];
        all.extend(budgets.map(bytes));
        for options in all {
            let estimate = Estimate::cpu(engine.model(), &options, 2).unwrap();
            let mut session = Session::open(&engine, options).unwrap();
            assert_eq!(session.memory(), estimate.session, "{options:?}");
            session.feed(&Numbers::new(3).tokens(400, sizes.vocab)).unwrap();
            assert_eq!(session.memory(), estimate.session, "{options:?}");
            assert!(session.ring().0 <= session.ring().1, "{options:?}");
            assert_eq!(session.reach(), estimate.reach);
            assert_eq!(session.reach(), options.reach(engine.model()).unwrap());
            assert_eq!(session.reach().bytes, session.memory().state);
            if let Some(&budget) = budgets.iter().find(|budget| options == bytes(**budget)) {
                assert!(session.memory().state <= budget);
            }
        }
    }
}

#[test]
fn a_session_is_saved_forked_and_returned_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    for (sizes, far) in models() {
        let engine = engine(&sizes, &far, 1);
        let tokens = Numbers::new(4).tokens(250, sizes.vocab);
        let (first, then) = tokens.split_at(170);
        for options in kinds(far.len()) {
            let whole = feed(&engine, options, &tokens, Split::Ones);
            let end = &whole[whole.len() - sizes.vocab..];
            let mut session = Session::open(&engine, options).unwrap();
            feed_ones(&mut session, first);
            session.save(&path, b"").unwrap();
            let snapshot = session.snapshot().unwrap();
            let mut fork = session.fork().unwrap();
            let (mut resumed, _) = Session::resume(&engine, &path).unwrap();
            assert_eq!(internals::geometry_of(&resumed), internals::geometry_of(&session));
            for other in [&mut session, &mut fork, &mut resumed] {
                feed_ones(other, then);
                assert!(close(&options, other.logits().unwrap(), end), "{options:?}");
            }
            session.rewind(&snapshot).unwrap();
            feed_ones(&mut session, then);
            assert!(close(&options, session.logits().unwrap(), end), "{options:?}");
        }
    }
}

/// In a model of one layer keys and values do not depend on what was seen, so that what is left of
/// large rings is what small ones would have kept.
#[test]
fn a_session_shrinks_near_first() {
    for (sizes, far) in models() {
        let sizes = Sizes { layers: 1, ..sizes };
        let far: Vec<u32> = far.into_iter().filter(|&n| (n as usize) < sizes.kv_heads).collect();
        if far.is_empty() || far.len() == sizes.kv_heads {
            continue;
        }
        let engine = engine(&sizes, &far, 1);
        let tokens = Numbers::new(5).tokens(250, sizes.vocab);
        let (first, then) = tokens.split_at(170);
        for options in
            kinds(far.len()).filter(|options| *options == options.with_eviction(Eviction::Drop))
        {
            let mut rings = Vec::new();
            // Nine tokens because the bytes allow them; the profile wants six.
            let bytes = Session::open(&engine, options).unwrap().memory().state;
            let filled = options.with_near(None).with_budget(Budget::Bytes(bytes));
            for near in [9, 7, 5, 2] {
                let mut small = Session::open(&engine, options.with_near(near)).unwrap();
                small.feed(first).unwrap();
                let mut large = Session::open(&engine, filled).unwrap();
                large.feed(first).unwrap();
                large.shrink(small.memory().state).unwrap();
                assert!(large.memory().state <= small.memory().state);
                let geometry = internals::geometry_of(&large);
                rings.push((geometry.ring, geometry.far.unwrap().ring));
                if geometry == internals::geometry_of(&small) {
                    for session in [&mut small, &mut large] {
                        session.feed(then).unwrap();
                    }
                    assert!(close(&options, large.logits().unwrap(), small.logits().unwrap()));
                } else {
                    large.feed(then).unwrap();
                }
            }
            // Less memory is less of both, and the far rings give in last.
            assert!(rings.is_sorted_by(|a, b| a.0 >= b.0 && a.1 >= b.1), "{rings:?}");
            assert_eq!(rings[0].1, rings[1].1, "{rings:?}");
            let mut session = Session::open(&engine, options).unwrap();
            assert!(matches!(session.shrink(10), Err(Error::Budget { budget: 10, .. })));
        }
    }
}

#[test]
fn a_shrink_keeps_the_near_window_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    for (sizes, far) in models() {
        if far.len() == sizes.layers * sizes.kv_heads {
            continue;
        }
        let engine = engine(&sizes, &far, 1);
        let tokens = Numbers::new(6).tokens(100, sizes.vocab);
        for options in kinds(far.len()) {
            let smaller = Session::open(&engine, options.with_near(6)).unwrap().memory().state;
            let mut session = Session::open(&engine, options.with_near(9)).unwrap();
            let before = internals::geometry_of(&session);
            session.feed(&tokens).unwrap();
            session.save(&path, b"").unwrap();
            let mut fork = session.fork().unwrap();
            let (mut resumed, _) = Session::resume(&engine, &path).unwrap();
            for session in [&mut session, &mut fork, &mut resumed] {
                session.shrink(smaller).unwrap();
                assert!(session.memory().state <= smaller);
                let after = internals::geometry_of(session);
                assert_eq!(after.ring, before.ring, "{options:?}");
                assert!(after.far.unwrap().ring < before.far.unwrap().ring, "{options:?}");
                // As long as others can give up states.
                let Err(Error::Budget { needed, .. }) = session.shrink(1) else {
                    panic!("{options:?}")
                };
                session.shrink(needed).unwrap();
                let least = internals::geometry_of(session);
                assert_eq!((least.ring, least.far.unwrap().ring), (1, 1), "{options:?}");
                session.feed(&tokens).unwrap();
            }
        }
    }
}

#[test]
fn several_sessions_are_fed_together() {
    for (sizes, far) in models() {
        let engine = engine(&sizes, &far, 2);
        let tokens = Numbers::new(6).tokens(120, sizes.vocab);
        // Those in half precision and int8 share a pass.
        let all: Vec<Options> = kinds(far.len()).collect();
        let alone: Vec<Vec<f32>> =
            all.iter().map(|options| feed(&engine, *options, &tokens, Split::Ones)).collect();
        let open = |options: &Options| Session::open(&engine, *options).unwrap();
        let mut sessions: Vec<Session> = all.iter().map(open).collect();
        for token in &tokens {
            let mut each: Vec<&mut Session> = sessions.iter_mut().collect();
            let same = vec![*token; each.len()];
            Session::feed_together(&mut each, &same).unwrap();
        }
        for ((session, options), alone) in sessions.iter_mut().zip(&all).zip(&alone) {
            assert!(alike(options, session.logits().unwrap(), &alone[alone.len() - sizes.vocab..]));
        }
    }
}

/// Heads of other widths than a rotation and scales of 32 values allow keep more bits.
#[test]
fn heads_too_narrow_for_four_bits_are_named() {
    let sizes = Sizes::default();
    let engine = engine(&sizes, &[1], 1);
    let four = Options::default().with_kv(KvType::I4);
    let far = by_head(1, 9, 40).with_far_kv(KvType::I4);
    for options in [four, far, far.with_budget(Budget::Bytes(1 << 20))] {
        let e = Session::open(&engine, options).map(|_| ()).unwrap_err();
        assert!(matches!(e, Error::Argument(_)), "{e}");
        let text = e.to_string();
        assert!(text.contains("int4, for heads of [32, 64, 128, 256] values"), "{text}");
        assert!(text.contains("those of layer 0 have 8"), "{text}");
        assert_eq!(options.reach(engine.model()).unwrap_err().to_string(), text);
    }
}

/// Whoever names a head that does not exist, or one twice, is told so.
#[test]
fn a_profile_is_checked_when_the_file_is_opened() {
    let sizes = Sizes { architecture: "llama", ..Sizes::default() };
    let refused = |key: &str, value: Meta| {
        let mut file = sizes.file(1);
        file.set("llama.memory.far_heads", Meta::U32s(vec![0, 5]));
        file.set(&format!("llama.{key}"), value);
        open(file.bytes()).unwrap_err().to_string()
    };
    for (key, value, part) in [
        ("memory.far_heads", Meta::U32s(vec![0, 8]), "there are 8 KV heads"),
        ("memory.far_heads", Meta::U32s(vec![7, 7]), "7 twice"),
        ("memory.far_count", Meta::U32(3), "lists 2"),
        ("memory.near_window", Meta::U32(0), "between 1 and"),
        ("memory.near_window", Meta::U32(1 << 24 | 1), "cap"),
    ] {
        let e = refused(key, value);
        assert!(e.contains(part), "{e}");
    }
    // A layer with its own window keeps nothing that lies further back.
    let mut file = sizes.file(1);
    file.set("llama.attention.sliding_window", Meta::U32(9));
    file.set("llama.memory.far_heads", Meta::U32s(vec![3]));
    assert!(open(file.bytes()).unwrap_err().to_string().contains("sees 9 tokens"));
    let mut file = Sizes::default().file(1);
    file.set("attamba.chunk.far_length", Meta::U32(0));
    assert!(open(file.bytes()).unwrap_err().to_string().contains("between 1 and"));
}
