//! Decode of several sessions at once: tokens per second of all of them, compared with one after
//! the other. Once they are fed together on one thread, and once they generate on a thread each, on
//! an engine that gathers them, and on one that does not.
//!
//!     cargo run --release --example together [MODEL]

use attamba::{Budget, Engine, EngineOptions, Model, Options, Sampler, Sampling, Session};
use std::sync::Arc;
use std::time::Instant;

const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/attamba-stories.gguf");
/// Tokens that each session processes, in one measurement.
const TOKENS: u32 = 32;
/// Measurements, of which the median is used.
const ROUNDS: usize = 5;

fn main() -> attamba::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| BUNDLED.to_owned());
    let model = Arc::new(Model::read(path)?);
    let engine = Engine::cpu(Arc::clone(&model), &EngineOptions::default())?;
    let batching = Engine::cpu(model, &EngineOptions::default().with_batching(true))?;
    println!("{}, {}\n", engine.model().name(), engine.describe());
    println!("Tokens per second, and how many times those of one after the other.\n");
    println!("| sessions | one after the other | together | a thread each | gathered |");
    println!("|--:|--:|--:|--:|--:|");
    for count in [1, 2, 4, 8, 16] {
        let options = Options::default().with_budget(Budget::Tokens(1024));
        let open = |engine| (0..count).map(move |_| Session::open(engine, options));
        let mut sessions: Vec<Session> = open(&engine).collect::<Result<_, _>>()?;
        let mut gathering: Vec<Session> = open(&batching).collect::<Result<_, _>>()?;
        let [mut alone, mut together, mut apart, mut gathered]: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            alone.push(speed(&mut sessions, |sessions, tokens| {
                sessions.iter_mut().zip(tokens).try_for_each(|(s, token)| s.feed(&[*token]))
            })?);
            together.push(speed(&mut sessions, Session::feed_together)?);
            apart.push(on_threads(&mut sessions)?);
            gathered.push(on_threads(&mut gathering)?);
        }
        let alone = median(alone);
        let with = |speeds| {
            let speed = median(speeds);
            format!("{speed:.1} ({:.2}x)", speed / alone)
        };
        let [together, apart, gathered] = [with(together), with(apart), with(gathered)];
        println!("| {count} | {alone:.1} | {together} | {apart} | {gathered} |");
    }
    Ok(())
}

/// Tokens per second of all sessions.
fn speed(
    sessions: &mut [Session],
    feed: impl Fn(&mut [&mut Session], &[u32]) -> attamba::Result<()>,
) -> attamba::Result<f64> {
    let count = sessions.len();
    let start = Instant::now();
    let mut all: Vec<&mut Session> = sessions.iter_mut().collect();
    for token in 0..TOKENS {
        let tokens: Vec<u32> = (0..count as u32).map(|i| 1 + (token + 7 * i) % 200).collect();
        feed(&mut all, &tokens)?;
    }
    Ok(f64::from(TOKENS) * count as f64 / start.elapsed().as_secs_f64())
}

/// The same where each generates on a thread of its own.
fn on_threads(sessions: &mut [Session]) -> attamba::Result<f64> {
    let count = sessions.len();
    sessions.iter_mut().try_for_each(|session| session.feed(&[1]))?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let generate = |session: &mut Session| {
            let mut sampler = Sampler::new(Sampling::default())?;
            session.generate(&mut sampler, TOKENS as usize, |_| false, |_| true)
        };
        let begin = |session| scope.spawn(move || generate(session));
        let threads: Vec<_> = sessions.iter_mut().map(begin).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic").map(drop))
    })?;
    Ok(f64::from(TOKENS) * count as f64 / start.elapsed().as_secs_f64())
}

fn median(mut speeds: Vec<f64>) -> f64 {
    speeds.sort_by(f64::total_cmp);
    speeds[speeds.len() / 2]
}
