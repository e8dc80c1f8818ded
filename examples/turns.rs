//! A chat of many short turns: shows that a turn takes as long, and the session as much memory, at
//! the end as at the start.
//!
//!     cargo run --release --example turns -- [MODEL] [TURNS]
//!
//! By default the bundled model and 200000 turns; a tiny model is made by
//! `spec/reference.py make FILE --set vocab=94`. Each row of the table covers the thousand turns that
//! end at its number. The text of a chat is that of its last turns, up to a limit. RSS is the system's
//! figure (Linux only).

use attamba::{
    Budget, Conversation, Engine, EngineOptions, Language, Model, Options, Result, Sampler,
    Sampling, Session,
};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

const PIECE: usize = 1000;

/// Any vocabulary spells it, and an answer is written as it was generated.
const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}\
    {% if add_generation_prompt %}<assistant>{% endif %}";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/models/attamba-stories.gguf").to_owned()
    });
    let turns: usize = args.next().map_or(200_000, |n| n.parse().expect("a number"));

    let model = Arc::new(Model::read(path)?);
    let language = Language::with_template(&model, TEMPLATE)?;
    let engine = Engine::cpu(model, &EngineOptions::default().with_threads(1))?;
    let options = Options::default().with_budget(Budget::Tokens(256));
    let session = Session::open(&engine, options)?;
    let memory = session.memory();
    let mut chat = Conversation::new(session, Sampler::new(Sampling::greedy())?, language, None);

    println!("| turn | CPU us per turn | messages | RSS KiB |\n|--:|--:|--:|--:|");
    let (mut first, mut last) = (None, Duration::ZERO);
    for piece in 1..=turns / PIECE {
        let start = cpu_time();
        for _ in 0..PIECE {
            chat.answer("Hi", 1, &mut |_| true)?;
        }
        last = cpu_time().saturating_sub(start) / PIECE as u32;
        first.get_or_insert(last);
        if piece.is_power_of_two() || piece == turns / PIECE {
            let rss = resident_kib().map_or("-".to_owned(), |kib| kib.to_string());
            let messages = chat.messages().len();
            println!("| {} | {} | {messages} | {rss} |", piece * PIECE, last.as_micros());
        }
    }
    if let Some(first) = first {
        println!(
            "\nthe last turns took {:.2}x the first",
            last.as_secs_f64() / first.as_secs_f64()
        );
    }
    assert_eq!(chat.session().memory(), memory, "the session's own figures never change");
    Ok(())
}

/// CPU time of this process, in the system's ticks of 10 ms, or else the time that passes.
fn cpu_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field, in parentheses, may contain spaces.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut next = || fields.next()?.parse::<u64>().ok();
        Some(next()? + next()?)
    };
    ticks().map_or_else(|| START.elapsed(), |ticks| Duration::from_millis(10 * ticks))
}

/// RSS of this process.
fn resident_kib() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
