//! The one error type of the library.

use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};

/// What is wrong, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detail {
    /// The name of what is at fault: a metadata key, `tensor blk.0.attn_q.weight`, a token, an
    /// argument. Empty if it is the whole.
    pub what: String,
    /// What is wrong with it, with the numbers: `is 0; it must be at least 1`.
    pub problem: String,
}

impl Display for Detail {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let space = if self.what.is_empty() { "" } else { " " };
        write!(f, "{}{space}{}", self.what, self.problem)
    }
}

/// Everything that can go wrong, each with the numbers that explain it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open, map, read or write a file.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error. It is part of the message, and so not a
        /// [`source`](std::error::Error::source) whose message would be printed again.
        error: std::io::Error,
    },
    /// The bytes are not a GGUF file that can be read safely.
    #[error("invalid GGUF file: {}{detail}", prefix(path.as_deref()))]
    Gguf {
        /// The file, if it was opened by its path.
        path: Option<PathBuf>,
        /// Where it is wrong.
        detail: Detail,
    },
    /// The file is sound but describes a model that this runtime can't run.
    #[error("unsupported model: {0}")]
    Unsupported(Detail),
    /// The file contradicts itself: a missing key, a tensor of the wrong shape.
    #[error("invalid model: {0}")]
    Model(Detail),
    /// The tokenizer in the file is missing or malformed, or refused a text.
    #[error("tokenizer: {0}")]
    Tokenizer(Detail),
    /// The chat template failed to parse or to render.
    #[error("chat template: {0}")]
    Template(Detail),
    /// A token id beyond the vocabulary.
    #[error("token id {token} is out of range: the vocabulary has {vocab} entries")]
    TokenOutOfRange {
        /// The id.
        token: u32,
        /// Entries in the vocabulary.
        vocab: usize,
    },
    /// Logits from which no token can be chosen: some are NaN or plus infinity, or none is finite.
    #[error("no token can be chosen: of {vocab} logits {nan} are NaN and {infinite} infinite")]
    Logits {
        /// How many are NaN.
        nan: usize,
        /// How many are infinite.
        infinite: usize,
        /// How many there are.
        vocab: usize,
    },
    /// An argument of a call is invalid.
    #[error("{0}")]
    Argument(Detail),
    /// Logits were requested but there are none.
    #[error(
        "there are no logits after {position} tokens: nothing was fed, or the last call ended before \
         its last token; feed one more"
    )]
    NoLogits {
        /// Tokens that the session has processed.
        position: u64,
    },
    /// A session does not fit the budget it was given.
    #[error("a session needs at least {needed} bytes, the budget is {budget}: {advice}")]
    Budget {
        /// Bytes requested.
        budget: u64,
        /// Bytes of the smallest session of this model.
        needed: u64,
        /// What would make it fit.
        advice: String,
    },
    /// A saved session can't be resumed: not one of ours, or damaged.
    #[error("saved session: {0}")]
    Saved(Detail),
    /// A saved session can't be resumed because it belongs to another model.
    #[error(
        "saved session: it was saved with another model than {model}; it can only be resumed with \
         the model file that it was saved with"
    )]
    OtherModel {
        /// The model that was to resume it.
        model: String,
    },
    /// The system has no more memory.
    #[error("out of memory: {} for {what}", amount(*bytes))]
    OutOfMemory {
        /// Bytes requested; the largest number for more than that.
        bytes: u64,
        /// What they were for.
        what: &'static str,
    },
    /// There is no usable GPU, or none of the requested name.
    #[error("no GPU: {0}")]
    NoAdapter(Detail),
    /// The GPU can't hold or bind as much as needed.
    #[error("{adapter}: {what} needs {needed} {unit}, the limit is {limit}")]
    GpuLimit {
        /// Name of the adapter.
        adapter: String,
        /// What does not fit.
        what: String,
        /// How much it needs.
        needed: u64,
        /// How much the adapter allows.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// No variant of a kernel compiles on this driver or computes the right result.
    #[error("{adapter}: kernel {kernel} can't be used: {reason}")]
    Kernel {
        /// Adapter and driver.
        adapter: String,
        /// Name of the kernel.
        kernel: String,
        /// The driver's message, or the error of the result.
        reason: String,
    },
    /// The GPU's device is gone: reset by the driver, unplugged, or revoked in the background, and
    /// with it the memory of its sessions. The engine must be created again; a saved session or a
    /// snapshot can be resumed on it, or on the CPU. On an engine of
    /// [`Engine::auto`](crate::Engine::auto) a reset or a rewind moves a session to the CPU, and chats move
    /// automatically.
    #[error("the GPU was lost: {0}")]
    DeviceLost(String),
    /// The driver rejected a command. The session must be reset before it is used again.
    #[error("GPU: {0}")]
    Gpu(String),
    /// An earlier error left the session's state undefined; a reset makes it usable.
    #[error("the session must be reset after an error of the GPU")]
    Poisoned,
    /// The call was cancelled from another thread; the session is still usable.
    #[error("cancelled")]
    Cancelled,
    /// The session is paused, and this call does not wait.
    #[error("the session is paused: resume it first")]
    Paused,
}

fn prefix(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("{}: ", path.display()))
}

/// A constructor for each kind of error that has a detail.
macro_rules! constructors {
    ($($(#[$condition:meta])* $name:ident $kind:ident;)*) => { $(
        $(#[$condition])*
        #[cold]
        #[inline(never)]
        pub(crate) fn $name(what: impl Into<String>, problem: impl Into<String>) -> Error {
            Error::$kind(Detail { what: what.into(), problem: problem.into() })
        }
    )* };
}

impl Error {
    constructors! {
        argument Argument;
        model Model;
        no_adapter NoAdapter;
        saved Saved;
        #[cfg(feature = "text")]
        template Template;
        #[cfg(feature = "text")]
        tokenizer Tokenizer;
        unsupported Unsupported;
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn gguf(what: impl Into<String>, problem: impl Into<String>) -> Error {
        let detail = Detail { what: what.into(), problem: problem.into() };
        Error::Gguf { path: None, detail }
    }
}

/// The library's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// A number of bytes in a message. Sums that can't be represented saturate.
fn amount(bytes: u64) -> String {
    match bytes {
        u64::MAX => "more bytes than can be counted".to_owned(),
        bytes => format!("{bytes} bytes"),
    }
}
