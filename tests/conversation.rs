//! Chats on the bundled model: prefilled, kept, forked, paused and shrunk.

use attamba::Error;
use attamba::conversation::Conversation;
use attamba::internals::{self, ChatTemplate};
use attamba::memory::Estimate;
use attamba::model::Model;
use attamba::sample::{Sampler, Sampling};
use attamba::session::{Budget, Finish, Options, Session};
use attamba::text::{Language, Message, Tokenizer};
use attamba::{Engine, EngineOptions, KvType};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    engine: Engine,
    language: Language,
}

impl Fixture {
    fn new() -> Fixture {
        let model = Arc::new(Model::read(bundled()).unwrap());
        let language = Language::from_model(&model).unwrap();
        Fixture {
            engine: Engine::cpu(model, &EngineOptions::default().with_threads(2)).unwrap(),
            language,
        }
    }

    fn chat(&self, instruction: Option<&str>) -> Conversation {
        let options = Options::default().with_budget(Budget::States(1024));
        let session = Session::open(&self.engine, options).unwrap();
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

/// A turn costs what is new in it, and is fed what the template writes for the whole chat.
#[test]
fn a_turn_of_a_long_chat_is_written_as_the_whole_chat() {
    let mut fixture = Fixture::new();
    let model = Arc::clone(fixture.engine.model());
    let tokenizer = || Tokenizer::from_gguf(model.gguf()).unwrap();
    let numbered = "{% for m in messages %}[{{ loop.index }}]{{ m.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}[{{ messages|length + 1 }}]{% endif %}";
    for (template, instruction) in [(None, None), (None, Some("Be kind.")), (Some(numbered), None)]
    {
        let template = ChatTemplate::for_tokenizer(template, &tokenizer());
        fixture.language = internals::language(tokenizer(), template);
        let mut chat = fixture.chat(instruction);
        let mut fed = String::new();
        for turn in 0..12 {
            let message = format!("Hello {}", "you ".repeat(turn % 3));
            let text = answer(&mut chat, &message);
            let messages = &chat.messages()[..chat.messages().len() - 1];
            let whole = internals::turn(&fixture.language.chat().unwrap(), messages, &fed).unwrap();
            assert_eq!(whole.restart, turn == 0, "{turn} {messages:?}");
            assert_eq!(chat.speed().0.tokens, whole.tokens.len(), "turn {turn}");
            fed = whole.text + &text;
        }
    }
}

#[test]
fn a_long_chat_forgets_its_oldest_messages_and_goes_on_alike() {
    let fixture = Fixture::new();
    for instruction in [None, Some("Be kind.")] {
        let [mut bounded, mut whole] = [fixture.chat(instruction), fixture.chat(instruction)];
        bounded.set_most_text(600);
        for turn in 0..30 {
            let message = format!("Hello, it is number {turn}.");
            assert_eq!(answer(&mut bounded, &message), answer(&mut whole, &message), "{turn}");
            // What is fed does not depend on what was forgotten.
            assert_eq!(bounded.speed().0.tokens, whole.speed().0.tokens, "{turn}");
            assert_eq!(bounded.session().position(), whole.session().position(), "{turn}");
        }
        let (few, all) = (bounded.messages(), whole.messages());
        let first = usize::from(instruction.is_some()) + 2;
        assert!(few.len() < all.len() / 2, "{} of {}", few.len(), all.len());
        assert_eq!(few[..first], all[..first]);
        assert_eq!(few[first..], all[all.len() - few.len() + first..]);
        let text: usize = few.iter().map(|m| m.content.len()).sum();
        assert!(text <= 600, "{text} bytes of messages");

        // Back by turns that are kept as snapshots, and forward again.
        for chat in [&mut bounded, &mut whole] {
            assert!(chat.undo().unwrap() && chat.undo().unwrap());
        }
        assert_eq!(bounded.session().position(), whole.session().position());
        assert_eq!(answer(&mut bounded, "And now?"), answer(&mut whole, "And now?"));

        // Past those, what is left is processed again.
        while bounded.messages().len() > first + 2 {
            assert!(bounded.undo().unwrap());
        }
        answer(&mut bounded, "Still there?");
        assert_eq!(bounded.messages().len(), first + 4);
    }
}

#[test]
fn tokens_of_an_instruction_that_was_read_ahead_are_recent() {
    let fixture = Fixture::new();
    let mut sampling = Sampling::greedy();
    sampling.presence_penalty = 2.0;
    sampling.repeat_last = 1000;
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
    let mut sampling = Sampling::greedy();
    sampling.repeat_penalty = 1.5;
    sampling.repeat_last = 40;
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
    let (engine, language) = (&fixture.engine, fixture.language.clone());
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
    assert!(chat.undo().unwrap(), "without snapshots it is processed again");

    let request = chat.session().control();
    let mut pieces = 0;
    chat.answer("More.", 12, &mut |_| {
        if pieces == 0 {
            request.shrink(before / 4);
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

/// A system asks for memory when an application is in the background, where it is paused.
#[test]
fn a_paused_chat_gives_memory_back() {
    let fixture = Fixture::new();
    let mut chat = fixture.chat(None);
    answer(&mut chat, "Tell me a story about a bird.");
    let before = chat.session().memory().state;
    let control = chat.session().control();
    control.pause();
    chat.shrink(before / 2).unwrap();
    assert!(chat.session().memory().state <= before / 2);
    assert!(matches!(chat.shrink(1), Err(Error::Budget { .. })));
    control.resume();
    answer(&mut chat, "More.");
}

#[test]
fn nothing_is_computed_while_a_chat_is_paused() {
    let fixture = Fixture::new();
    let mut chat = fixture.chat(None);
    answer(&mut chat, "Hello!");
    let (pause, cancel) = (chat.session().control(), chat.session().control());
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
        assert!(matches!(outcome, Finish::Cancelled | Finish::End), "{outcome:?}");
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

#[test]
fn an_answer_in_pieces_is_the_answer() {
    let fixture = Fixture::new();
    let mut chat = fixture.chat(None);
    let want = answer(&mut chat, "Tell me a story about a bird.");
    let then = answer(&mut chat, "And then?");

    let mut pieces = fixture.chat(None);
    let mut said = String::new();
    let mut running = pieces.answer_pieces("Tell me a story about a bird.", 12).unwrap();
    for piece in running.by_ref() {
        let piece = piece.unwrap();
        assert!(!piece.is_empty());
        said += &piece;
    }
    assert_eq!(running.finish(), Some(Finish::Limit));
    drop(running);
    assert_eq!(said, want);
    assert_eq!(answer(&mut pieces, "And then?"), then);
    assert_eq!(pieces.messages(), chat.messages());

    // One that is dropped midway counts as far as it has come.
    let mut chat = fixture.chat(None);
    let some: Vec<String> = chat
        .answer_pieces("Tell me a story about a bird.", 12)
        .unwrap()
        .take(3)
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(chat.messages().len(), 2);
    assert_eq!(chat.messages()[1].content.trim(), some.concat().trim());
    let position = chat.session().position();
    assert_eq!(chat.speed().1.tokens as u64 + chat.speed().0.tokens as u64, position);
    answer(&mut chat, "And then?");
    let (prompt, answered) = chat.speed();
    assert_eq!(
        chat.session().position(),
        position + (prompt.tokens + answered.tokens) as u64,
        "what came before is not processed again"
    );
}

#[test]
fn the_text_of_a_session_in_pieces_is_that_of_its_tokens() {
    let fixture = Fixture::new();
    let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
    let open = || {
        let options = Options::default().with_budget(Budget::States(1024));
        let mut session = Session::open(&fixture.engine, options).unwrap();
        session.feed(&fixture.language.begin("Once upon a time", false).unwrap()).unwrap();
        session
    };
    let tokenizer = fixture.language.tokenizer();
    let (mut session, mut tokens) = (open(), Vec::new());
    session
        .generate(
            &mut sampler,
            20,
            |token| tokenizer.is_end(token),
            |token| {
                tokens.push(token);
                true
            },
        )
        .unwrap();
    let mut other = open();
    let mut pieces = other.pieces(&mut sampler, &fixture.language, 20);
    let text: String = pieces.by_ref().map(Result::unwrap).collect();
    assert_eq!(pieces.finish(), Some(Finish::Limit));
    drop(pieces);
    assert_eq!(text, tokenizer.decode(&tokens));
    assert_eq!(other.position(), session.position());

    let cancel = other.control();
    let mut pieces = other.pieces(&mut sampler, &fixture.language, 20);
    pieces.next().unwrap().unwrap();
    cancel.cancel();
    assert!(pieces.next().is_none());
    assert_eq!(pieces.finish(), Some(Finish::Cancelled));
}

/// A chat that was kept elsewhere continues as the one that it was, and one whose instruction has
/// changed as if it had always had the new one.
#[test]
fn a_chat_begins_from_messages() {
    let fixture = Fixture::new();
    let mut first = fixture.chat(Some("Tell of a cat."));
    answer(&mut first, "Tell me a story.");
    answer(&mut first, "And then?");
    let want = |messages: &[Message]| {
        // Everything as one prompt.
        let options = Options::default().with_budget(Budget::States(1024));
        let mut session = Session::open(&fixture.engine, options).unwrap();
        let mut messages = messages.to_vec();
        messages.push(Message::user("Why?"));
        let tokens = fixture.language.chat().unwrap().encode(&messages, true).unwrap();
        session.feed(&tokens).unwrap();
        let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
        let pieces = session.pieces(&mut sampler, &fixture.language, 12);
        pieces.map(Result::unwrap).collect::<String>()
    };
    let mut messages = first.messages().to_vec();
    let mut second = fixture.chat(None);
    second.begin(messages.clone()).unwrap();
    assert_eq!(second.messages(), &messages[..]);
    let processed = second.session().position();
    assert_eq!(
        processed,
        fixture.language.chat().unwrap().encode(&messages, false).unwrap().len() as u64
    );
    assert_eq!(answer(&mut second, "Why?"), want(&messages));
    assert!(second.speed().0.tokens < processed as usize, "only what is new");

    messages[0].content = "Tell of a dog.".to_owned();
    second.begin(messages.clone()).unwrap();
    assert_eq!(answer(&mut second, "Why?"), want(&messages));
    assert_eq!(second.messages()[0].content, "Tell of a dog.");
    second.reset();
    assert_eq!(second.messages(), &messages[..1]);
}

#[test]
fn a_template_may_refuse_messages_and_the_chat_stays() {
    let fixture = Fixture::new();
    let model = fixture.engine.model();
    let strict = "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}\
        {% endif %}{{ m.content }}{% endfor %}";
    let language = Language::with_template(model, strict).unwrap();
    let session = Session::open(&fixture.engine, Options::default()).unwrap();
    let sampler = Sampler::new(Sampling::greedy()).unwrap();
    let mut chat = Conversation::new(session, sampler, language, None);
    answer(&mut chat, "Hello!");
    let (messages, position) = (chat.messages().to_vec(), chat.session().position());
    let refused = chat.begin(vec![Message::new("tool", "7")]).unwrap_err();
    assert!(refused.to_string().contains("no tools"), "{refused}");
    assert_eq!((chat.messages(), chat.session().position()), (&messages[..], position));
}

#[test]
fn checkpoints_stay_within_their_limit() {
    let fixture = Fixture::new();
    let mut chat = fixture.chat(None);
    for turn in 0..4 {
        answer(&mut chat, &format!("Number {turn}."));
    }
    let all = chat.checkpoint_bytes();
    chat.set_most_checkpoints(all / 2);
    let half = chat.checkpoint_bytes();
    assert!((1..=all / 2).contains(&half), "{half} of {all}");
    for turn in 0..4 {
        answer(&mut chat, &format!("Number {turn}."));
        assert!(chat.checkpoint_bytes() <= all / 2);
    }
    assert_eq!(chat.fork().unwrap().checkpoint_bytes(), 0);
    chat.set_most_checkpoints(0);
    answer(&mut chat, "One more.");
    assert_eq!(chat.checkpoint_bytes(), 0);
    let want = chat.messages()[..chat.messages().len() - 2].to_vec();
    assert!(chat.undo().unwrap());
    assert_eq!(chat.messages(), &want[..]);
    assert!(!answer(&mut chat, "One more.").is_empty());
}

/// What ends an answer is in neither the answer nor the chat, in whatever tokens it came.
#[test]
fn a_stop_text_is_removed_from_the_answer_and_from_the_chat() {
    let fixture = Fixture::new();
    let instruction = Some("Tell of a cat.");
    let story = |chat: &mut Conversation| {
        let mut pieces = Vec::new();
        let finish = chat.answer("Tell me a story.", 60, &mut |piece| {
            pieces.push(piece.to_owned());
            true
        });
        (pieces, finish.unwrap())
    };
    let (pieces, _) = story(&mut fixture.chat(instruction));
    let whole = pieces.concat();
    assert!(pieces.len() > 12, "{pieces:?}");
    // Within a piece, one piece, and across some.
    let at = |piece: usize| pieces[..piece].concat().len();
    let long = |piece: &usize| {
        pieces[*piece].len() > 1 && pieces[*piece..piece + 4].iter().all(|text| text.is_ascii())
    };
    let p = (1..pieces.len() - 4).find(long).expect("a piece of several letters among others");
    for (from, to) in
        [(at(p) + 1, at(p + 1)), (at(p), at(p + 1)), (at(p) + 1, at(p + 3) + 1), (0, 1)]
    {
        let stop = whole[from..to].to_owned();
        let want = &whole[..whole.find(&stop).unwrap()];
        let mut sampling = Sampling::greedy();
        sampling.stop = vec!["never".to_owned(), stop.clone()];
        let mut chat = fixture.chat(instruction);
        chat.set_sampler(Sampler::new(sampling).unwrap());
        for earlier in [false, true] {
            if earlier {
                // With a checkpoint to go back to.
                chat.set_sampler(Sampler::new(Sampling::greedy()).unwrap());
                chat.undo().unwrap();
                let mut sampling = Sampling::greedy();
                sampling.stop = vec![stop.clone()];
                chat.set_sampler(Sampler::new(sampling).unwrap());
            }
            let (pieces, finish) = story(&mut chat);
            assert_eq!((&*pieces.concat(), finish), (want, Finish::StopText), "{stop:?}");
            let last = chat.messages().last().unwrap();
            assert_eq!(last.content.trim(), want.trim());
        }
        chat.set_sampler(Sampler::new(Sampling::greedy()).unwrap());
        let mut other = fixture.chat(None);
        other.begin(chat.messages().to_vec()).unwrap();
        assert_eq!(answer(&mut chat, "And then?"), answer(&mut other, "And then?"), "{stop:?}");
    }
    let empty = Sampler::new({
        let mut sampling = Sampling::greedy();
        sampling.stop = vec![String::new()];
        sampling
    });
    assert!(empty.is_err());
}

#[test]
fn a_penalty_counts_what_was_read_ahead() {
    let fixture = Fixture::new();
    let instruction = "Tell of a cat. A cat is a cat, and the cat is here.";
    let mut sampling = Sampling::greedy();
    sampling.repeat_penalty = 1.5;
    sampling.repeat_last = 60;
    let begun = || {
        let mut chat = fixture.chat(Some(instruction));
        chat.set_sampler(Sampler::new(sampling.clone()).unwrap());
        chat
    };
    let want = answer(&mut begun(), "Tell me about a cat.");
    let mut ahead = begun();
    ahead.prepare().unwrap();
    assert_eq!(answer(&mut ahead, "Tell me about a cat."), want);
}

/// Cancelled before anything of the first answer was generated, a chat is kept and continues.
#[test]
fn a_chat_that_was_cancelled_in_its_first_prompt_is_kept() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat");
    let mut chat = fixture.chat(None);
    let want = answer(&mut chat, "Hello!");
    let mut chat = fixture.chat(None);
    let cancel = chat.session().control();
    let ended = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                cancel.cancel();
                thread::yield_now();
            }
        });
        let long = "The bird was blue. ".repeat(2000);
        let outcome = chat.answer(&*long, 12, &mut |_| panic!("no answer"));
        ended.store(true, Ordering::Relaxed);
        outcome
    });
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert!(chat.messages().is_empty());
    // One that came after the answer had ended.
    cancel.clear_cancel();
    chat.save(&file).unwrap();
    let sampler = Sampler::new(Sampling::greedy()).unwrap();
    let (engine, language) = (&fixture.engine, fixture.language.clone());
    let mut resumed = Conversation::resume(engine, &file, sampler, language).unwrap();
    for chat in [&mut chat, &mut resumed] {
        assert_eq!(answer(chat, "Hello!"), want);
    }
}

/// Set for the process whose memory is measured, by the test of that name.
#[cfg(target_os = "linux")]
const MEASURED: &str = "ATTAMBA_TEST_MEASURED";

/// A figure of this process, in bytes.
#[cfg(target_os = "linux")]
fn of_process(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kib: u64 =
        line.trim_matches([':', '\t', ' ']).strip_suffix(" kB").unwrap().parse().unwrap();
    kib << 10
}

/// Chats whose states are kept at every turn, and one that is too large for that: in both, peak RSS
/// matches the report, and in the first the estimate.
#[cfg(target_os = "linux")]
#[test]
fn the_peak_of_a_chat_is_what_was_estimated() {
    const NAME: &str = "the_peak_of_a_chat_is_what_was_estimated";
    if std::env::var_os(MEASURED).is_none() {
        // In a process of its own: the peak is that of a whole process.
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(MEASURED, "1")
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        return;
    }
    /// What the system's allocator and tables of pages add, and pages of buffers that no token needed.
    const TOLERANCE: u64 = 4 << 20;
    let fixture = Fixture::new();
    // The weights, and what is made once a process.
    answer(&mut fixture.chat(None), &"The bird was blue. ".repeat(80));
    for (states, sentences, turns) in [(300, 100, 12), (4096, 800, 3)] {
        let kv = KvType::F32;
        let options =
            Options::default().with_budget(Budget::States(states)).with_kv(kv).with_chunk(1);
        let estimate = Estimate::cpu(fixture.engine.model(), &options, 2).unwrap();
        let before = of_process("VmRSS");
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let session = Session::open(&fixture.engine, options).unwrap();
        let sampler = Sampler::new(Sampling::greedy()).unwrap();
        let mut chat = Conversation::new(session, sampler, fixture.language.clone(), None);
        answer(&mut chat, &"The bird was blue. ".repeat(sentences));
        (1..turns).for_each(|_| drop(answer(&mut chat, "And then?")));
        let peak = of_process("VmHWM") - before;

        let memory = chat.session().memory();
        assert_eq!(memory, estimate.session);
        let reported = memory.state + memory.scratch + chat.checkpoint_bytes();
        assert!(peak <= reported + TOLERANCE, "a peak of {peak}, {reported} are reported");
        assert!(chat.checkpoint_bytes() <= estimate.checkpoints);
        if turns > 8 {
            let estimated = memory.state + memory.scratch + estimate.checkpoints;
            assert!(peak.abs_diff(estimated) <= TOLERANCE, "a peak of {peak}, not {estimated}");
        } else {
            assert!(memory.state > 32 << 20 && chat.checkpoint_bytes() == 0);
        }
    }
}

/// A template that writes tools, calls and what tools return.
const TOOLS: &str = "{% if tools %}<{{ tools | tojson }}>\n{% endif %}{% for m in messages %}\
    {{ m.role }}: {{ m.content or '' }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}\n\
    {% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";

/// Tokens that a chat with these messages and variables has processed.
fn processed(fixture: &Fixture, variables: &str, json: &str) -> usize {
    let language = fixture.language.with_variables(variables).unwrap();
    let messages = Message::list_from_json(json).unwrap();
    language.chat().unwrap().encode(&messages, true).unwrap().len()
}

#[test]
fn a_chat_goes_on_with_what_tools_returned() {
    let model = Arc::new(Model::read(bundled()).unwrap());
    let mut fixture = Fixture::new();
    fixture.language = Language::with_template(&model, TOOLS).unwrap();
    let mut chat = fixture.chat(None);
    let begin = r#"[{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": null,
        "tool_calls": [{"name": "weather", "arguments": {"city": "Bern"}}]}]"#;
    chat.begin(Message::list_from_json(begin).unwrap()).unwrap();
    let read = chat.session().position();
    assert!(read > 20);

    let results = r#"[{"role": "tool", "content": "Rain"}, {"role": "tool", "content": "Wind"}]"#;
    let results = Message::list_from_json(results).unwrap();
    chat.answer_all(results, 4, &mut |_| true).unwrap();
    let roles: Vec<&str> = chat.messages().iter().map(|m| &m.role[..]).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "assistant"]);
    // Only what is new was processed: what the tools returned.
    assert!(chat.speed().0.tokens < 20, "{}", chat.speed().0.tokens);

    // One message of any role, and a chat that is saved and resumed with all of it.
    let late = Message::from_json(r#"{"role": "tool", "content": "Sun", "name": "late"}"#).unwrap();
    chat.answer(late.clone(), 4, &mut |_| true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat");
    chat.save(&path).unwrap();
    let sampler = Sampler::new(Sampling::greedy()).unwrap();
    let resumed =
        Conversation::resume(&fixture.engine, &path, sampler, fixture.language.clone()).unwrap();
    assert_eq!(resumed.messages(), chat.messages());
    assert_eq!(resumed.messages()[5], late);

    // Going back takes the turn with its calls along.
    assert!(chat.undo().unwrap());
    assert!(chat.messages().is_empty());
}

#[test]
fn variables_change_from_one_turn_to_the_next() {
    let model = Arc::new(Model::read(bundled()).unwrap());
    let mut fixture = Fixture::new();
    fixture.language = Language::with_template(&model, TOOLS).unwrap();
    let mut chat = fixture.chat(None);
    let hi = r#"[{"role": "user", "content": "Hi"}]"#;
    chat.answer("Hi", 1, &mut |_| true).unwrap();
    assert_eq!(chat.speed().0.tokens, processed(&fixture, "{}", hi));

    let tools = r#"{"tools": [{"name": "weather"}]}"#;
    chat.set_variables(tools).unwrap();
    assert!(chat.set_variables("1").is_err());
    chat.reset();
    chat.answer("Hi", 1, &mut |_| true).unwrap();
    let with = processed(&fixture, tools, hi);
    assert!(with > processed(&fixture, "{}", hi));
    assert_eq!(chat.speed().0.tokens, with);

    // Now the beginning is another: the chat is processed again, without the tools.
    chat.set_variables("{}").unwrap();
    chat.answer("More", 1, &mut |_| true).unwrap();
    assert!(chat.session().position() < (with + 20) as u64);
    assert!(chat.speed().0.tokens > processed(&fixture, "{}", hi));
}
