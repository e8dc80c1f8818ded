//! Text to tokens and back: tokenizer, streaming detokenizer and chat template.
//!
//! - [`Tokenizer`]: text to tokens and back.
//! - [`Detokenizer`]: text of tokens as they are generated, never half a code point.
//! - [`Language`] and its [`Chat`]: messages to the text and the tokens a model was trained on.
//!
//! A tokenizer in GGUF arrays has its own encoder here (`bpe`, `spm`), small in memory and close to
//! linear in the text; a tokenizer.json uses the same encoder if it describes the same tokenizer,
//! and otherwise the `tokenizers` crate (`hub`). The tests compare all of them with the Python
//! packages `tokenizers` and `sentencepiece`.

mod added;
mod apart;
mod bpe;
mod breakers;
mod bytelevel;
pub(crate) mod chat;
mod classes;
mod clock;
mod demands;
mod ends;
mod from_gguf;
mod ggml;
mod hub;
mod index;
mod json;
mod language;
mod marks;
mod merge;
pub(crate) mod message;
mod nfc;
mod pre;
mod pretokenize;
pub(crate) mod source;
mod spm;
mod stream;
pub(crate) mod template;
mod tokenizer;
mod vocabulary;

pub use chat::Chat;
pub(crate) use chat::alternate;
pub use language::Language;
pub use message::Message;
pub use stream::Detokenizer;
pub use tokenizer::Tokenizer;

/// The name of the threads that run other libraries' code on what a file says. A panic there is
/// caught and becomes an error, so that a program may prefer that its panic hook says nothing.
pub const APART: &str = "attamba-apart";
