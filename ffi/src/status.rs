//! Status codes, and the mapping of errors to them.

use runtime::Error;

/// The result of a call.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Success.
    Ok = 0,
    /// An argument is invalid: a null pointer, a number out of range, text that is not UTF-8, an
    /// impossible struct_size. Nothing was done.
    Argument = 1,
    /// The handle is null, closed, or of another kind. Nothing was done.
    Closed = 2,
    /// Another call is in progress on the session, or this one was made from its callback. Nothing
    /// was done.
    Busy = 3,
    /// The session is in the wrong state for this call, such as a chat that is fed raw text.
    /// Nothing was done.
    State = 4,
    /// The system refused to open, read or write a file.
    Io = 5,
    /// The file is not a GGUF file, contradicts itself, or produces logits from which no token can
    /// be chosen.
    File = 6,
    /// The file, or the option, requires something that this build does not support.
    Unsupported = 7,
    /// The tokenizer or the chat template of the file failed.
    Text = 8,
    /// The smallest session of this model is larger than the budget; the message says by how much.
    Budget = 9,
    /// The file is not a saved session, is damaged, or is of another model.
    Saved = 10,
    /// The system has no more memory.
    Memory = 11,
    /// Cancelled from another thread, or by the callback.
    Cancelled = 12,
    /// The session is paused, and this call does not wait.
    Paused = 13,
    /// There is no usable GPU, or it failed, or it is gone. A session whose call failed in this way
    /// needs attamba_session_reset, or a new session, to be usable again. After the loss of the GPU
    /// that session runs on the CPU if the model was opened with ATTAMBA_ENGINE_AUTO, and a chat
    /// continues there automatically; otherwise the model must be opened again.
    Device = 14,
    /// A bug in the library. The handle is unusable from now on: close it.
    Internal = 15,
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Status {
        match error {
            Error::Io { .. } => Status::Io,
            Error::Gguf { .. } | Error::Model(_) | Error::Logits { .. } => Status::File,
            Error::Unsupported(_) => Status::Unsupported,
            Error::Tokenizer(_) | Error::Template(_) => Status::Text,
            Error::TokenOutOfRange { .. } | Error::Argument(_) => Status::Argument,
            Error::Budget { .. } => Status::Budget,
            Error::NoLogits { .. } => Status::State,
            Error::Saved(_) | Error::OtherModel { .. } => Status::Saved,
            Error::OutOfMemory { .. } => Status::Memory,
            Error::NoAdapter(_)
            | Error::GpuLimit { .. }
            | Error::Kernel { .. }
            | Error::DeviceLost(_)
            | Error::Gpu(_)
            | Error::Poisoned => Status::Device,
            Error::Cancelled => Status::Cancelled,
            Error::Paused => Status::Paused,
            // Errors that a later version of the library adds have a message too.
            _ => Status::Unsupported,
        }
    }
}
