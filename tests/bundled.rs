//! What the bundled model answers: the test of its card.
#![cfg(feature = "text")]

use attamba::{
    Budget, Conversation, Engine, EngineOptions, Language, Model, Options, Result, Sampler,
    Sampling, Session,
};
use std::sync::Arc;

/// A question, and what a sensible answer has at least one of.
const QUESTIONS: [(&str, &[&str]); 4] = [
    ("Hello!", &["hello", "hi", "hey"]),
    ("What is your name?", &["attamba"]),
    ("What can you do?", &["story", "stories"]),
    // It has never heard of any country.
    (
        "What is the capital of France?",
        &["not know", "no idea", "cannot", "sorry", "know little", "know nothing", "only a small"],
    ),
];
const SEEDS: u64 = 20;

#[test]
fn nineteen_of_twenty_answers_to_simple_questions_are_sensible() -> Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/models/attamba-stories.gguf");
    let model = Arc::new(Model::read(file)?);
    let sampling =
        Sampling::chat(Language::from_model(&model)?.tokenizer())?.recommended_by(&model)?;
    let engine = Engine::cpu(Arc::clone(&model), &EngineOptions::default())?;
    for (question, sensible) in QUESTIONS {
        let mut others = Vec::new();
        for seed in 0..SEEDS {
            let mut sampling = sampling.clone();
            sampling.seed = Some(seed);
            let session =
                Session::open(&engine, Options::default().with_budget(Budget::Tokens(256)))?;
            let (sampler, language) = (Sampler::new(sampling)?, Language::from_model(&model)?);
            let mut chat = Conversation::new(session, sampler, language, None);
            let mut answer = String::new();
            chat.answer(question, 64, &mut |piece| {
                answer.push_str(piece);
                true
            })?;
            let plain = answer.to_lowercase();
            let words: Vec<&str> = plain.split(|c: char| !c.is_alphabetic()).collect();
            let found =
                |part: &&str| plain.contains(part) && (part.len() > 3 || words.contains(part));
            if !sensible.iter().any(found) {
                others.push(answer);
            }
        }
        assert!(others.len() <= 1, "{question} {others:#?}");
    }
    Ok(())
}
