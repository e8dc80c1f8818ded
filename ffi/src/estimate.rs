//! What models and sessions cost, before they are opened and while they are.

use crate::error::Result;
use crate::guard;
use crate::handle::SESSIONS;
use crate::input;
use crate::open;
use crate::options::SessionOptions;
use crate::session::attamba_session;
use crate::status::Status;
use crate::versioned::{self, Versioned};
use crate::work::Work;
use runtime::gguf::Gguf;
use runtime::model::Model;
use std::ffi::c_char;

/// Bytes that a model and a session take.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memory {
    /// sizeof(attamba_memory).
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The weights. With the CPU engine they are pages of the model file: shared by all sessions, and
    /// taken away by the system, without harm, where memory is short.
    pub weights: u64,
    /// The session's state: what it remembers.
    pub state: u64,
    /// The session's buffers to compute in; 0 in an estimate where only the engine knows.
    pub scratch: u64,
    /// Snapshots that a chat keeps in order to go back; at most 32 MiB.
    pub checkpoints: u64,
}

// SAFETY: `repr(C)`, `u32` first, any bits are valid, a pair of 4 bytes and whole 8 bytes.
unsafe impl Versioned for Memory {
    const DEFAULT: Memory = Memory {
        struct_size: size_of::<Memory>() as u32,
        reserved: 0,
        weights: 0,
        state: 0,
        scratch: 0,
        checkpoints: 0,
    };
}

/// What a session of the model at `path` would take, without loading it: reads the tables of the
/// file only. Fills `memory`, whose `struct_size` the caller has set.
///
/// Any thread. Errors of the file as in attamba_model_open, of the options as in
/// attamba_session_open. The message is that of the thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_estimate(
    path: *const c_char,
    options: *const SessionOptions,
    memory: *mut Memory,
) -> Status {
    // SAFETY: the caller's arguments are as the header says, here and below.
    unsafe { estimate(options, memory, || Ok(Gguf::open(&input::path(path)?)?)) }
}

/// As attamba_estimate, of a model that lies where attamba_model_open_fd finds it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_estimate_fd(
    fd: i32,
    offset: u64,
    length: u64,
    options: *const SessionOptions,
    memory: *mut Memory,
) -> Status {
    // SAFETY: as above.
    unsafe { estimate(options, memory, || open::from_fd(fd, offset, length)) }
}

/// # Safety
/// The pointers are null or as the header says.
unsafe fn estimate(
    options: *const SessionOptions,
    memory: *mut Memory,
    gguf: impl FnOnce() -> Result<Gguf>,
) -> Status {
    guard::call(|| {
        // SAFETY: as the caller guarantees.
        let options: SessionOptions = unsafe { versioned::read(options) }?;
        let model = Model::from_gguf(gguf()?)?;
        let geometry = options.options()?.geometry(&model.hyper)?;
        let value = Memory {
            weights: weights(&model),
            state: geometry.state_bytes(&model.hyper),
            ..Memory::DEFAULT
        };
        // SAFETY: the caller's struct is as long as it says.
        unsafe { versioned::write(value, memory) }
    })
}

/// What the session takes; while a call is at work, what it took before that call. Fills `memory`,
/// whose `struct_size` the caller has set.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_get_memory(
    session: *const attamba_session,
    memory: *mut Memory,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller's struct is as long as it says.
        unsafe { versioned::write(session.memory()?, memory) }
    })
}

impl Memory {
    /// What the work of a session takes.
    pub fn of(model: &Model, work: &Work) -> Result<Memory> {
        let held = work.session()?.memory();
        let checkpoints = match work {
            Work::Chat(chat) => chat.checkpoint_bytes(),
            _ => 0,
        };
        let (state, scratch) = (held.state, held.scratch);
        Ok(Memory { weights: weights(model), state, scratch, checkpoints, ..Memory::DEFAULT })
    }
}

/// Makes the session's state at most `bytes` large, at once: what it remembers is dropped or thinned,
/// as its policy says, the oldest first. Nothing is read anew, and the session goes on. Snapshots
/// that were made before can't be gone back to. More bytes than it has change nothing.
///
/// Any thread. While another call is at work the session grows smaller within that call, at its next
/// block of tokens; then this one returns at once, and only the log tells if it could not be done.
/// ATTAMBA_STATUS_BUDGET if `bytes` can't hold the smallest session, ATTAMBA_STATUS_PAUSED while
/// paused; the session is as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_shrink(
    session: *const attamba_session,
    bytes: u64,
) -> Status {
    guard::on(&SESSIONS, session, |session| session.shrink(bytes))
}

fn weights(model: &Model) -> u64 {
    model.gguf().tensors().iter().map(|tensor| tensor.bytes() as u64).sum()
}
