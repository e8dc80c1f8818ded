//! A session on a model of a few thousand weights, so small that Miri can follow it through all
//! unsafe code of the CPU engine (`scripts/soundness.sh miri`): buffers shared by threads, rings,
//! windows, mixers, and states that are exported, imported and shrunk.

mod common;

use attamba::session::{Budget, Options, Session};
use attamba::{Eviction, KvType};
use common::models::{Numbers, Sizes};

fn attamba() -> Sizes {
    Sizes {
        vocab: 5,
        layers: 1,
        d: 8,
        heads: 2,
        kv_heads: 1,
        projected: true,
        ffn: 9,
        chunk: 2,
        window: 3,
        inner: 4,
        state: 3,
        ssm_heads: 2,
        conv: 3,
        ..Sizes::default()
    }
}

fn last(session: &mut Session) -> Vec<f32> {
    session.logits().unwrap().to_vec()
}

fn assert_close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance, "{a} and {b}");
    }
}

/// Prefill in one block, and decode token by token, past the end of the ring; then the state makes
/// its way through a snapshot, and the ring is shrunk. Within a block rows are not rounded yet, hence
/// the tolerances.
fn check(sizes: &Sizes, (kv, tolerance): (KvType, f32), eviction: Eviction) {
    let engine = sizes.engine(1, 2);
    let options =
        Options::default().with_budget(Budget::States(4)).with_kv(kv).with_eviction(eviction);
    let tokens = Numbers::new(2).tokens(7, sizes.vocab);
    let mut session = Session::open(&engine, options).unwrap();
    session.feed(&tokens).unwrap();
    let whole = last(&mut session);
    let mut by_token = Session::open(&engine, options).unwrap();
    tokens.iter().for_each(|&token| by_token.feed(&[token]).unwrap());
    assert_close(&whole, &last(&mut by_token), tolerance);

    let snapshot = session.snapshot().unwrap();
    session.feed(&tokens[..2]).unwrap();
    let next = last(&mut session);
    session.rewind(&snapshot).unwrap();
    assert_eq!(last(&mut session), whole);
    session.feed(&tokens[..2]).unwrap();
    assert_eq!(last(&mut session), next);
    session.shrink(session.memory().state - 1).unwrap();
    session.feed(&tokens).unwrap();
    assert!(last(&mut session).iter().all(|logit| logit.is_finite()));
}

#[test]
fn attamba_in_floats() {
    check(&attamba(), (KvType::F32, 1e-4), Eviction::Drop);
}

#[test]
fn attamba_in_bytes() {
    check(&attamba(), (KvType::I8, 1e-2), Eviction::Thin);
}

#[test]
fn a_transformer_in_halves() {
    check(&Sizes { architecture: "llama", ..attamba() }, (KvType::F16, 1e-2), Eviction::Drop);
}

#[test]
fn a_transformer_in_nibbles() {
    let sizes = Sizes { architecture: "llama", d: 32, heads: 1, ..attamba() };
    check(&sizes, (KvType::I4, 0.3), Eviction::Drop);
}
