//! Saved sessions: a real one with some bytes changed and its checksums fixed up, or arbitrary
//! bytes, is either resumed and continued, or an error.

#![no_main]

#[path = "../../tests/common/models.rs"]
mod models;

use attamba::{Engine, Error, KvType};
use attamba::Eviction;
use attamba::session::{Budget, Options, Session};
use libfuzzer_sys::fuzz_target;
use models::Sizes;
use std::path::PathBuf;
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_64;

/// Offset of the header's checksum, see `session/header.rs`.
const HEADER: usize = 144;
/// Offsets of the sizes of the window and of the two rings.
const SIZES: [usize; 3] = [40, 48, 80];

struct Given {
    engine: Engine,
    path: PathBuf,
    saved: Vec<Vec<u8>>,
}

fn given() -> &'static Given {
    static GIVEN: OnceLock<Given> = OnceLock::new();
    GIVEN.get_or_init(|| {
        let engine = Sizes { layers: 1, heads: 1, kv_heads: 1, vocab: 20, ..Sizes::default() }.engine(1, 1);
        let path =
            std::env::temp_dir().join(format!("attamba-fuzz-{}.session", std::process::id()));
        let kinds = [
            (KvType::F16, Eviction::Drop),
            (KvType::I8, Eviction::Thin),
            (KvType::I4, Eviction::Drop),
        ];
        let saved = kinds.map(|(kv, eviction)| {
            let budget = Budget::States(5);
            let options = Options::default().with_budget(budget).with_kv(kv).with_eviction(eviction);
            let mut session = Session::open(&engine, options).unwrap();
            session.feed(&[1; 70]).unwrap();
            session.save(&path, b"note").unwrap();
            let file = std::fs::read(&path).unwrap();
            assert_eq!(edited(file.clone(), &[]), file, "the header has another layout");
            file
        });
        Given { engine, path, saved: saved.into() }
    })
}

/// Pairs of an offset and the byte to write there, three bytes each.
fn edited(mut file: Vec<u8>, edits: &[u8]) -> Vec<u8> {
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % file.len();
        file[at] = edit[2];
    }
    // Window and rings stay below 65536: whether larger ones are refused or allocated depends on
    // the machine's memory, which is nothing to fuzz.
    for size in SIZES {
        file[size + 2..size + 8].fill(0);
    }
    let sum = xxh3_64(&file[..HEADER]).to_le_bytes();
    file[HEADER..HEADER + 8].copy_from_slice(&sum);
    let end = file.len() - 8;
    let sum = xxh3_64(&file[HEADER + 8..end]).to_le_bytes();
    file[end..].copy_from_slice(&sum);
    file
}

fn run(file: &[u8]) -> Result<(), Error> {
    let given = given();
    std::fs::write(&given.path, file).unwrap();
    let (mut session, _) = Session::resume(&given.engine, &given.path)?;
    session.feed(&[1; 9])?;
    session.feed(&[2])?;
    session.shrink(session.memory().state - 1)?;
    session.feed(&[3])
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    let saved = &given().saved;
    let file = match kind % 4 {
        0 => rest.to_vec(),
        kind => edited(saved[usize::from(kind) % saved.len()].clone(), rest),
    };
    if let Err(e) = run(&file) {
        assert!(!e.to_string().is_empty());
    }
});
