//! A model and a session: any bytes are either a model that processes two tokens, or an error.

#![no_main]

use attamba::{Engine, EngineOptions, Error, KvType};
use attamba::gguf::Gguf;
use attamba::model::Model;
use attamba::session::{Budget, Options, Session};
use attamba::text::{Tokenizer};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

/// Sizes are bounded by the input, except for the state, which this bounds.
const STATE_BYTES: u64 = 4 << 20;

/// Layers may share the data of their tensors, so a small file can have many.
const MOST_LAYERS: usize = 16;

fn run(bytes: &[u8]) -> Result<(), Error> {
    let model = Arc::new(Model::from_gguf(Gguf::from_bytes(bytes.to_vec())?)?);
    // The tokenizer has its own target; here it meets keys of the wrong types.
    let _ = Tokenizer::from_gguf(model.gguf());
    if model.sizes().layers > MOST_LAYERS {
        return Ok(());
    }
    let vocab = model.sizes().vocab;
    let engine = Engine::cpu(Arc::clone(&model), &EngineOptions::default().with_threads(1))?;
    // Four bits are for heads of some widths: last, since the others end the loop with an error.
    for kv in [KvType::F16, KvType::F32, KvType::I8, KvType::I4] {
        let options = Options::default().with_budget(Budget::Bytes(STATE_BYTES)).with_kv(kv);
        let mut session = Session::open(&engine, options)?;
        let memory = session.memory();
        assert!(memory.state <= STATE_BYTES);
        session.feed(&[0, vocab as u32 - 1])?;
        assert_eq!(session.logits()?.len(), vocab);
        assert!(session.feed(&[vocab as u32]).is_err());
        assert_eq!(session.position(), 2);
        session.reset();
        // Enough to reach the code path for many tokens at once.
        session.feed(&[0; 9])?;
        assert_eq!(session.memory(), memory);
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    if let Err(e) = run(bytes) {
        assert!(!e.to_string().is_empty());
    }
});
