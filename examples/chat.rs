//! A chat in a terminal, in forty lines.
//!
//!     cargo run --release --example chat -- MODEL

use attamba::{
    Budget, Conversation, Engine, EngineOptions, Language, Model, Options, Sampler, Sampling,
    Session,
};
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: chat MODEL")?;
    let model = Arc::new(Model::read(path)?);
    let language = Language::from_model(&model)?;

    let sampling = Sampling::chat(language.tokenizer())?.recommended_by(&model)?;
    let engine = Engine::cpu(model, &EngineOptions::default())?;
    let options = Options::default().with_budget(Budget::Bytes(4 << 20));
    let session = Session::open(&engine, options)?;
    let sampler = Sampler::new(sampling)?;
    let mut chat = Conversation::new(session, sampler, language, None);

    print!("> ");
    stdout().flush()?;
    for line in stdin().lock().lines() {
        for piece in chat.answer_pieces(line?, 400)? {
            print!("{}", piece?);
            stdout().flush()?;
        }
        print!("\n> ");
        stdout().flush()?;
    }
    Ok(())
}
