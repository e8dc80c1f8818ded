//! Chats on the bundled model: read ahead, kept, forked, paused and made smaller.

use attamba::Error;
use attamba::conversation::{Conversation, Language, Outcome};
use attamba::engine::Engine;
use attamba::engine::cpu::Cpu;
use attamba::model::Model;
use attamba::sample::{Sampler, Sampling};
use attamba::session::{Budget, Options, Session};
use attamba::text::{ChatTemplate, TextSource, Tokenizer};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// The bundled model: the one .gguf that lies in models/ itself.
fn bundled() -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models = files.filter(|path| path.extension().is_some_and(|e| e == "gguf"));
    models.next().expect("a model in models/")
}

struct Fixture {
    engine: Arc<dyn Engine>,
    language: Language,
}

impl Fixture {
    fn new() -> Fixture {
        let model = Arc::new(Model::read(bundled()).unwrap());
        let tokenizer = Tokenizer::new(&TextSource::from_gguf(model.gguf()).unwrap()).unwrap();
        let template = model.gguf().str("tokenizer.chat_template").unwrap();
        let template = ChatTemplate::for_tokenizer(template, &tokenizer).unwrap();
        let language = Language { tokenizer: Arc::new(tokenizer), template: Arc::new(template) };
        Fixture { engine: Arc::new(Cpu::new(model, Some(2)).unwrap()), language }
    }

    fn chat(&self, instruction: Option<&str>) -> Conversation {
        let options = Options { budget: Budget::States(1024), ..Options::default() };
        let session = Session::open(Arc::clone(&self.engine), options).unwrap();
        let sampler = Sampler::new(Sampling::greedy()).unwrap();
        Conversation::new(session, sampler, self.language.clone(), instruction.map(str::to_owned))
    }
}

/// The answer to a message, of at most a dozen tokens.
fn answer(chat: &mut Conversation, message: &str) -> String {
    let mut text = String::new();
    chat.answer(message, 12, &mut |piece| {
        text.push_str(piece);
        true
    })
    .unwrap();
    text
}

#[test]
fn an_instruction_that_was_read_ahead_answers_alike() {
    let fixture = Fixture::new();
    let instruction = "The sky is green. The grass is blue.";
    let want = answer(&mut fixture.chat(Some(instruction)), "What is green?");

    let mut ahead = fixture.chat(Some(instruction));
    ahead.prepare().unwrap();
    let read = ahead.session().position();
    assert!(read > 0);
    ahead.prepare().unwrap();
    assert_eq!(ahead.session().position(), read, "a second time there is nothing to read");
    assert_eq!(answer(&mut ahead, "What is green?"), want);
    let prompt = ahead.speed().0.tokens as u64;
    assert_eq!(ahead.session().position(), read + prompt + ahead.speed().1.tokens as u64);
}

#[test]
fn tokens_of_an_instruction_that_was_read_ahead_are_recent() {
    let fixture = Fixture::new();
    let sampling = Sampling::greedy().with_presence_penalty(2.0).with_repeat_last(1000);
    let chat = || {
        let mut chat =
            fixture.chat(Some("Say the word garden, the word garden, and nothing else."));
        chat.set_sampler(Sampler::new(sampling.clone()).unwrap());
        chat
    };
    let want = answer(&mut chat(), "What is green?");
    let mut ahead = chat();
    ahead.prepare().unwrap();
    let recent = ahead.into_parts().1.recent();
    assert!(!recent.is_empty());
    let mut ahead = chat();
    ahead.prepare().unwrap();
    assert_eq!(answer(&mut ahead, "What is green?"), want);
}

#[test]
fn a_chat_goes_on_from_a_snapshot_and_in_a_fork() {
    let fixture = Fixture::new();
    let mut chat = fixture.chat(None);
    answer(&mut chat, "Hello!");
    let snapshot = chat.snapshot().unwrap();
    let mut fork = chat.fork().unwrap();
    assert!(snapshot.bytes() > 0);

    let want = answer(&mut chat, "And then?");
    assert_eq!(answer(&mut fork, "And then?"), want);
    assert_eq!(chat.messages(), fork.messages());
    answer(&mut chat, "Something else.");
    chat.rewind(&snapshot).unwrap();
    assert_eq!(chat.messages().len(), 2);
    assert_eq!(answer(&mut chat, "And then?"), want);
}

#[test]
fn recent_tokens_outlive_files_snapshots_and_a_message_taken_back() {
    let fixture = Fixture::new();
    let sampling = Sampling::greedy().with_repeat_penalty(1.5).with_repeat_last(40);
    let sampler = Sampler::new(sampling).unwrap();
    let begun = || {
        let mut chat = fixture.chat(None);
        chat.set_sampler(sampler.clone());
        answer(&mut chat, "Tell me about a cat.");
        chat
    };
    let again = "Tell me about a cat once more.";
    let want = answer(&mut begun(), again);
    let mut forgetful = begun();
    forgetful.set_sampler(sampler.clone());
    assert_eq!(answer(&mut forgetful, again), want, "a change of sampling");

    let mut chat = begun();
    let snapshot = chat.snapshot().unwrap();
    answer(&mut chat, "What about a dog and a bird?");
    assert!(chat.undo().unwrap());
    assert_eq!(answer(&mut chat, again), want, "a message taken back");
    chat.rewind(&snapshot).unwrap();
    assert_eq!(answer(&mut chat, again), want, "a snapshot");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat");
    begun().save(&file).unwrap();
    let (engine, language) = (Arc::clone(&fixture.engine), fixture.language.clone());
    let mut resumed = Conversation::resume(engine, &file, sampler.clone(), language).unwrap();
    assert_eq!(answer(&mut resumed, again), want, "a file");
}

#[test]
fn a_chat_can_be_made_smaller_between_and_within_answers() {
    let fixture = Fixture::new();
    let mut chat = fixture.chat(None);
    for _ in 0..3 {
        answer(&mut chat, "Tell me a story about a bird.");
    }
    let before = chat.session().memory().state;
    chat.shrink(before / 2).unwrap();
    assert!(chat.session().memory().state <= before / 2);
    assert_eq!(chat.checkpoint_bytes(), 0);
    assert!(chat.undo().unwrap(), "without snapshots it is read anew");

    let request = chat.shrink_handle();
    let mut pieces = 0;
    chat.answer("More.", 12, &mut |_| {
        if pieces == 0 {
            request.request(before / 4);
        }
        pieces += 1;
        true
    })
    .unwrap();
    assert!(pieces > 1, "the answer is too short to see anything");
    assert!(chat.session().memory().state <= before / 4);
    assert!(chat.undo().unwrap());
    answer(&mut chat, "More.");
    assert!(matches!(chat.shrink(1), Err(Error::Budget { .. })));
}

#[test]
fn nothing_is_computed_while_a_chat_is_paused() {
    let fixture = Fixture::new();
    let mut chat = fixture.chat(None);
    answer(&mut chat, "Hello!");
    let (pause, cancel) = (chat.pause_handle(), chat.cancel_handle());
    let pieces = AtomicUsize::new(0);
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            chat.answer("Tell me a story.", usize::MAX, &mut |_| {
                pieces.fetch_add(1, Ordering::Relaxed);
                true
            })
        });
        while pieces.load(Ordering::Relaxed) == 0 && !working.is_finished() {
            thread::yield_now();
        }
        pause.pause();
        // The text of a token that was computed before may still be on its way.
        thread::sleep(Duration::from_millis(20));
        let still = pieces.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(pieces.load(Ordering::Relaxed), still);
        cancel.cancel();
        let outcome = working.join().unwrap().unwrap();
        assert!(matches!(outcome, Outcome::Stopped | Outcome::Ended), "{outcome:?}");
    });
    assert!(matches!(chat.snapshot(), Err(Error::Paused)));
    pause.resume();
    answer(&mut chat, "Go on.");
}

#[test]
fn a_model_is_read_ahead_until_somebody_says_no() {
    let model = Model::read(bundled()).unwrap();
    let size = std::fs::metadata(bundled()).unwrap().len();
    let mut last = 0;
    model
        .preload(&mut |read, all| {
            assert!(read > last && all == size);
            last = read;
            true
        })
        .unwrap();
    assert_eq!(last, size);
    assert!(matches!(model.preload(&mut |_, _| false), Err(Error::Cancelled)));
}
