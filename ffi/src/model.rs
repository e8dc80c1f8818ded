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
use runtime::gguf::{Gguf, Value};
use runtime::text::{Language, Message};
use std::collections::BTreeMap;
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
    /// Width of the residual stream: the length of an embedding.
    pub width: u32,
    /// 1 if the file has a chat template that can be used. Without one a chat is written as plain
    /// text, or with the role tokens that the vocabulary has.
    pub has_template: i32,
    /// 1 if that template mentions tools.
    pub has_tools: i32,
    /// 1 if the model was made for embeddings.
    pub embeds: i32,
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
        width: 0,
        has_template: 0,
        has_tools: 0,
        embeds: 0,
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
        let source = file.gguf().get("tokenizer.chat_template").and_then(Value::as_str);
        let usable = model.language.as_ref().is_ok_and(|language| language.chat().is_ok());
        let template = source.filter(|_| usable);
        let of = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let value = ModelInfo {
            vocab: of(sizes.vocab),
            layers: of(sizes.layers),
            context: of(sizes.context),
            chunk: of(file.chunk()),
            window: of(file.window()),
            file_bytes: file.gguf().file_bytes() as u64,
            width: of(sizes.width),
            embeds: i32::from(file.pooling().is_some()),
            has_template: i32::from(template.is_some()),
            has_tools: i32::from(template.is_some_and(|source| source.contains("tools"))),
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

/// The value of a key of the file's metadata, as text: `general.architecture` for the family, any
/// other key of the file, or `quantization`, the type that most of the weights have, such as
/// `Q4_K`. Of an array the first elements. `key` is zero-terminated; `buffer`, `capacity` and
/// `length` as in attamba_error_message.
///
/// Any thread. ATTAMBA_STATUS_ARGUMENT if there is no such key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_metadata(
    model: *const attamba_model,
    key: *const c_char,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    guard::on(&MODELS, model, |model| {
        // SAFETY: the key ends with a zero byte.
        let key = unsafe { input::name(key, "the key") }?;
        let key = key.ok_or_else(|| Failure::argument("the key is NULL"))?;
        let gguf = model.file.gguf();
        let value = match &*key {
            "quantization" => quantization(gguf),
            key => gguf.get(key).map(|value| value.to_string()),
        };
        let value =
            value.ok_or_else(|| Failure::argument(format!("the file has no key {key:?}")))?;
        // SAFETY: the caller gives a buffer of that capacity.
        unsafe { buffer::text(&value, buffer, capacity, length) }
    })
}

/// The type of most weights.
fn quantization(gguf: &Gguf) -> Option<String> {
    let mut weights = BTreeMap::<String, u64>::new();
    for tensor in gguf.tensors() {
        if let Ok(dtype) = tensor.dtype() {
            *weights.entry(dtype.to_string()).or_default() += tensor.len();
        }
    }
    weights.into_iter().max_by_key(|(_, weights)| *weights).map(|(name, _)| name)
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

/// The text that the model's template makes of messages in JSON, as in attamba_session_begin_json, and
/// of `variables`, as in attamba_session_set_variables (NULL and 0 for none). With `prompt` not 0 it
/// ends where the answer begins. `buffer`, `capacity` and `length` as in attamba_error_message.
///
/// Messages that spell special tokens can't be told from the template's own in it: a chat keeps them
/// apart.
///
/// Any thread. ATTAMBA_STATUS_TEXT if the template refuses these messages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_render(
    model: *const attamba_model,
    messages: *const c_char,
    messages_bytes: usize,
    variables: *const c_char,
    variables_bytes: usize,
    prompt: i32,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    guard::on(&MODELS, model, |model| {
        // SAFETY: the caller gives that many bytes and a buffer of that capacity.
        unsafe {
            let messages = input::text(messages, messages_bytes, "the messages")?;
            let variables = input::text(variables, variables_bytes, "the variables")?;
            let messages = Message::list_from_json(messages)?;
            let variables = if variables.is_empty() { "{}" } else { variables };
            let language = model.language()?.with_variables(variables)?;
            let text = language.chat()?.render(&messages, input::boolean(prompt))?;
            buffer::text(&text, buffer, capacity, length)
        }
    })
}

/// The text of `count` tokens. With `special` not 0, special tokens give their names, such as
/// `<|im_start|>`; with 0 they give nothing. What is not UTF-8 becomes U+FFFD, and a token beyond
/// the vocabulary gives no text. `buffer`, `capacity` and `length` as in attamba_error_message.
///
/// Any thread. ATTAMBA_STATUS_TEXT if the file has no usable tokenizer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_detokenize(
    model: *const attamba_model,
    tokens: *const u32,
    count: usize,
    special: i32,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    guard::on(&MODELS, model, |model| {
        // SAFETY: the caller gives that many tokens and a buffer of that capacity.
        unsafe {
            let tokens = input::slice(tokens, count, "the tokens")?;
            let tokenizer = model.language()?.tokenizer();
            let shown = |&token: &u32| input::boolean(special) || !tokenizer.is_special(token);
            let tokens: Vec<u32> = tokens.iter().copied().filter(shown).collect();
            buffer::text(&tokenizer.decode(&tokens), buffer, capacity, length)
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
