//! Models: queries on an open model.

use crate::buffer;
use crate::engines::Engines;
use crate::error::{Failure, Result};
use crate::guard;
use crate::handle::{Handle, LastError, MODELS};
use crate::input;
use crate::options::Engine;
use crate::status::Status;
use crate::versioned::{self, Versioned};
use runtime::text::Language;
use std::ffi::c_char;
use std::sync::Arc;

/// An open model file, with its tokenizer and its engines.
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct attamba_model {
    _opaque: [u8; 0],
}

/// What a handle of a model refers to.
pub struct Model {
    pub file: Arc<runtime::model::Model>,
    /// The text side, or why the file has no usable one: such a model is fed tokens.
    pub language: std::result::Result<Language, String>,
    pub engines: Engines,
    error: LastError,
}

impl Handle for Model {
    type Opaque = attamba_model;

    fn error(&self) -> &LastError {
        &self.error
    }
}

impl Model {
    pub fn new(
        file: Arc<runtime::model::Model>,
        language: std::result::Result<Language, String>,
        engines: Engines,
    ) -> Model {
        Model { file, language, engines, error: LastError::default() }
    }

    /// The text side.
    pub fn language(&self) -> Result<&Language> {
        let failed = |message: &String| Failure::new(Status::Text, message.clone());
        self.language.as_ref().map_err(failed)
    }
}

/// Dimensions of a model.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ModelInfo {
    /// sizeof(attamba_model_info).
    pub struct_size: u32,
    /// Tokens in the vocabulary: the length of a row of logits.
    pub vocab: u32,
    /// Layers.
    pub layers: u32,
    /// Context length in tokens that the model was trained with.
    pub context: u32,
    /// Tokens per chunk, which become one state; 1 for a transformer.
    pub chunk: u32,
    /// Latest tokens that are kept individually, in addition to the chunk states.
    pub window: u32,
    /// Bytes of the file.
    pub file_bytes: u64,
}

// SAFETY: `repr(C)`, `u32` first, any bits are valid, pairs of 4 bytes and whole 8 bytes.
unsafe impl Versioned for ModelInfo {
    const DEFAULT: ModelInfo = ModelInfo {
        struct_size: size_of::<ModelInfo>() as u32,
        vocab: 0,
        layers: 0,
        context: 0,
        chunk: 0,
        window: 0,
        file_bytes: 0,
    };
}

/// Closes a model. Its sessions and snapshots stay usable; the memory is freed with the last of
/// them.
///
/// Any thread. A call in progress on the model completes as if it were open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_close(model: *mut attamba_model) -> Status {
    guard::call(|| MODELS.remove(model.addr()).map(drop))
}

/// Fills `info`, whose `struct_size` the caller has set.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_get_info(
    model: *const attamba_model,
    info: *mut ModelInfo,
) -> Status {
    guard::on(&MODELS, model, |model| {
        let file = &model.file;
        let sizes = file.sizes();
        let of = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let value = ModelInfo {
            vocab: of(sizes.vocab),
            layers: of(sizes.layers),
            context: of(sizes.context),
            chunk: of(file.chunk()),
            window: of(file.window()),
            file_bytes: file.gguf().file_bytes() as u64,
            ..ModelInfo::DEFAULT
        };
        // SAFETY: the caller's struct is as long as it says.
        unsafe { versioned::write(value, info) }
    })
}

/// The model's name as given in its file. `buffer`, `capacity` and `length` as in
/// attamba_error_message.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_name(
    model: *const attamba_model,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    guard::on(&MODELS, model, |model| {
        // SAFETY: the caller gives a buffer of that capacity.
        unsafe { buffer::text(model.file.name(), buffer, capacity, length) }
    })
}

/// A description of the model's engine, such as `CPU, AVX2, 4 threads`. `buffer`, `capacity` and
/// `length` as in attamba_error_message.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_engine(
    model: *const attamba_model,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    guard::on(&MODELS, model, |model| {
        let words = model.engines.get(Engine::Auto)?.describe();
        // SAFETY: as above.
        unsafe { buffer::text(&words, buffer, capacity, length) }
    })
}

/// Converts `bytes` bytes of UTF-8 into tokens. With `special` not 0, text such as `<|im_start|>`
/// becomes the token of that name; with 0 it is ordinary text, as it should be for text written by
/// users. No token is added before or after.
///
/// Writes at most `capacity` tokens; `*count`, unless `count` is NULL, gets the total number, even
/// if not all fit.
///
/// Any thread. ATTAMBA_STATUS_TEXT if the file has no usable tokenizer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_tokenize(
    model: *const attamba_model,
    text: *const c_char,
    bytes: usize,
    special: i32,
    tokens: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> Status {
    guard::on(&MODELS, model, |model| {
        // SAFETY: the caller gives that many bytes and room for that many tokens.
        unsafe {
            let text = input::text(text, bytes, "the text")?;
            let found = model.language()?.tokenizer().encode(text, input::boolean(special))?;
            buffer::slice(&found, tokens, capacity, count)
        }
    })
}

/// The bytes of a token. They need not be whole characters: an emoji is often several tokens.
///
/// Writes at most `capacity` bytes, not zero-terminated; `*length`, unless `length` is NULL, gets
/// the total number.
///
/// Any thread. ATTAMBA_STATUS_ARGUMENT if the token is beyond the vocabulary.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_token_bytes(
    model: *const attamba_model,
    token: u32,
    buffer: *mut u8,
    capacity: usize,
    length: *mut usize,
) -> Status {
    guard::on(&MODELS, model, |model| {
        let tokenizer = model.language()?.tokenizer();
        let bytes = tokenizer.token_bytes(token).ok_or_else(|| {
            let vocab = tokenizer.vocab_size();
            Failure::argument(format!("token {token}; the vocabulary has {vocab} entries"))
        })?;
        // SAFETY: the caller gives a buffer of that capacity.
        unsafe { buffer::slice(bytes, buffer, capacity, length) }
    })
}

/// Whether the token ends a text or a turn: `*ends` gets 1 or 0.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_token_is_end(
    model: *const attamba_model,
    token: u32,
    ends: *mut i32,
) -> Status {
    guard::on(&MODELS, model, |model| {
        let is_end = model.language()?.tokenizer().is_end(token);
        // SAFETY: the caller gives a place for the answer.
        unsafe { buffer::result(i32::from(is_end), ends) };
        Ok(())
    })
}
