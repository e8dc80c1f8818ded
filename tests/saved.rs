//! Snapshots, forks and saved sessions: they continue as if nothing had happened, or are refused.

mod common;

use attamba::internals::{self, Geometry, Want};
use attamba::memory::Estimate;
use attamba::session::{Budget, Options, Session};
use attamba::{Engine, EngineOptions, Error, Eviction, KvType};
use common::cancel::feed_and_cancel;
use common::models::{Numbers, Sizes};
use common::suite::suite;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

fn models() -> Vec<Sizes> {
    let plain = Sizes::default();
    vec![
        plain.clone(),
        Sizes { carry: true, projected: true, kv_heads: 2, ..plain.clone() },
        Sizes { chunk: 31, window: 40, conv: 5, groups: 2, ..plain.clone() },
        Sizes { chunk: 1, window: 0, conv: 1, ..plain.clone() },
        Sizes { architecture: "llama", kv_heads: 1, ..plain },
    ]
}

fn options(ring: usize, kv: KvType) -> Options {
    Options::default().with_budget(Budget::States(ring)).with_kv(kv)
}

/// Before the first token, within the first window, while the ring fills, and long after.
const MOMENTS: [usize; 5] = [0, 1, 5, 70, 300];

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// The logits of `tokens`, one at a time.
fn go_on(session: &mut Session, tokens: &[u32]) -> Vec<f32> {
    let mut logits = session.logits().map(<[f32]>::to_vec).unwrap_or_default();
    for &token in tokens {
        session.feed(&[token]).unwrap();
        logits.extend_from_slice(session.logits().unwrap());
    }
    logits
}

#[test]
fn a_session_goes_on_from_snapshot_fork_and_file_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat.session");
    for sizes in models() {
        let engine = sizes.engine(1, 2);
        let mut numbers = Numbers::new(11);
        let after = numbers.tokens(40, sizes.vocab);
        let elsewhere = numbers.tokens(90, sizes.vocab);
        for (ring, kv) in [(6, KvType::F32), (9, KvType::F16), (0, KvType::F32), (7, KvType::I8)] {
            for moment in MOMENTS {
                let mut session = Session::open(&engine, options(ring, kv)).unwrap();
                session.feed(&numbers.tokens(moment, sizes.vocab)).unwrap();
                let memory = session.memory();

                let snapshot = session.snapshot().unwrap();
                let mut fork = session.fork().unwrap();
                session.save(&file, b"a note").unwrap();
                let want = go_on(&mut session, &after);
                session.feed(&elsewhere).unwrap();

                let said = format!("{sizes:?}, ring {ring} {kv:?}, at {moment}");
                session.rewind(&snapshot).unwrap();
                assert_eq!(session.position(), moment as u64);
                assert!(same(&go_on(&mut session, &after), &want), "rewound: {said}");
                assert_eq!(session.memory().state, memory.state);

                fork.feed(&elsewhere).unwrap();
                fork.rewind(&snapshot).unwrap();
                assert!(same(&go_on(&mut fork, &after), &want), "fork: {said}");

                // Another engine on the same file, as a later run of the program has.
                let (mut resumed, note) = Session::resume(&sizes.engine(1, 2), &file).unwrap();
                assert_eq!(note, b"a note");
                assert_eq!(resumed.position(), moment as u64);
                assert_eq!(resumed.memory().state, memory.state);
                assert!(same(&go_on(&mut resumed, &after), &want), "resumed: {said}");
            }
        }
    }
}

/// Models in which some layers have windows of their own and others mixers.
#[test]
fn windows_of_layers_and_mixers_go_on_together() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session");
    let mixed: Vec<_> = suite()
        .iter()
        .filter(|case| {
            let spec = internals::spec(&case.model);
            spec.ssm().is_some() && spec.layers.iter().any(|layer| layer.window.is_some())
        })
        .collect();
    assert!(mixed.len() >= 4, "{}", mixed.len());
    for (case, kv) in mixed.iter().flat_map(|case| [(case, KvType::F32), (case, KvType::I8)]) {
        let [one, two] = [1, 2].map(|threads| {
            let options = EngineOptions::default().with_threads(threads);
            Engine::cpu(Arc::clone(&case.model), &options).unwrap()
        });
        let (first, rest) = case.tokens.split_at(case.tokens.len() / 2);
        let mut session = Session::open(&one, options(6, kv)).unwrap();
        session.feed(first).unwrap();
        let resumes = |session: &mut Session, moment: &str| {
            let snapshot = session.snapshot().unwrap();
            session.save(&file, b"").unwrap();
            let want = go_on(session, rest);
            session.rewind(&snapshot).unwrap();
            assert!(same(&go_on(session, rest), &want), "{}, {kv}, {moment}, rewound", case.name);
            let (mut resumed, _) = Session::resume(&two, &file).unwrap();
            assert_eq!(resumed.memory().state, session.memory().state);
            assert!(
                same(&go_on(&mut resumed, rest), &want),
                "{}, {kv}, {moment}, saved",
                case.name
            );
        };
        resumes(&mut session, "at first");
        let less = Estimate::cpu(&case.model, &options(2, kv), 1).unwrap().session.state;
        assert!(less < session.memory().state);
        session.shrink(less).unwrap();
        assert_eq!(session.memory().state, less);
        resumes(&mut session, "shrunk");
    }
}

#[test]
fn a_fork_and_its_origin_do_not_meet() {
    let sizes = Sizes::default();
    let mut numbers = Numbers::new(12);
    let [prompt, one, two] = [100, 50, 50].map(|n| numbers.tokens(n, sizes.vocab));
    let engine = sizes.engine(1, 1);
    let alone = |more: &[u32]| {
        let mut session = Session::open(&engine, options(8, KvType::F16)).unwrap();
        session.feed(&prompt).unwrap();
        go_on(&mut session, more)
    };
    let mut session = Session::open(&engine, options(8, KvType::F16)).unwrap();
    session.feed(&prompt).unwrap();
    let mut fork = session.fork().unwrap();
    assert!(same(&go_on(&mut session, &one), &alone(&one)));
    assert!(same(&go_on(&mut fork, &two), &alone(&two)));
}

/// What was saved with one geometry would make attention read beyond the rows of another.
#[test]
fn a_state_of_another_geometry_is_refused() {
    let sizes = Sizes::default();
    let engine = sizes.engine(1, 1);
    let geometry = Geometry::new(internals::spec(engine.model()), 64, KvType::F16);
    let mut large = internals::open(&engine, geometry).unwrap();
    let tokens = Numbers::new(14).tokens(300, sizes.vocab);
    for block in tokens.chunks(large.room()) {
        large.forward(block, Want::Nothing, &mut |_, _| {}).unwrap();
    }
    let numbers = large.tables().encode();
    for other in [
        Geometry { ring: 4, ..geometry },
        Geometry { window: geometry.window + 1, ..geometry },
        Geometry { kv: KvType::F32, ..geometry },
        Geometry { eviction: Eviction::Thin, ..geometry },
    ] {
        let mut state = internals::open(&engine, other).unwrap();
        state.forward(&tokens[..5], Want::Nothing, &mut |_, _| {}).unwrap();
        let saved = large.tables().decode(300, &numbers).unwrap();
        let refused = state.import(saved, &mut |_| panic!("an image is read"));
        assert!(matches!(refused, Err(Error::Argument(_))), "{other}");
        assert_eq!(state.tables().position(), 5, "{other}");
        state.forward(&tokens[5..6], Want::Last, &mut |_, _| {}).unwrap();
    }
}

#[test]
fn public_numbers_of_a_geometry_are_checked() {
    let engine = Sizes::default().engine(1, 1);
    let sound = Geometry::new(internals::spec(engine.model()), 4, KvType::F16);
    for (geometry, range) in [
        (Geometry { chunk: 0, ..sound }, "between 1 and"),
        (Geometry { chunk: usize::MAX, ..sound }, "between 1 and"),
        (Geometry { window: usize::MAX, ..sound }, "between 0 and"),
        (Geometry { ring: usize::MAX, ..sound }, "out of memory"),
    ] {
        let e = internals::open(&engine, geometry).map(|_| ()).unwrap_err().to_string();
        assert!(e.contains(range), "{e}");
        geometry.state_bytes(internals::spec(engine.model()));
    }
}

#[test]
fn a_snapshot_of_another_model_or_budget_is_refused() {
    let sizes = Sizes::default();
    let open = |engine, ring| Session::open(&engine, options(ring, KvType::F16)).unwrap();
    let mut session = open(sizes.engine(1, 1), 8);
    session.feed(&[1, 2, 3]).unwrap();
    let snapshot = session.snapshot().unwrap();
    for mut other in [open(sizes.engine(2, 1), 8), open(session.engine().clone(), 9)] {
        other.feed(&[4]).unwrap();
        let logits = other.logits().unwrap().to_vec();
        assert!(matches!(other.rewind(&snapshot), Err(Error::Argument(_))));
        assert_eq!((other.position(), other.logits().unwrap()), (1, &logits[..]));
    }
}

#[test]
fn an_image_is_as_large_as_what_has_been_processed() {
    let sizes = Sizes::default();
    let mut session = Session::open(&sizes.engine(1, 1), options(1000, KvType::F16)).unwrap();
    let empty = session.snapshot().unwrap().bytes();
    assert!(empty < 512, "{empty}");
    let tokens = Numbers::new(13).tokens(2000, sizes.vocab);
    let mut before = 0;
    for piece in tokens.chunks(500) {
        session.feed(piece).unwrap();
        let bytes = session.snapshot().unwrap().bytes() - 4 * sizes.vocab as u64 - 2 * empty;
        assert!(bytes > before && bytes <= session.memory().state, "{before}, {bytes}");
        before = bytes;
    }
}

fn saved_at(path: &Path, sizes: &Sizes, seed: u64) {
    let mut session = Session::open(&sizes.engine(seed, 1), options(3, KvType::F16)).unwrap();
    session.feed(&Numbers::new(14).tokens(60, sizes.vocab)).unwrap();
    session.save(path, b"note").unwrap();
}

#[test]
fn damage_is_refused_wherever_it_is() {
    let sizes = Sizes { layers: 1, vocab: 40, ..Sizes::default() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    saved_at(&path, &sizes, 1);
    let engine = sizes.engine(1, 1);
    let whole = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match Session::resume(&engine, &path) {
            Err(Error::Saved(detail)) => detail.to_string(),
            Err(e) => panic!("{e}"),
            Ok(_) => panic!("resumed"),
        }
    };
    // Every byte of the header, of the block tables and of the note, and a walk through the rest.
    let walk = (0..whole.len()).step_by(37);
    for at in (0..220).chain(walk).chain([whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let text = refused(&bytes);
        assert!(text.len() > 20, "byte {at}: {text}");
    }
    for length in (0..whole.len()).step_by(101).chain([whole.len() - 1]) {
        refused(&whole[..length]);
    }
    refused(&[&whole[..], b"x"].concat());

    let mut other = whole.clone();
    other[8] = 1;
    assert!(refused(&other).contains("version 1"));
    std::fs::write(&path, &whole).unwrap();
    assert!(Session::resume(&engine, &path).is_ok());
}

/// A chat that is cancelled in the middle of its first prompt is kept like any other.
#[test]
fn a_session_that_was_cancelled_in_its_first_prompt_is_saved_and_goes_on() {
    let sizes = Sizes::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    saved_at(&path, &sizes, 1);
    let tokens = Numbers::new(17).tokens(1_000_000, sizes.vocab);
    let mut session = Session::open(&sizes.engine(1, 1), options(3, KvType::F16)).unwrap();
    let fed = feed_and_cancel(&mut session, &tokens);
    session.save(&path, b"note").unwrap();
    let (mut resumed, note) = Session::resume(session.engine(), &path).unwrap();
    assert_eq!((resumed.position(), &note[..]), (fed as u64, &b"note"[..]));
    assert!(matches!(resumed.logits(), Err(Error::NoLogits { .. })));
    let rest = &tokens[fed..][..50];
    assert!(same(&go_on(&mut resumed, rest), &go_on(&mut session, rest)));
}

#[test]
fn the_file_of_another_model_is_refused() {
    let sizes = Sizes::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    saved_at(&path, &sizes, 1);
    for other in [sizes.engine(2, 1), Sizes { chunk: 9, ..sizes }.engine(1, 1)] {
        let e = Session::resume(&other, &path).map(drop).unwrap_err();
        assert!(matches!(e, Error::OtherModel { .. }), "{e}");
        let text = e.to_string();
        assert!(text.contains("another model"), "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_session_and_the_old_file() {
    let sizes = Sizes::default();
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::open(&sizes.engine(1, 1), options(3, KvType::F16)).unwrap();
    session.feed(&[1, 2]).unwrap();
    let missing = folder.path().join("no such folder").join("s");
    assert!(matches!(session.save(&missing, b""), Err(Error::Io { .. })));
    // A folder can't be replaced by a file.
    assert!(matches!(session.save(folder.path(), b""), Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    session.feed(&[3]).unwrap();
    // Nothing is said twice.
    let failed = Session::resume(session.engine(), &missing).map(drop).unwrap_err();
    assert!(std::error::Error::source(&failed).is_none(), "{failed}");
    let Err(Error::Io { path, .. }) = Session::resume(session.engine(), &missing) else {
        panic!("resumed")
    };
    assert_eq!(path, missing);
}

/// Set by `a_kill_during_a_save_…` for the process that it kills.
const SAVE_FOR_EVER: &str = "ATTAMBA_TEST_SAVE_FOR_EVER";
/// What that process prints once it begins to save.
const SAVING: &str = "saving";
/// Tokens before the first save: half a megabyte per file.
const TAKEN_IN: usize = 1000;

#[test]
fn a_kill_during_a_save_leaves_a_file_that_loads() {
    let sizes = Sizes { layers: 1, vocab: 40, ..Sizes::default() };
    if let Some(path) = std::env::var_os(SAVE_FOR_EVER) {
        let engine = sizes.engine(1, 1);
        let mut session = Session::open(&engine, options(TAKEN_IN, KvType::F32)).unwrap();
        session.feed(&Numbers::new(15).tokens(TAKEN_IN, sizes.vocab)).unwrap();
        println!("{SAVING}");
        for i in 0u64.. {
            session.save(Path::new(&path), &i.to_le_bytes()).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let engine = sizes.engine(1, 1);
    let mut numbers = Numbers::new(16);
    let mut loaded = 0;
    for _ in 0..100 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--nocapture", "--exact", "a_kill_during_a_save_leaves_a_file_that_loads"])
            .env(SAVE_FOR_EVER, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(SAVING)), "the saving process ended");
        std::thread::sleep(Duration::from_micros(numbers.below(30_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        if path.exists() {
            let (session, note) = Session::resume(&engine, &path).unwrap();
            assert_eq!((session.position(), note.len()), (TAKEN_IN as u64, 8));
            loaded += 1;
        }
    }
    assert!(loaded > 50, "only {loaded} of 100 processes came as far as a first save");
}
