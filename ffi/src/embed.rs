//! Embeddings: a text as a vector.

use crate::buffer;
use crate::error::Result;
use crate::guard;
use crate::handle::MODELS;
use crate::input;
use crate::model::attamba_model;
use crate::options::{Engine, known};
use crate::status::Status;
use std::ffi::c_char;

/// How the hidden states of a text become one vector.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// As the model's file says; their mean if it says nothing.
    Default = 0,
    /// Their mean.
    Mean = 1,
    /// That of the last token.
    Last = 2,
}

/// A text of `bytes` bytes as a vector of length 1, to compare texts by: the hidden states after the
/// last layer, pooled as `pooling`, an attamba_pooling, says. It has `width` numbers, of
/// attamba_model_info; for a model whose `embeds` is 0, which was not made for it, the log has a
/// warning. It is computed on the CPU, and takes the memory of a session that keeps the whole text.
///
/// Writes at most `capacity` numbers; `*count`, unless `count` is NULL, gets the total number.
///
/// Any thread. ATTAMBA_STATUS_ARGUMENT for a text without tokens, ATTAMBA_STATUS_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_embed(
    model: *const attamba_model,
    text: *const c_char,
    bytes: usize,
    pooling: i32,
    vector: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> Status {
    guard::on(&MODELS, model, |model| {
        // SAFETY: the caller gives that many bytes.
        let text = unsafe { input::text(text, bytes, "the text") }?;
        let pooling = pooling_of(pooling)?;
        let language = model.language()?;
        let mut tokens = language.begin(text, false)?;
        let tokenizer = language.tokenizer();
        tokens.extend(tokenizer.eos().filter(|_| tokenizer.add_eos()));
        let found = model.engines.get(Engine::Cpu)?.embedding(&tokens, pooling)?;
        // SAFETY: the caller gives room for that many.
        unsafe { buffer::slice(&found, vector, capacity, count) }
    })
}

fn pooling_of(number: i32) -> Result<Option<runtime::Pooling>> {
    let all = [Pooling::Default, Pooling::Mean, Pooling::Last];
    Ok(match known("the pooling", number, all, |pooling| pooling as i32)? {
        Pooling::Default => None,
        Pooling::Mean => Some(runtime::Pooling::Mean),
        Pooling::Last => Some(runtime::Pooling::Last),
    })
}
