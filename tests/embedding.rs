//! Texts as vectors: consistent with the logits, which are products of the same hidden states.

mod common;

use attamba::quant::dequantize;
use attamba::session::{Options, Session};
use attamba::{Budget, Engine, EngineOptions, Error, KvType, Pooling};
use common::models::{Meta, Numbers, Sizes, open};
use std::sync::Arc;

/// The logits of a vector of hidden states: the product with the output matrix.
fn logits(engine: &Engine, hidden: &[f32]) -> Vec<f64> {
    let tensor = engine.model().gguf().tensor("output.weight").unwrap();
    let mut weights = vec![0.0; tensor.len() as usize];
    dequantize(tensor.dtype().unwrap(), tensor.data(), &mut weights).unwrap();
    let row = |row: &[f32]| row.iter().zip(hidden).map(|(w, h)| f64::from(w * h)).sum();
    weights.chunks_exact(hidden.len()).map(row).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn a_vector_is_the_hidden_states_of_its_text() {
    for architecture in ["llama", "attamba"] {
        let sizes = Sizes { architecture, ..Sizes::default() };
        let engine = sizes.engine(3, 2);
        // Several blocks.
        let tokens = Numbers::new(4).tokens(300, sizes.vocab);
        let options = Options::default().with_budget(Budget::States(300)).with_kv(KvType::F16);
        let mut session = Session::open(&engine, options).unwrap();
        let mut sum = vec![0.0; sizes.vocab];
        let mut last = Vec::new();
        session
            .feed_each(&tokens, |_, row| {
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
                last = row.iter().map(|x| f64::from(*x)).collect();
            })
            .unwrap();
        for (pooling, want) in [(Pooling::Mean, &sum), (Pooling::Last, &last)] {
            let vector = engine.embedding(&tokens, pooling).unwrap();
            assert_eq!(vector.len(), sizes.d);
            let length: f32 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
            let alike = cosine(&logits(&engine, &vector), want);
            assert!(alike > 0.9999, "{architecture}, {pooling:?}: {alike}");
        }
        let [mean, last] =
            [Pooling::Mean, Pooling::Last].map(|p| engine.embedding(&tokens[..1], p).unwrap());
        assert_eq!(mean, last);
        assert!(matches!(engine.embedding(&[], None), Err(Error::Argument(_))));
        let beyond = engine.embedding(&[sizes.vocab as u32], None);
        assert!(matches!(beyond, Err(Error::TokenOutOfRange { .. })));
    }
}

#[test]
fn the_file_says_how_it_was_made_to_be_pooled() {
    let tokens = [5, 6, 7];
    for (number, want) in
        [(None, None), (Some(1), Some(Pooling::Mean)), (Some(3), Some(Pooling::Last))]
    {
        let mut file = Sizes::default().file(3);
        let key = format!("{}.pooling_type", Sizes::default().architecture);
        number.into_iter().for_each(|number| file.set(&key, Meta::U32(number)));
        let model = Arc::new(open(file.bytes()).unwrap());
        assert_eq!(model.pooling(), want);
        let engine = Engine::cpu(model, &EngineOptions::default().with_threads(1)).unwrap();
        let explicit = engine.embedding(&tokens, want.unwrap_or(Pooling::Mean)).unwrap();
        assert_eq!(engine.embedding(&tokens, None).unwrap(), explicit);
    }
}
