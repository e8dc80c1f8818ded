//! A session that runs indefinitely: feeds it many more tokens than it remembers, one at a time,
//! and shows that neither its memory nor its speed changes once the ring is full.
//!
//!     cargo run --release --example endless -- [MODEL] [TOKENS] [BUDGET IN MIB]
//!
//! By default the bundled model, 200000 tokens, 4 MiB. Each row of the table covers the thousand
//! tokens that end at its position. RSS is the system's figure (Linux only) and includes the mapped
//! pages of the model file.

use attamba::{Budget, Engine, EngineOptions, KvType, Model, Options, Result, Session};
use std::sync::Arc;
use std::time::Instant;

const PIECE: u64 = 1000;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/models/attamba-stories.gguf").to_owned()
    });
    let mut number = |default: u64| args.next().map_or(default, |n| n.parse().expect("a number"));
    let (tokens, budget): (u64, u64) = (number(200_000), number(4) << 20);

    let engine = Engine::cpu(Arc::new(Model::read(path)?), &EngineOptions::default())?;
    let options = Options::default().with_budget(Budget::Bytes(budget)).with_kv(KvType::F16);
    let mut session = Session::open(&engine, options)?;
    let vocab = session.engine().model().sizes().vocab;
    let memory = session.memory();
    println!(
        "budget {budget} bytes: state {}, scratch {}, room for {} chunk states per layer\n",
        memory.state,
        memory.scratch,
        session.ring().1
    );
    println!("| position | ring | tokens/s | RSS KiB |\n|--:|--:|--:|--:|");

    let mut after_full = None;
    let mut last = (0.0, None);
    for piece in 0..tokens / PIECE {
        let start = Instant::now();
        for i in piece * PIECE..(piece + 1) * PIECE {
            session.feed(&[token(i, vocab)])?;
        }
        let full = session.ring().0 == session.ring().1;
        let first_full = full && after_full.is_none();
        last = (PIECE as f64 / start.elapsed().as_secs_f64(), resident_kib());
        if first_full {
            after_full = Some(last);
        }
        if first_full || piece == 0 || (piece + 1) % 20 == 0 {
            let resident = last.1.map_or("-".to_owned(), |kib| kib.to_string());
            let (at, ring) = (session.position(), session.ring().0);
            println!("| {at} | {ring} | {:.0} | {resident} |", last.0);
        }
    }
    if let Some((speed, resident)) = after_full {
        println!("\nlast {PIECE} tokens compared with those when the ring was first full:");
        println!("speed {:.2}x", last.0 / speed);
        if let (Some(then), Some(now)) = (resident, last.1) {
            println!("RSS {:+} KiB", now - then);
        }
    }
    assert_eq!(session.memory(), memory, "the session's own figures never change");
    Ok(())
}

/// Some token; which ones they are affects neither memory nor speed.
fn token(i: u64, vocab: usize) -> u32 {
    (i.wrapping_mul(2_654_435_761) % vocab as u64) as u32
}

/// RSS of this process.
fn resident_kib() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
