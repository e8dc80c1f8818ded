//! Processes a document once, saves the session in a file, and answers questions from there: the
//! second run only has to process the question.
//!
//!     cargo run --release --example document -- MODEL DOCUMENT QUESTION...
//!
//! The session is saved next to the document, as DOCUMENT.session. It remembers as much as the
//! budget allows: the oldest parts of a long document are the first to be lost.

use attamba::{
    Conversation, Engine, EngineOptions, Language, Model, Options, Sampler, Sampling, Session,
};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("usage: document MODEL DOCUMENT QUESTION...");
    let (model, document) = (next()?, next()?);
    let model = Arc::new(Model::read(model)?);
    let language = Language::from_model(&model)?;
    let engine = Engine::cpu(model, &EngineOptions::default())?;
    let saved = PathBuf::from(format!("{document}.session"));

    let start = Instant::now();
    if !saved.is_file() {
        read(&engine, &language, document.as_ref())?.save(&saved)?;
        eprintln!("read and saved in {:.2?}", start.elapsed());
    }
    for question in args {
        let start = Instant::now();
        let sampler = Sampler::new(Sampling::default())?;
        let mut chat = Conversation::resume(&engine, &saved, sampler, language.clone())?;
        println!("> {question}");
        for piece in chat.answer_pieces(question, 200)? {
            print!("{}", piece?);
        }
        println!();
        eprintln!("resumed and answered in {:.2?}", start.elapsed());
    }
    Ok(())
}

/// A chat that has processed the document.
fn read(
    engine: &Engine,
    language: &Language,
    document: &Path,
) -> Result<Conversation, Box<dyn Error>> {
    let text = std::fs::read_to_string(document)?;
    let instruction = format!("Answer questions about this document.\n\n{text}");
    let session = Session::open(engine, Options::default())?;
    let sampler = Sampler::new(Sampling::default())?;
    let mut chat = Conversation::new(session, sampler, language.clone(), Some(instruction));
    chat.prepare()?;
    Ok(chat)
}
