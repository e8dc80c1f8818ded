//! GPUs lost in the middle of work, and what continues: chats automatically, sessions once their
//! memory is restored. A software Vulkan driver is enough.
#![cfg(feature = "gpu")]

mod common;

use attamba::Adapter;
use attamba::Error;
use attamba::conversation::Conversation;
use attamba::internals::{self, OrCpu};
use attamba::internals::{Driver, Gpu};
use attamba::model::Model;
use attamba::sample::{Sampler, Sampling};
use attamba::session::{Budget, Control, Finish, Options, Session, Snapshot};
use attamba::text::Language;
use attamba::{Engine, EngineOptions, KvType};
use common::models::{Meta, Numbers, Sizes, open};
use log::{LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

/// Chats of the bundled model, which has a template.
struct Chats {
    model: Arc<Model>,
    language: Language,
}

impl Chats {
    fn new() -> Chats {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let model = Arc::new(Model::read(folder.join("attamba-stories.gguf")).unwrap());
        let language = Language::from_model(&model).unwrap();
        Chats { model, language }
    }

    fn on(&self, engine: &Engine) -> Conversation {
        let options = Options::default().with_budget(Budget::States(512));
        let session = Session::open(engine, options).unwrap();
        let sampler = Sampler::new(Sampling::greedy()).unwrap();
        Conversation::new(session, sampler, self.language.clone(), None)
    }

    fn cpu(&self) -> Engine {
        Engine::cpu(Arc::clone(&self.model), &EngineOptions::default().with_threads(2)).unwrap()
    }

    /// The first adapter, which can be lost, with the CPU in reserve.
    fn gpu_or_cpu(&self) -> (Driver, Engine) {
        gpu_or_cpu(&self.model)
    }
}

fn gpu_or_cpu(model: &Arc<Model>) -> (Driver, Engine) {
    let driver = Driver::open(&Adapter::find(None).unwrap(), &EngineOptions::default()).unwrap();
    let gpu = Gpu::new(Arc::clone(model), &driver).unwrap();
    (driver, internals::engine(OrCpu::new(gpu, EngineOptions::default().with_threads(2))))
}

/// Answers with at most a dozen tokens; `each` gets the number of the piece.
fn answer(chat: &mut Conversation, message: &str, mut each: impl FnMut(usize)) -> Finish {
    let mut pieces = 0;
    chat.answer(message, 12, &mut |_| {
        each(pieces);
        pieces += 1;
        true
    })
    .unwrap()
}

fn is_on_cpu(chat: &Conversation) -> bool {
    chat.session().engine().describe().starts_with("CPU")
}

const QUESTIONS: [&str; 3] = ["Tell me a story about a bird.", "And then?", "How did it end?"];

/// The answers when nothing is lost.
fn undisturbed(chats: &Chats) -> Conversation {
    let mut chat = chats.on(&chats.cpu());
    for question in QUESTIONS {
        answer(&mut chat, question, |_| {});
    }
    chat
}

#[test]
fn a_chat_goes_on_when_its_gpu_is_lost_between_answers() {
    let chats = Chats::new();
    let want = undisturbed(&chats);
    for lost_before in 0..QUESTIONS.len() {
        let (driver, engine) = chats.gpu_or_cpu();
        let mut chat = chats.on(&engine);
        for (number, question) in QUESTIONS.into_iter().enumerate() {
            if number == lost_before {
                driver.lose();
            }
            answer(&mut chat, question, |_| {});
            assert_eq!(is_on_cpu(&chat), number >= lost_before);
        }
        assert_eq!(chat.messages(), want.messages(), "lost before answer {lost_before}");
        assert!(chat.undo().unwrap());
        answer(&mut chat, QUESTIONS[2], |_| {});
        assert_eq!(chat.messages(), want.messages(), "once more after {lost_before}");
    }
}

#[test]
fn a_chat_goes_on_when_its_gpu_is_lost_in_the_middle_of_an_answer() {
    let chats = Chats::new();
    let want = undisturbed(&chats);
    for (lost_in, lost_at) in [(0, 0), (0, 5), (1, 3), (2, 0)] {
        let (driver, engine) = chats.gpu_or_cpu();
        let mut chat = chats.on(&engine);
        for (number, question) in QUESTIONS.into_iter().enumerate() {
            let outcome = answer(&mut chat, question, |piece| {
                if (number, piece) == (lost_in, lost_at) {
                    driver.lose();
                }
            });
            assert!(matches!(outcome, Finish::End | Finish::Limit), "{outcome:?}");
        }
        assert!(is_on_cpu(&chat));
        assert_eq!(chat.messages(), want.messages(), "lost in answer {lost_in} at {lost_at}");
    }
}

#[test]
fn a_chat_is_saved_and_copied_when_its_gpu_is_lost() {
    let chats = Chats::new();
    let want = undisturbed(&chats);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat");
    for turns in [1, 2] {
        let begun = |driver: &Driver, engine: &Engine| {
            let mut chat = chats.on(engine);
            for question in &QUESTIONS[..turns] {
                answer(&mut chat, question, |_| {});
            }
            driver.lose();
            chat
        };
        let go_on = |mut chat: Conversation| {
            for question in &QUESTIONS[turns..] {
                answer(&mut chat, question, |_| {});
            }
            assert_eq!(chat.messages(), want.messages(), "after {turns} turns");
        };
        let (driver, engine) = chats.gpu_or_cpu();
        begun(&driver, &engine).save(&path).unwrap();
        // A new chat of the lost engine runs on the CPU.
        let sampler = Sampler::new(Sampling::greedy()).unwrap();
        let language = chats.language.clone();
        go_on(Conversation::resume(&engine, &path, sampler, language).unwrap());

        let (driver, engine) = chats.gpu_or_cpu();
        let mut chat = begun(&driver, &engine);
        let snapshot = chat.snapshot().unwrap();
        go_on(chat.fork().unwrap());
        answer(&mut chat, "Something else.", |_| {});
        chat.rewind(&snapshot).unwrap();
        go_on(chat);
    }
}

thread_local! {
    /// What is cancelled when this thread logs that tokens are processed again.
    static WHEN_RESTARTED: RefCell<Option<Control>> = const { RefCell::new(None) };
}

/// Sees it in the log, on the thread that does it.
struct Listener;

impl Log for Listener {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        if record.args().to_string().contains("processed again") {
            WHEN_RESTARTED.take().inspect(Control::cancel);
        }
    }

    fn flush(&self) {}
}

fn cancel_when_restarted(cancel: Control) {
    // Fails if another test has set it.
    let _ = log::set_logger(&Listener);
    log::set_max_level(LevelFilter::Info);
    WHEN_RESTARTED.set(Some(cancel));
}

#[test]
fn a_cancel_while_the_chat_is_read_again_leaves_it_whole() {
    let chats = Chats::new();
    let (driver, engine) = chats.gpu_or_cpu();
    let mut chat = chats.on(&engine);
    let cancel = chat.session().control();
    // Several blocks, so that there is a place to stop at.
    let long = "The bird was blue. ".repeat(100);
    let outcome = answer(&mut chat, &long, |piece| {
        if piece == 3 {
            driver.lose();
            cancel_when_restarted(cancel.clone());
        }
    });
    assert_eq!(outcome, Finish::Cancelled);
    assert!(is_on_cpu(&chat));
    let messages = chat.messages().to_vec();
    assert_eq!(messages.len(), 2);
    answer(&mut chat, "And then?", |_| {});

    let mut want = chats.on(&chats.cpu());
    let mut said = String::new();
    want.answer(&*long, 12, &mut |piece| {
        said.push_str(piece);
        said.trim() != messages[1].content.trim()
    })
    .unwrap();
    answer(&mut want, "And then?", |_| {});
    assert_eq!(chat.messages(), want.messages());
}

#[test]
fn a_session_says_that_its_memory_is_lost_and_goes_on_with_another() {
    goes_on_with_another(&Sizes::default().model(5));
}

#[test]
fn a_session_with_heads_that_see_far_goes_on_with_another() {
    let mut file = Sizes::default().file(5);
    file.set("attamba.memory.far_heads", Meta::U32s(vec![5, 1, 2]));
    goes_on_with_another(&Arc::new(open(file.bytes()).unwrap()));
}

fn goes_on_with_another(model: &Arc<Model>) {
    let (driver, engine) = gpu_or_cpu(model);
    let cpu = Engine::cpu(Arc::clone(model), &EngineOptions::default().with_threads(1)).unwrap();
    let options =
        Options::default().with_budget(Budget::States(9)).with_kv(KvType::F32).with_chunk(8);
    let tokens = Numbers::new(9).tokens(40, model.sizes().vocab);
    let mut session = Session::open(&engine, options).unwrap();
    session.set_chunk(4).unwrap();
    let cancel = session.control();
    session.feed(&tokens[..20]).unwrap();
    let snapshot = session.snapshot().unwrap();
    let mut other = Session::open(&engine, options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session");
    session.save(&file, b"whole").unwrap();
    driver.lose();
    assert!(matches!(session.save(&file, b"half"), Err(Error::DeviceLost(_))));
    let (kept, note) = Session::resume(&cpu, &file).unwrap();
    assert_eq!((kept.position(), &note[..]), (20, &b"whole"[..]));
    for session in [&mut session, &mut other] {
        // Its memory can't be restored from anywhere, and must not be missing silently.
        for _ in 0..2 {
            let result = session.feed(&tokens[20..]);
            assert!(matches!(result, Err(Error::DeviceLost(_))), "{result:?}");
        }
    }
    let mut want = Session::open(&cpu, options).unwrap();
    want.set_chunk(4).unwrap();
    want.feed(&tokens).unwrap();
    session.rewind(&snapshot).unwrap();
    session.feed(&tokens[20..]).unwrap();
    let off = |got: &[f32], want: &[f32]| {
        got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max)
    };
    assert!(off(session.logits().unwrap(), want.logits().unwrap()) < 1e-3, "after a rewind");
    cancel.cancel();
    session.reset();
    assert!(matches!(session.feed(&tokens), Err(Error::Cancelled)));
    session.feed(&tokens).unwrap();
    assert_eq!(session.logits().unwrap(), want.logits().unwrap(), "chunks of 4 tokens stay");

    other.reset();
    other.feed(&tokens[..20]).unwrap();
    assert_eq!(other.position(), 20);
    let new = Session::open(&engine, options).unwrap();
    assert_eq!(new.engine().describe(), other.engine().describe());
}

/// A snapshot, and the tokens before it.
struct Kept {
    snapshot: Option<Snapshot>,
    tokens: Vec<u32>,
}

impl attamba::internals::History for Kept {
    fn tokens(&self) -> attamba::Result<Vec<u32>> {
        Ok(self.tokens.clone())
    }

    fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }
}

#[test]
fn a_session_with_a_history_goes_on_by_itself() {
    let model = Sizes::default().model(5);
    let options = Options::default().with_budget(Budget::States(40)).with_kv(KvType::F32);
    let tokens = Numbers::new(9).tokens(700, model.sizes().vocab);
    let cpu = Engine::cpu(Arc::clone(&model), &EngineOptions::default().with_threads(1)).unwrap();
    let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
    let generate = |session: &mut Session, sampler: &mut Sampler, lose: &dyn Fn(usize)| {
        let mut generated = Vec::new();
        let finish = session.generate(
            sampler,
            9,
            |_| false,
            |token| {
                generated.push(token);
                lose(generated.len());
                true
            },
        );
        (finish.unwrap(), generated)
    };
    let mut want = Session::open(&cpu, options).unwrap();
    want.feed(&tokens).unwrap();
    let (_, text) = generate(&mut want, &mut sampler, &|_| {});

    // Lost in a feed, in a generation, and in one whose session was shrunk since the snapshot.
    for (with_snapshot, lost_at, smaller) in
        [(true, 0, false), (false, 0, false), (true, 4, false), (true, 4, true)]
    {
        let (driver, engine) = gpu_or_cpu(&model);
        let mut session = Session::open(&engine, options).unwrap();
        session.feed(&tokens[..600]).unwrap();
        let snapshot = with_snapshot.then(|| session.snapshot().unwrap());
        internals::set_history(&mut session, Kept { snapshot, tokens: tokens[..600].to_vec() });
        if smaller {
            session.shrink(session.memory().state - 1).unwrap();
        }
        session.feed(&tokens[600..650]).unwrap();
        if lost_at == 0 {
            driver.lose();
        }
        session.feed(&tokens[650..]).unwrap();
        let lose = |n| {
            if n == lost_at {
                driver.lose();
            }
        };
        let (finish, generated) = generate(&mut session, &mut sampler, &lose);
        assert_eq!(finish, Finish::Limit);
        assert!(session.engine().describe().starts_with("CPU"));
        assert_eq!(session.position(), 709);
        if !smaller {
            assert_eq!(generated, text, "{with_snapshot}, lost at {lost_at}");
        }
    }

    // Cancelled midway: the next call processes the rest.
    let (driver, engine) = gpu_or_cpu(&model);
    let mut session = Session::open(&engine, options).unwrap();
    internals::set_history(&mut session, || Ok(Vec::new()));
    session.feed(&tokens).unwrap();
    driver.lose();
    cancel_when_restarted(session.control());
    let finish = session.generate(&mut sampler, 1, |_| false, |_| panic!("of what?"));
    assert_eq!(finish.unwrap(), Finish::Cancelled);
    assert_eq!(session.position(), 700);
    assert_eq!(generate(&mut session, &mut sampler, &|_| {}).1, text);
    session.reset();
    session.feed(&tokens[..5]).unwrap();
    assert_eq!(session.position(), 5);
}
