//! Decode of several sessions at once: tokens per second of all of them, compared with one after
//! the other.
//!
//!     cargo run --release --example together [MODEL]

use attamba::{Budget, Engine, EngineOptions, Model, Options, Session};
use std::sync::Arc;
use std::time::Instant;

const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/attamba-stories.gguf");
/// Tokens that each session processes, in one measurement.
const TOKENS: u32 = 32;
/// Measurements, of which the median is used.
const ROUNDS: usize = 5;

fn main() -> attamba::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| BUNDLED.to_owned());
    let engine = Engine::cpu(Arc::new(Model::read(path)?), &EngineOptions::default())?;
    println!("{}, {}\n", engine.model().name(), engine.describe());
    println!("| sessions | one after the other, tokens/s | together, tokens/s | ratio |");
    println!("|--:|--:|--:|--:|");
    for count in [1, 2, 4, 8, 16] {
        let options = Options::default().with_budget(Budget::Tokens(1024));
        let open = |_| Session::open(&engine, options);
        let mut sessions: Vec<Session> = (0..count).map(open).collect::<Result<_, _>>()?;
        let [mut alone, mut together] = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            alone.push(speed(&mut sessions, |sessions, tokens| {
                sessions.iter_mut().zip(tokens).try_for_each(|(s, token)| s.feed(&[*token]))
            })?);
            together.push(speed(&mut sessions, Session::feed_together)?);
        }
        let [alone, together] = [median(alone), median(together)];
        println!("| {count} | {alone:.1} | {together:.1} | {:.2} |", together / alone);
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

fn median(mut speeds: Vec<f64>) -> f64 {
    speeds.sort_by(f64::total_cmp);
    speeds[speeds.len() / 2]
}
