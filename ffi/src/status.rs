//! Status codes, and which of them an error is.

use runtime::Error;

/// What a call came to.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did what it should.
    Ok = 0,
    /// An argument makes no sense: a null pointer, a number out of range, text that is not UTF-8, a
    /// struct_size that can't be. Nothing was done.
    Argument = 1,
    /// The handle is null, closed, or of another kind. Nothing was done.
    Closed = 2,
    /// Another call is at work on the session, or this one was made from its callback. Nothing was
    /// done.
    Busy = 3,
    /// The session is not in the state for this call, such as a chat that is fed raw text. Nothing
    /// was done.
    State = 4,
    /// The system refused to open, read or write a file.
    Io = 5,
    /// The file is not a GGUF file, contradicts itself, or computes numbers that no token can be
    /// chosen by.
    File = 6,
    /// The file, or the option, asks for something that this build does not do.
    Unsupported = 7,
    /// The tokenizer or the chat template of the file failed.
    Text = 8,
    /// The smallest session of this model is larger than the budget; the message says by how much.
    Budget = 9,
    /// The saved session is not one, is damaged, or is of another model.
    Saved = 10,
    /// The system has no more memory to give.
    Memory = 11,
    /// Cancelled from another thread, or by the callback.
    Cancelled = 12,
    /// The session is paused, and this call is not one that waits.
    Paused = 13,
    /// There is no GPU that can be used, or it failed, or it is gone. A session whose call failed so
    /// takes attamba_session_reset, or a new session, to be usable again. After the loss of the GPU
    /// that is the CPU's where the model was opened with ATTAMBA_ENGINE_AUTO, and a chat goes on
    /// there of itself; otherwise the model must be opened anew.
    Device = 14,
    /// A defect of the library. The handle answers nothing else from now on: close it.
    Internal = 15,
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Status {
        match error {
            Error::Io { .. } => Status::Io,
            Error::Gguf(_) | Error::Quant(_) | Error::Model(_) | Error::Logits { .. } => {
                Status::File
            }
            Error::Unsupported(_) => Status::Unsupported,
            Error::Tokenizer(_) | Error::Template(_) => Status::Text,
            Error::TokenOutOfRange { .. } | Error::Argument(_) => Status::Argument,
            Error::Budget { .. } => Status::Budget,
            Error::NoLogits { .. } => Status::State,
            Error::Saved(_) => Status::Saved,
            Error::OutOfMemory { .. } => Status::Memory,
            Error::NoAdapter(_)
            | Error::GpuLimit { .. }
            | Error::Kernel { .. }
            | Error::DeviceLost(_)
            | Error::Gpu(_)
            | Error::Poisoned => Status::Device,
            Error::Cancelled => Status::Cancelled,
            Error::Paused => Status::Paused,
            // What a later version of the library adds has a message all the same.
            _ => Status::Unsupported,
        }
    }
}
