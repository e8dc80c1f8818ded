//! Sessions: splits, resets, cancelling, two at once, and memory that stays as estimated.

mod common;

use attamba::internals::{self, Geometry, State, Want};
use attamba::memory::Estimate;
use attamba::quant::DType;
use attamba::sample::{Sampler, Sampling};
use attamba::session::{Budget, Finish, Options, Session};
use attamba::{Engine, EngineOptions, Error, Eviction, KvType};
use common::cancel::feed_and_cancel;
use common::models::{Meta, Numbers, Sizes, open};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations and resident pages are those of the whole process: tests that measure them run
/// alone, the others in parallel.
static TURN: RwLock<()> = RwLock::new(());

fn beside_others() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(PoisonError::into_inner)
}

/// Tokens that a model as small as these processes at once.
const BLOCK: usize = 256;

fn states(ring: usize) -> Options {
    Options::default().with_budget(Budget::States(ring)).with_kv(KvType::F32)
}

fn session(sizes: &Sizes, options: Options) -> Session {
    Session::open(&sizes.engine(1, 1), options).unwrap()
}

/// The logits of every token, fed in pieces of the given sizes.
fn feed(session: &mut Session, tokens: &[u32], pieces: &[usize]) -> Vec<f32> {
    let mut logits = Vec::new();
    let mut rest = tokens;
    for &size in pieces {
        let (piece, after) = rest.split_at(size);
        session.feed_each(piece, |_, row| logits.extend_from_slice(row)).unwrap();
        rest = after;
    }
    assert!(rest.is_empty());
    logits
}

fn pieces(numbers: &mut Numbers, len: usize) -> Vec<usize> {
    let mut pieces = Vec::new();
    let mut left = len;
    while left > 0 {
        let most = [1, 4, 20, 150][numbers.below(4)];
        let size = (1 + numbers.below(most)).min(left);
        pieces.push(size);
        left -= size;
    }
    pieces
}

fn assert_same_bits(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let other = a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(other, None, "the first value that differs");
}

fn no_logits(session: &mut Session) -> bool {
    let position = session.position();
    matches!(session.logits(), Err(Error::NoLogits { position: at }) if at == position)
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |x: f32| f64::from(x).powi(2);
    let off: f64 = got.iter().zip(want).map(|(&g, &w)| square(g - w)).sum();
    (off / want.iter().map(|&w| square(w)).sum::<f64>()).sqrt()
}

/// Models that differ in everything that a split could break.
fn models() -> Vec<Sizes> {
    let plain = Sizes::default();
    vec![
        plain.clone(),
        Sizes { carry: true, projected: true, kv_heads: 2, ..plain.clone() },
        Sizes { chunk: 31, window: 40, conv: 5, groups: 2, ..plain.clone() },
        Sizes { chunk: 1, window: 0, conv: 1, ..plain.clone() },
        Sizes { architecture: "llama", kv_heads: 1, ..plain.clone() },
    ]
}

/// Neighboring tokens read the rows that they all see together; a single token reads its own.
#[test]
fn many_tokens_together_are_the_same_as_one_by_one() {
    let _turn = beside_others();
    let wide = Sizes { d: 128, heads: 4, ffn: 32, ..Sizes::default() };
    for sizes in [
        Sizes { architecture: "llama", kv_heads: 1, ..wide.clone() },
        Sizes { architecture: "llama", kv_heads: 2, d: 64, ..wide.clone() },
        Sizes { chunk: 2, window: 100, ..wide },
    ] {
        let tokens = Numbers::new(4).tokens(2 * BLOCK + 77, sizes.vocab);
        // Everything, and less than that: then states leave the ring in the middle of a block.
        for (ring, eviction) in
            [(1000, Eviction::Drop), (150, Eviction::Drop), (150, Eviction::Thin)]
        {
            // Rows of a block are rounded to integers only after it.
            for (kv, most) in
                [(KvType::F32, 1e-5), (KvType::F16, 1e-3), (KvType::I8, 0.03), (KvType::I4, 0.3)]
            {
                if kv == KvType::I4 && sizes.d / sizes.heads < 32 {
                    continue;
                }
                let options = Options::default()
                    .with_budget(Budget::States(ring))
                    .with_kv(kv)
                    .with_eviction(eviction);
                let together = feed(&mut session(&sizes, options), &tokens, &[tokens.len()]);
                let one_by_one =
                    feed(&mut session(&sizes, options), &tokens, &vec![1; tokens.len()]);
                let error = relative_error(&together, &one_by_one);
                assert!(error < most, "{sizes:?} {kv:?} {eviction:?}, {ring} states: {error:e}");
            }
        }
    }
}

#[test]
fn blocks_of_whole_size_are_the_same_to_the_bit() {
    let _turn = beside_others();
    for sizes in models() {
        assert_eq!(internals::block(&session(&sizes, states(9))), BLOCK);
        let tokens = Numbers::new(3).tokens(2 * BLOCK + 44, sizes.vocab);
        let whole = feed(&mut session(&sizes, states(9)), &tokens, &[tokens.len()]);
        let split = feed(&mut session(&sizes, states(9)), &tokens, &[BLOCK, BLOCK, 44]);
        assert_same_bits(&split, &whole);
    }
}

#[test]
fn any_split_computes_the_same() {
    let _turn = beside_others();
    let mut numbers = Numbers::new(4);
    for sizes in models() {
        // Rounding of activations to eight bits turns on the last bit of a real number.
        for (dtype, bound) in [(DType::F32, 1e-5), (DType::Q8_0, 1e-2)] {
            let sizes = Sizes { dtype, ..sizes.clone() };
            let tokens = numbers.tokens(300, sizes.vocab);
            let drop = [0, 1, 2, 7, 300].map(states);
            let thin = [3, 4, 12].map(|n| states(n).with_eviction(Eviction::Thin));
            for options in drop.into_iter().chain(thin) {
                let whole = feed(&mut session(&sizes, options), &tokens, &[tokens.len()]);
                for _ in 0..2 {
                    let pieces = pieces(&mut numbers, tokens.len());
                    let split = feed(&mut session(&sizes, options), &tokens, &pieces);
                    let error = relative_error(&split, &whole);
                    assert!(error < bound, "{error}: {sizes:?}, {options:?}, {pieces:?}");
                }
            }
        }
    }
}

#[test]
fn the_last_logits_are_the_same_whether_all_are_wanted_or_one() {
    let _turn = beside_others();
    let sizes = Sizes::default();
    let tokens = Numbers::new(5).tokens(BLOCK + 70, sizes.vocab);
    for len in [1, 2, 3, 4, 17, BLOCK, BLOCK + 1, BLOCK + 70] {
        let mut one = session(&sizes, states(4));
        one.feed(&tokens[..len]).unwrap();
        let all = feed(&mut session(&sizes, states(4)), &tokens[..len], &[len]);
        let error = relative_error(one.logits().unwrap(), &all[all.len() - sizes.vocab..]);
        assert!(error < 1e-5, "{error}, {len} tokens");
    }
}

#[test]
fn a_session_that_was_reset_is_as_a_new_one() {
    let _turn = beside_others();
    for sizes in models() {
        let mut numbers = Numbers::new(6);
        let before = numbers.tokens(333, sizes.vocab);
        let tokens = numbers.tokens(200, sizes.vocab);
        let pieces = pieces(&mut numbers, tokens.len());
        for options in [
            states(6),
            states(6).with_kv(KvType::F16),
            states(6).with_kv(KvType::I8),
            states(7).with_eviction(Eviction::Thin),
        ] {
            let fresh = feed(&mut session(&sizes, options), &tokens, &pieces);
            let mut used = session(&sizes, options);
            let memory = used.memory();
            used.feed(&before).unwrap();
            used.reset();
            assert_eq!((used.position(), used.ring().0), (0, 0));
            assert!(no_logits(&mut used));
            assert_same_bits(&feed(&mut used, &tokens, &pieces), &fresh);
            assert_eq!(used.memory(), memory);
        }
    }
}

/// The logits may still be on the engine, from which they are not fetched while paused.
#[test]
fn generating_in_a_pause_waits_for_its_end_or_a_cancel() {
    let _turn = beside_others();
    let mut session = session(&Sizes::default(), states(4));
    let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
    let (pause, cancel) = (session.control(), session.control());
    let soon = || std::thread::sleep(std::time::Duration::from_millis(30));
    session.feed_top(1).unwrap();

    pause.pause();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            soon();
            cancel.cancel();
        });
        let finish = session.generate(&mut sampler, 3, |_| false, |_| true).unwrap();
        assert_eq!(finish, Finish::Cancelled);
    });
    assert_eq!(session.position(), 1);

    std::thread::scope(|scope| {
        scope.spawn(|| {
            soon();
            pause.resume();
        });
        let finish = session.generate(&mut sampler, 3, |_| false, |_| true).unwrap();
        assert_eq!(finish, Finish::Limit);
    });
    assert_eq!(session.position(), 4);
}

#[test]
fn sessions_on_two_threads_compute_as_one_after_the_other() {
    let _turn = beside_others();
    let sizes = Sizes { d: 128, ffn: 256, inner: 128, ..Sizes::default() };
    let engine = sizes.engine(2, 2);
    let texts = [7, 8].map(|seed| Numbers::new(seed).tokens(150, sizes.vocab));
    let pieces = pieces(&mut Numbers::new(9), 150);
    let run = |tokens: &[u32]| {
        let mut session = Session::open(&engine, states(5)).unwrap();
        feed(&mut session, tokens, &pieces)
    };
    let one_after_the_other = texts.each_ref().map(|tokens| run(tokens));
    let at_once = std::thread::scope(|scope| {
        let threads = texts.each_ref().map(|tokens| scope.spawn(|| run(tokens)));
        threads.map(|thread| thread.join().unwrap())
    });
    for (a, b) in at_once.iter().zip(&one_after_the_other) {
        assert_same_bits(a, b);
    }
}

#[test]
fn sessions_that_go_together_compute_what_each_would_alone() {
    let _turn = beside_others();
    for sizes in models() {
        let engine = sizes.engine(1, 2);
        let mut numbers = Numbers::new(27);
        // Differing in position, capacity and the type of keys and values; more than a block holds.
        let kinds = [
            states(5),
            states(40).with_kv(KvType::F16),
            states(7).with_kv(KvType::I8).with_eviction(Eviction::Thin),
        ];
        for count in [0, 1, 2, 7, BLOCK + 30] {
            let mut together: Vec<Session> = Vec::new();
            let mut alone: Vec<Session> = Vec::new();
            for i in 0..count {
                let text = Numbers::new(i as u64).tokens(1 + i % 60, sizes.vocab);
                for sessions in [&mut together, &mut alone] {
                    let mut session = Session::open(&engine, kinds[i % 3]).unwrap();
                    session.feed(&text).unwrap();
                    sessions.push(session);
                }
            }
            for _ in 0..3 {
                let tokens = numbers.tokens(count, sizes.vocab);
                let mut all: Vec<&mut Session> = together.iter_mut().collect();
                Session::feed_together(&mut all, &tokens).unwrap();
                for ((session, alone), token) in together.iter_mut().zip(&mut alone).zip(tokens) {
                    alone.feed(&[token]).unwrap();
                    assert_eq!(session.position(), alone.position());
                    // Rounding, and int8 rows that it turns.
                    let error = relative_error(session.logits().unwrap(), alone.logits().unwrap());
                    assert!(error < 1e-3, "{sizes:?}, {count} sessions: {error}");
                }
            }
        }
    }
}

/// Sessions that generate on several threads at once share passes, come and go as they like, and
/// generate what each would alone.
#[test]
fn sessions_of_a_batching_engine_generate_together() {
    let _turn = beside_others();
    let sizes = Sizes::default();
    let model = sizes.model(1);
    let options = EngineOptions::default().with_threads(2);
    let alone = Engine::cpu(Arc::clone(&model), &options).unwrap();
    let engine = Engine::cpu(model, &options.with_batching(true)).unwrap();
    let generate = &|engine: &Engine, number: u32| {
        let mut session = Session::open(engine, states(20 + number as usize)).unwrap();
        session.feed(&[1 + number, 2]).unwrap();
        let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
        let mut tokens = Vec::new();
        let limit = 100 + 40 * number as usize;
        let finish = session.generate(
            &mut sampler,
            limit,
            |_| false,
            |token| {
                tokens.push(token);
                true
            },
        );
        assert_eq!(finish.unwrap(), Finish::Limit);
        (tokens, session.logits().unwrap().to_vec())
    };
    let begin = &std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        let engine = &engine;
        let run = |number| {
            move || {
                begin.wait();
                (number, generate(engine, number))
            }
        };
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(run(number))).collect();
        for thread in threads {
            let (number, (tokens, logits)) = thread.join().unwrap();
            let want = generate(&alone, number);
            assert_eq!(tokens, want.0, "session {number}");
            assert!(relative_error(&logits, &want.1) < 1e-3, "session {number}");
        }
    });
    assert!(internals::most_together(&engine) > 2, "{}", internals::most_together(&engine));
    assert_eq!(internals::most_together(&alone), 0);
}

/// When several sequences are computed at once, no state may return another's logits as its own.
#[test]
fn a_state_has_the_logits_of_its_own_last_token_or_none() {
    let _turn = beside_others();
    let sizes = Sizes::default();
    let engine = sizes.engine(1, 1);
    let geometry = Geometry::new(internals::spec(engine.model()), 5, KvType::F32);
    // More than the buffer for logits has room for, and fewer.
    for count in [2, 3, 40] {
        let mut states: Vec<Box<dyn State>> =
            (0..count).map(|_| internals::open(&engine, geometry).unwrap()).collect();
        let mut row = Vec::new();
        for (token, state) in (0..).zip(&mut states) {
            state.forward(&[token % 7, 1], Want::Last, &mut |_, _| {}).unwrap();
            state.last_logits(&mut row).unwrap();
        }
        let tokens: Vec<u32> = (0..count).map(|i| i % 9).collect();
        let mut together: Vec<&mut dyn State> =
            states.iter_mut().map(|state| &mut **state as &mut dyn State).collect();
        internals::forward_together(&engine, &mut together, &tokens, &mut |_, _| {}).unwrap();
        for state in &mut states {
            let result = state.last_logits(&mut row);
            assert!(matches!(result, Err(Error::NoLogits { position: 3 })), "{result:?}");
        }
    }
    let mut state = internals::open(&engine, geometry).unwrap();
    let mut row = Vec::new();
    let mut want = Vec::new();
    state.forward(&[1, 2], Want::Last, &mut |_, logits| want.extend_from_slice(logits)).unwrap();
    state.last_logits(&mut row).unwrap();
    assert_same_bits(&row, &want);
    state.forward(&[3], Want::Nothing, &mut |_, _| {}).unwrap();
    assert!(matches!(state.last_logits(&mut row), Err(Error::NoLogits { position: 3 })));
    state.forward(&[3], Want::Last, &mut |_, _| {}).unwrap();
    state.reset();
    assert!(matches!(state.last_logits(&mut row), Err(Error::NoLogits { position: 0 })));
}

#[test]
fn sessions_that_cannot_go_together_are_refused() {
    let _turn = beside_others();
    let sizes = Sizes::default();
    let [mut a, mut b] =
        [1, 2].map(|seed| Session::open(&sizes.engine(seed, 1), states(5)).unwrap());
    assert!(matches!(
        Session::feed_together(&mut [&mut a, &mut b], &[1, 2]),
        Err(Error::Argument(_))
    ));
    assert!(matches!(Session::feed_together(&mut [&mut a], &[1, 2]), Err(Error::Argument(_))));
    let beyond = sizes.vocab as u32;
    let refused = Session::feed_together(&mut [&mut a], &[beyond]);
    assert!(matches!(refused, Err(Error::TokenOutOfRange { .. })));
    assert_eq!(a.position(), 0);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let _turn = beside_others();
    let sizes = Sizes { d: 128, ffn: 256, inner: 128, chunk: 2, ..Sizes::default() };
    let tokens = Numbers::new(10).tokens(140, sizes.vocab);
    let run = |threads| {
        let mut session = Session::open(&sizes.engine(2, threads), states(500)).unwrap();
        feed(&mut session, &tokens, &[100, 37, 1, 1, 1])
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        // One token's attention is cut into more parts where there are more threads.
        let error = relative_error(&run(threads), &one);
        assert!(error < 1e-5, "{error}, {threads} threads");
    }
}

#[test]
fn a_feed_is_cancelled_from_another_thread_and_the_session_goes_on() {
    let _turn = beside_others();
    let sizes = Sizes::default();
    let tokens = Numbers::new(11).tokens(1_000_000, sizes.vocab);
    let mut session = session(&sizes, states(20));
    let cancel = session.control();
    let progress = AtomicU64::new(0);
    let (outcome, when_cancelled) = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            while progress.load(Ordering::Acquire) < 1000 {
                std::thread::yield_now();
            }
            cancel.cancel();
            progress.load(Ordering::Acquire)
        });
        let outcome =
            session.feed_each(&tokens, |i, _| progress.store(i as u64, Ordering::Release));
        (outcome, other.join().unwrap())
    });
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    let position = session.position();
    let most = when_cancelled + 2 * BLOCK as u64;
    assert!((1000..=most).contains(&position), "{position}, cancelled about {when_cancelled}");

    let next = [1, 2, 3];
    session.feed(&next).unwrap();
    let mut other = Session::open(session.engine(), states(20)).unwrap();
    other.feed(&tokens[..position as usize]).unwrap();
    other.feed(&next).unwrap();
    assert_same_bits(session.logits().unwrap(), other.logits().unwrap());
}

#[test]
fn the_logits_of_an_older_token_are_nobodys() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session");
    let sizes = Sizes::default();
    let mut session = session(&sizes, states(20));
    let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
    let tokens = Numbers::new(31).tokens(1_000_000, sizes.vocab);
    session.feed(&tokens[..3]).unwrap();
    assert!(!no_logits(&mut session));
    let fed = 3 + feed_and_cancel(&mut session, &tokens[3..]);

    assert!(no_logits(&mut session));
    let text = session.logits().unwrap_err().to_string();
    assert!(text.contains(&fed.to_string()), "{text}");
    let generated = session.generate(&mut sampler, 1, |_| false, |_| panic!("of what?"));
    assert!(matches!(generated, Err(Error::NoLogits { .. })), "{generated:?}");
    let snapshot = session.snapshot().unwrap();
    let mut fork = session.fork().unwrap();
    session.save(&file, b"").unwrap();
    let (mut resumed, _) = Session::resume(session.engine(), &file).unwrap();
    let mut rewound = Session::open(session.engine(), states(20)).unwrap();
    rewound.feed(&tokens[..fed]).unwrap();
    rewound.rewind(&snapshot).unwrap();

    let mut want = Session::open(session.engine(), states(20)).unwrap();
    // The same blocks, and so the same bits.
    want.feed(&tokens[..3]).unwrap();
    want.feed(&tokens[3..fed]).unwrap();
    want.feed(&tokens[fed..fed + 2]).unwrap();
    for session in [&mut session, &mut fork, &mut resumed, &mut rewound] {
        assert!(no_logits(session));
        session.feed(&tokens[fed..fed + 2]).unwrap();
        assert_eq!(session.position(), fed as u64 + 2);
        assert_same_bits(session.logits().unwrap(), want.logits().unwrap());
    }
}

#[test]
fn a_callback_may_cancel_and_the_logits_are_those_of_the_last_token() {
    let _turn = beside_others();
    let sizes = Sizes::default();
    let mut session = session(&sizes, states(20));
    let tokens = Numbers::new(32).tokens(3 * BLOCK, sizes.vocab);
    let cancel = session.control();
    let mut last = Vec::new();
    let outcome = session.feed_each(&tokens, |index, row| {
        if index == 10 {
            cancel.cancel();
        }
        last = row.to_vec();
    });
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert_eq!(session.position(), BLOCK as u64);
    assert_same_bits(session.logits().unwrap(), &last);
}

/// It would wait for the block that it is called from, or for one that waits for this one.
#[test]
fn a_pause_in_a_callback_begins_when_the_block_ends() {
    let _turn = beside_others();
    let sizes = Sizes::default();
    let engine = sizes.engine(1, 1);
    let [mut session, mut other] = [0, 1].map(|_| Session::open(&engine, states(20)).unwrap());
    let tokens = Numbers::new(33).tokens(2 * BLOCK + 10, sizes.vocab);
    let (pause, others) = (session.control(), other.control());
    let seen = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            session.feed_each(&tokens, |index, _| {
                if index == 3 {
                    // Another session's, in whose block this thread also is.
                    other.feed_each(&tokens[..1], |_, _| others.pause()).unwrap();
                    pause.pause();
                }
                seen.store(index as u64 + 1, Ordering::Release);
            })
        });
        while !pause.is_paused() {
            std::thread::yield_now();
        }
        // Returns with the end of the block.
        pause.pause();
        assert_eq!(seen.load(Ordering::Acquire), BLOCK as u64);
        pause.resume();
        feeding.join().unwrap().unwrap();
    });
    assert_eq!(session.position(), tokens.len() as u64);
    assert!(matches!(other.snapshot(), Err(Error::Paused)));
    others.resume();
    other.snapshot().unwrap();
}

#[test]
fn a_callback_of_a_generation_may_pause_and_cancel_and_shrink() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(&Sizes::default(), states(40));
    let spec = internals::spec(session.engine().model());
    let smaller = Geometry::new(spec, 7, KvType::F32).state_bytes(spec);
    let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
    let (pause, cancel) = (session.control(), session.control());
    session.feed(&[1, 2, 3]).unwrap();
    let mut tokens = 0;
    let finish = session.generate(
        &mut sampler,
        9,
        |_| false,
        |_| {
            tokens += 1;
            pause.pause();
            cancel.cancel();
            true
        },
    );
    assert_eq!((finish.unwrap(), tokens), (Finish::Cancelled, 1));
    let path = folder.path().join("session");
    assert!(matches!(session.save(&path, b""), Err(Error::Paused)));
    assert!(!path.exists());
    pause.resume();
    session.save(&path, b"").unwrap();

    let shrink = session.control();
    let each = |_| {
        shrink.shrink(smaller);
        true
    };
    assert_eq!(session.generate(&mut sampler, 2, |_| false, each).unwrap(), Finish::Limit);
    assert_eq!(session.memory().state, smaller);
    // Requested after the last token: done before the next.
    assert_eq!(session.generate(&mut sampler, 1, |_| false, |_| true).unwrap(), Finish::Limit);
}

#[test]
fn orders_that_nobody_expects() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let sizes = Sizes::default();
    let tokens = Numbers::new(34).tokens(300, sizes.vocab);
    let mut session = session(&sizes, states(40));
    let engine = session.engine().clone();
    let spec = internals::spec(engine.model());
    let memory = session.memory();
    session.feed(&tokens).unwrap();

    // A cancel is for calls that process tokens.
    session.control().cancel();
    session.save(&path, b"").unwrap();
    let snapshot = session.snapshot().unwrap();
    session.control().clear_cancel();
    let (mut resumed, _) = Session::resume(&engine, &path).unwrap();
    assert_same_bits(resumed.logits().unwrap(), session.logits().unwrap());

    // A fork and its origin have a memory each, and handles of their own.
    let mut fork = session.fork().unwrap();
    fork.control().cancel();
    fork.control().pause();
    session.shrink(Geometry::new(spec, 4, KvType::F32).state_bytes(spec)).unwrap();
    assert_eq!(fork.memory().state, memory.state);
    assert_same_bits(session.logits().unwrap(), resumed.logits().unwrap());
    assert!(matches!(session.rewind(&snapshot), Err(Error::Argument(_))));
    assert_eq!(session.position(), 300);
    session.feed(&[1]).unwrap();
    fork.control().resume();
    assert!(matches!(fork.feed(&[1]), Err(Error::Cancelled)));
    for session in [&mut fork, &mut resumed] {
        session.feed(&[1]).unwrap();
    }
    assert_same_bits(fork.logits().unwrap(), resumed.logits().unwrap());

    // What was requested before a reset is done after it.
    resumed.control().shrink(Geometry::new(spec, 4, KvType::F32).state_bytes(spec));
    resumed.reset();
    assert!(no_logits(&mut resumed));
    resumed.feed(&[1]).unwrap();
    assert_eq!(resumed.ring().1, 4);
    assert!(matches!(resumed.rewind(&snapshot), Err(Error::Argument(_))));
}

/// One that comes just before the call that it is meant for must not be lost.
#[test]
fn a_cancel_between_two_calls_ends_the_next_one_and_no_other() {
    let _turn = beside_others();
    let mut session = session(&Sizes::default(), states(4));
    let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
    let control = session.control();
    control.cancel();
    assert!(matches!(session.feed(&[1, 2, 3]), Err(Error::Cancelled)));
    assert_eq!(session.position(), 0);
    session.feed(&[1, 2, 3]).unwrap();
    control.cancel();
    assert!(matches!(session.feed_each(&[1], |_, _| {}), Err(Error::Cancelled)));
    control.cancel();
    assert!(matches!(session.feed_top(1).map(|_| ()), Err(Error::Cancelled)));
    control.cancel();
    let finish = session.generate(&mut sampler, 5, |_| false, |_| true).unwrap();
    assert_eq!((finish, session.position()), (Finish::Cancelled, 3));

    control.cancel();
    control.clear_cancel();
    session.feed(&[1]).unwrap();
    // One that comes when all has been processed was meant for that call.
    session.feed_each(&[1], |_, _| control.cancel()).unwrap();
    let finish = session.generate(&mut sampler, 2, |_| false, |_| true).unwrap();
    assert_eq!((finish, session.position()), (Finish::Limit, 7));
}

#[test]
fn generating_stops_when_it_is_told_to() {
    let _turn = beside_others();
    let mut session = session(&Sizes::default(), states(4));
    let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
    let early = session.generate(&mut sampler, 5, |_| false, |_| true).unwrap_err();
    assert!(matches!(early, Error::NoLogits { position: 0 }), "{early}");

    session.feed(&[1, 2, 3]).unwrap();
    assert_eq!(session.generate(&mut sampler, 5, |_| false, |_| true).unwrap(), Finish::Limit);
    assert_eq!(session.position(), 8);
    let mut tokens = 0;
    let mut two = |_| {
        tokens += 1;
        tokens < 2
    };
    assert_eq!(session.generate(&mut sampler, 5, |_| false, &mut two).unwrap(), Finish::Stopped);
    assert_eq!(session.position(), 10);
    assert_eq!(session.generate(&mut sampler, 5, |_| true, |_| true).unwrap(), Finish::End);
    assert_eq!(session.position(), 11);
    let cancel = session.control();
    let cancelled = |_| {
        cancel.cancel();
        true
    };
    let finish = session.generate(&mut sampler, 5, |_| false, cancelled).unwrap();
    assert_eq!(finish, Finish::Cancelled);
    assert_eq!(session.position(), 12);
}

/// In a model of one layer keys and values do not depend on what was seen, so that what is left of
/// a large ring is what a small one would have kept.
#[test]
fn a_session_that_was_shrunk_goes_on_as_one_that_was_small_from_the_start() {
    let _turn = beside_others();
    for sizes in models() {
        let sizes = Sizes { layers: 1, ..sizes };
        let engine = sizes.engine(1, 2);
        let spec = internals::spec(engine.model());
        let mut numbers = Numbers::new(21);
        let (first, then) = (numbers.tokens(400, sizes.vocab), numbers.tokens(60, sizes.vocab));
        for kv in [KvType::F32, KvType::F16, KvType::I8] {
            for ring in [1, 2, 5, 19] {
                let open = |ring| {
                    let options = states(ring).with_kv(kv);
                    Session::open(&engine, options).unwrap()
                };
                let (mut large, mut small) = (open(40), open(ring));
                large.feed(&first).unwrap();
                small.feed(&first).unwrap();
                let bytes = Geometry::new(spec, ring, kv).state_bytes(spec);
                large.shrink(bytes).unwrap();
                assert_eq!(large.memory().state, bytes);
                assert_eq!((large.ring().1, large.ring().0), (ring, small.ring().0));
                // More than it has changes nothing.
                large.shrink(2 * bytes).unwrap();
                assert_eq!(large.memory().state, bytes);
                for &token in &then {
                    large.feed(&[token]).unwrap();
                    small.feed(&[token]).unwrap();
                    let same = large.logits().unwrap().iter().zip(small.logits().unwrap());
                    assert!(same.clone().all(|(a, b)| a.to_bits() == b.to_bits()), "{sizes:?}");
                }
            }
        }
    }
}

/// Eight bits with a scale a row err by at most 1/254 of the row's greatest value.
#[test]
fn a_ring_of_bytes_computes_nearly_the_same() {
    let _turn = beside_others();
    for sizes in models() {
        let tokens = Numbers::new(25).tokens(300, sizes.vocab);
        let run = |kv| {
            let options = states(40).with_kv(kv);
            feed(&mut session(&sizes, options), &tokens, &[100, 200])
        };
        let (single, bytes) = (run(KvType::F32), run(KvType::I8));
        let error = relative_error(&bytes, &single);
        assert!(error > 1e-5 && error < 2e-2, "{sizes:?}: {error}");
    }
}

#[test]
fn a_budget_that_holds_nothing_leaves_the_session() {
    let _turn = beside_others();
    let sizes = Sizes::default();
    let mut session = Session::open(&sizes.engine(1, 1), states(9)).unwrap();
    session.feed(&[1, 2, 3]).unwrap();
    let memory = session.memory();
    assert!(matches!(session.shrink(10), Err(Error::Budget { budget: 10, .. })));
    assert_eq!(session.memory(), memory);
    session.feed(&[4]).unwrap();
}

#[test]
fn a_thinned_ring_can_be_shrunk_and_goes_on() {
    let _turn = beside_others();
    for sizes in models() {
        let options = states(60).with_eviction(Eviction::Thin);
        let engine = sizes.engine(1, 1);
        let spec = internals::spec(engine.model());
        let mut session = Session::open(&engine, options).unwrap();
        let tokens = Numbers::new(22).tokens(900, sizes.vocab);
        session.feed(&tokens).unwrap();
        for ring in [31, 8, 3, 2, 1] {
            session.shrink(Geometry::new(spec, ring, KvType::F32).state_bytes(spec)).unwrap();
            assert_eq!(session.ring().1, ring);
            assert!(session.ring().0 <= ring);
            session.feed(&tokens[..100]).unwrap();
            assert!(session.logits().unwrap().iter().all(|x| x.is_finite()));
        }
    }
}

#[test]
fn chunk_lengths_may_change_wherever_the_blocks_are_cut() {
    let _turn = beside_others();
    for sizes in models() {
        let engine = sizes.engine(1, 1);
        let tokens = Numbers::new(23).tokens(300, sizes.vocab);
        let changes = [(0, 3), (50, 7), (51, 2), (120, 1), (200, 16)];
        let run = |step: usize| {
            let mut session = Session::open(&engine, states(12)).unwrap();
            let mut ends: Vec<usize> = (0..=tokens.len()).step_by(step).collect();
            ends.extend(changes.map(|(at, _)| at));
            ends.push(tokens.len());
            ends.sort_unstable();
            let mut fed = 0;
            for end in ends {
                session.feed(&tokens[fed..end]).unwrap();
                fed = end;
                if let Some((_, chunk)) = changes.iter().find(|(at, _)| *at == end) {
                    session.set_chunk(*chunk).unwrap();
                    assert_eq!(session.chunk(), *chunk);
                }
            }
            session.logits().unwrap().to_vec()
        };
        let want = run(1);
        for step in [3, 64, 300] {
            let error = relative_error(&run(step), &want);
            assert!(error < 1e-5, "{sizes:?}, pieces of {step}: {error}");
        }
    }
    let mut session = Session::open(&Sizes::default().engine(1, 1), states(2)).unwrap();
    assert!(session.set_chunk(0).is_err());
}

#[test]
fn the_file_s_own_chunk_and_window_are_the_default() {
    let _turn = beside_others();
    for sizes in models() {
        let engine = sizes.engine(1, 1);
        let spec = internals::spec(engine.model());
        let tokens = Numbers::new(24).tokens(100, sizes.vocab);
        let logits = |options| {
            let mut session = Session::open(&engine, options).unwrap();
            session.feed(&tokens).unwrap();
            session.logits().unwrap().to_vec()
        };
        let plain = logits(states(30));
        let (chunk, window) = (Some(spec.chunks.length), Some(spec.chunks.window));
        assert_eq!(logits(states(30).with_chunk(chunk).with_window(window)), plain);
        let other = states(30).with_chunk(spec.chunks.length + 1).with_window(50);
        assert_ne!(logits(other), plain);
    }
}

#[test]
fn the_state_takes_the_bytes_that_its_geometry_says() {
    let _turn = beside_others();
    for sizes in models() {
        let engine = sizes.engine(1, 1);
        let spec = internals::spec(engine.model());
        for kv in [KvType::I8, KvType::F16, KvType::F32] {
            for ring in [0, 1, 2, 3, 100, 4096] {
                let options = Options::default().with_budget(Budget::States(ring)).with_kv(kv);
                let session = Session::open(&engine, options).unwrap();
                let promised = Geometry::new(spec, ring, kv).state_bytes(spec);
                assert_eq!(session.memory().state, promised, "{sizes:?}, {options:?}");
                assert_eq!(session.ring().1, ring);
            }
            for bytes in [64 << 10, 1 << 20] {
                let options = Options::default().with_budget(Budget::Bytes(bytes)).with_kv(kv);
                let session = Session::open(&engine, options).unwrap();
                assert!(session.memory().state <= bytes, "{sizes:?}, {options:?}");
            }
        }
    }
}

#[test]
fn what_is_estimated_before_is_reported_after() {
    let _turn = beside_others();
    for sizes in models() {
        for threads in [1, 2] {
            let engine = sizes.engine(1, threads);
            let thin = states(30).with_eviction(Eviction::Thin).with_kv(KvType::I8);
            let tokens = states(0).with_budget(Budget::Tokens(100)).with_kv(KvType::F16);
            for options in [states(0), states(77), thin, tokens] {
                let estimate = Estimate::cpu(engine.model(), &options, threads).unwrap();
                let mut session = Session::open(&engine, options).unwrap();
                assert_eq!(session.memory(), estimate.session, "{sizes:?}, {options:?}");
                session.feed(&Numbers::new(26).tokens(300, sizes.vocab)).unwrap();
                assert_eq!(session.memory(), estimate.session, "{sizes:?}, {options:?}");
            }
            let least = states(0).with_budget(Budget::Bytes(1));
            let refused = Estimate::cpu(engine.model(), &least, threads);
            assert!(matches!(refused, Err(Error::Budget { budget: 1, .. })));
        }
    }
}

/// What a passing token needs is on the stack or was allocated before.
#[test]
fn decode_allocates_nothing() {
    let _turn = alone();
    let wide = Sizes { d: 128, ffn: 256, inner: 128, chunk: 2, ..Sizes::default() };
    let llama = Sizes { architecture: "llama", ..wide.clone() };
    let blocks = Sizes { dtype: DType::Q4_0, projected: true, carry: true, ..wide.clone() };
    for sizes in [Sizes::default(), wide, llama, blocks] {
        for (threads, kv) in [(1, KvType::F16), (2, KvType::F16), (2, KvType::F32), (2, KvType::I8)]
        {
            let options = Options::default().with_budget(Budget::States(300)).with_kv(kv);
            let mut session = Session::open(&sizes.engine(1, threads), options).unwrap();
            let tokens = Numbers::new(12).tokens(700, sizes.vocab);
            session.feed(&tokens).unwrap();
            session.feed(&tokens[..1]).unwrap();
            // The test harness may allocate at any moment, though not at every one.
            let fewest = (0..5).map(|_| {
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                for token in &tokens[..100] {
                    session.feed(std::slice::from_ref(token)).unwrap();
                }
                ALLOCATIONS.load(Ordering::Relaxed) - before
            });
            assert_eq!(fewest.min(), Some(0), "{threads} threads, {sizes:?}");
        }
    }
}

/// Resident bytes of this process.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    // Pages of 4 KiB are the smallest in use: with larger ones the test is stricter.
    pages * 4096
}

/// The memory of closed sessions goes back to the system, though what was allocated since stays.
#[cfg(target_os = "linux")]
#[test]
fn closed_sessions_leave_no_memory_behind() {
    let _turn = alone();
    let engine = Sizes { d: 256, ffn: 1024, ..Sizes::default() }.engine(1, 1);
    // Large ones, and small ones, whose buffers are small as well.
    for (count, states) in [(20, states(2000)), (30, states(100))] {
        let before = resident();
        let mut open = Vec::new();
        let mut others: Vec<Box<[u8]>> = Vec::new();
        for _ in 0..count {
            let mut session = Session::open(&engine, states).unwrap();
            session.feed(&[1; 600]).unwrap();
            open.push(session);
            others.push(vec![1; 1000].into());
        }
        let held: u64 = open.iter().map(|s| s.memory().state + s.memory().scratch).sum();
        let during = resident() - before;
        assert!(during > held / 4 && during > 16 << 20, "{during} of {held}");
        drop(open);
        let after = resident().saturating_sub(before);
        assert!(after < during / 20, "{after} bytes stay of {during}");
        drop(others);
    }
}

/// Feeds a million tokens in pieces of all sizes. After `full` tokens rings hold a number of states
/// within `rows`, and memory does not grow.
#[cfg(target_os = "linux")]
fn assert_flat(engine: &Engine, options: Options, full: u64, rows: RangeInclusive<usize>) {
    const TOKENS: u64 = 1_000_000;
    assert!((100..TOKENS / 10).contains(&full), "the ring is full after {full} tokens");
    let mut session = Session::open(engine, options).unwrap();
    let memory = session.memory();
    let mut numbers = Numbers::new(13);
    let mut resident_at_first = None;
    while session.position() < TOKENS {
        let left = (TOKENS - session.position()) as usize;
        // The last thousand one by one, as in decode.
        let most = if left <= 1000 { 1 } else { [1, 5, 100, 1000][numbers.below(4)] };
        let count = (1 + numbers.below(most)).min(left);
        let vocab = internals::spec(engine.model()).vocab;
        session.feed(&numbers.tokens(count, vocab)).unwrap();
        let position = session.position();
        assert!(session.logits().unwrap().iter().all(|x| x.is_finite()), "at {position}");
        if position > full {
            assert!(rows.contains(&session.ring().0), "{}", session.ring().0);
            resident_at_first.get_or_insert_with(resident);
        }
    }
    let grown = resident().saturating_sub(resident_at_first.unwrap());
    assert!(grown <= 1 << 20, "{grown} bytes more are resident");
    assert_eq!(session.memory(), memory);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_over_a_million_tokens() {
    let _turn = alone();
    let sizes = Sizes { layers: 1, d: 32, ffn: 32, chunk: 8, window: 8, ..Sizes::default() };
    let engine = sizes.engine(1, 1);
    for (eviction, kv) in [(Eviction::Drop, KvType::F16), (Eviction::Thin, KvType::I8)] {
        let budget = Budget::Bytes(32 << 10);
        let options = Options::default().with_budget(budget).with_kv(kv).with_eviction(eviction);
        let session = Session::open(&engine, options).unwrap();
        assert!(session.memory().state <= 32 << 10);
        let ring = session.ring().1;
        let least = if eviction == Eviction::Drop { ring } else { 3 * ring / 4 - 1 };
        assert_flat(&engine, options, 8 * (ring as u64 + 2), least..=ring);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_by_head_stays_flat_over_a_million_tokens() {
    let _turn = alone();
    let mut file = Sizes { architecture: "llama", layers: 1, ffn: 32, ..Sizes::default() }.file(1);
    file.set("llama.memory.far_heads", Meta::U32s(vec![2]));
    file.set("llama.memory.near_window", Meta::U32(50));
    let model = Arc::new(open(file.bytes()).unwrap());
    let engine = Engine::cpu(model, &EngineOptions::default().with_threads(1)).unwrap();
    let (budget, horizon) = (Budget::Bytes(8 << 10), Some(150));
    let options = Options::default().with_budget(budget).with_horizon(horizon);
    let far = internals::geometry_of(&Session::open(&engine, options).unwrap()).far.unwrap();
    assert_flat(&engine, options, far.ring as u64 + 2, far.ring..=far.ring);
}

/// Filled in one step, or fed token by token: as far along, as large, and ready to continue.
#[test]
fn a_filled_session_is_where_a_fed_one_is() {
    for sizes in [Sizes::default(), Sizes { architecture: "llama", ..Sizes::default() }] {
        for tokens in [0, 1, 30, 700] {
            let [mut fed, mut filled] = [0, 1].map(|_| session(&sizes, states(40)));
            fed.feed(&Numbers::new(5).tokens(tokens, sizes.vocab)).unwrap();
            filled.fill(tokens as u64).unwrap();
            assert!(no_logits(&mut filled));
            for _ in 0..2 {
                assert_eq!(filled.position(), fed.position());
                assert_eq!(filled.ring().0, fed.ring().0);
                assert_eq!(filled.memory().state, fed.memory().state);
                fed.feed(&[1, 2, 3]).unwrap();
                filled.feed(&[1, 2, 3]).unwrap();
            }
            assert!(filled.logits().unwrap().iter().all(|x| x.is_finite()));
        }
    }
    let mut session = session(&Sizes::default(), states(40));
    session.feed(&[1, 2, 3]).unwrap();
    let e = session.fill(2).unwrap_err();
    assert!(matches!(e, Error::Argument(_)) && e.to_string().contains("3 tokens"), "{e}");
    assert_eq!(session.position(), 3);
}
