//! What models and sessions cost, before they are opened and while they are open.

#[cfg(not(feature = "gpu"))]
use crate::error::Failure;
use crate::error::Result;
use crate::guard;
use crate::handle::SESSIONS;
use crate::open;
use crate::options::{self, Engine, ModelOptions, SessionOptions};
use crate::session::attamba_session;
use crate::status::Status;
use crate::versioned::{self, Versioned};
use crate::work::Work;
use runtime::gguf::Gguf;
use runtime::memory::Estimate;
use runtime::model::Model;
use runtime::session::Options;
use runtime::{EngineOptions, default_threads};
use std::ffi::c_char;

/// Bytes that a model and a session take.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memory {
    /// sizeof(attamba_memory).
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The weights as stored in the file. With the CPU engine they are pages of the file: shared by
    /// all sessions, and reclaimable by the system, without harm, when memory is short.
    pub weights: u64,
    /// Weights that the engine keeps in addition to the file; shared by all sessions.
    pub copied: u64,
    /// The session's state: its memory of the text.
    pub state: u64,
    /// The session's scratch buffers.
    pub scratch: u64,
    /// Snapshots that a chat keeps in order to go back; in an estimate the maximum that they can
    /// take, never more than `checkpoint_bytes`.
    pub checkpoints: u64,
    /// Weights on the GPU, shared by all sessions; 0 with the CPU engine. Pages of the file are
    /// released once they are uploaded, except those of the embedding.
    pub device: u64,
}

// SAFETY: `repr(C)`, `u32` first, any bits are valid, a pair of 4 bytes and whole 8 bytes.
unsafe impl Versioned for Memory {
    const DEFAULT: Memory = Memory {
        struct_size: size_of::<Memory>() as u32,
        reserved: 0,
        weights: 0,
        copied: 0,
        state: 0,
        scratch: 0,
        checkpoints: 0,
        device: 0,
    };
}

/// Estimates the memory of the model at `path` and of a session of it, without loading it: only the
/// tables of the file are read. Of `loading` engine, adapter and threads are used; anything other
/// than ATTAMBA_ENGINE_GPU, in `options` or else in `loading`, is estimated for the CPU engine. For a
/// GPU the adapters are enumerated, since large ones take more scratch memory; one that is not there
/// is estimated as if it were integrated.
/// Fills `memory`, whose `struct_size` the caller has set.
///
/// Any thread. Errors of the file as in attamba_model_open, of the options as in
/// attamba_session_open. The message is that of the thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_estimate(
    path: *const c_char,
    loading: *const ModelOptions,
    options: *const SessionOptions,
    memory: *mut Memory,
) -> Status {
    // SAFETY: the caller's arguments are as the header says, here and below.
    unsafe { estimate(loading, options, memory, |loading| open::from_path(path, loading)) }
}

/// Like attamba_estimate, for a model located as in attamba_model_open_fd.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_estimate_fd(
    fd: i32,
    offset: u64,
    length: u64,
    loading: *const ModelOptions,
    options: *const SessionOptions,
    memory: *mut Memory,
) -> Status {
    // SAFETY: as above.
    unsafe {
        estimate(loading, options, memory, |loading| open::from_fd(fd, offset, length, loading))
    }
}

/// # Safety
/// The pointers are null or as the header says.
unsafe fn estimate(
    loading: *const ModelOptions,
    options: *const SessionOptions,
    memory: *mut Memory,
    gguf: impl FnOnce(&ModelOptions) -> Result<Gguf>,
) -> Status {
    guard::call(|| {
        // SAFETY: as the caller guarantees.
        let (loading, options) = unsafe { (options::model(loading)?, versioned::read(options)?) };
        // Nothing is loaded, so nothing is reported.
        let loading = ModelOptions { loading: None, ..loading };
        let model = Model::from_gguf(gguf(&loading)?)?;
        let threads = loading.threads().unwrap_or_else(default_threads);
        let engine = match Engine::of(options.engine)? {
            Engine::Auto => Engine::of(loading.engine)?,
            other => other,
        };
        let found = match engine {
            // SAFETY: the strings of these options are as the caller guarantees.
            Engine::Gpu => on_gpu(&model, &options.options()?, &unsafe { loading.wanted()? }.1)?,
            Engine::Cpu | Engine::Auto => Estimate::cpu(&model, &options.options()?, threads)?,
        };
        let value = Memory {
            weights: found.weights.mapped,
            copied: found.weights.copied,
            state: found.session.state,
            scratch: found.session.scratch,
            checkpoints: options
                .settings()
                .checkpoints
                .map_or(found.checkpoints, |most| most.min(found.checkpoints)),
            device: found.weights.device,
            ..Memory::DEFAULT
        };
        // SAFETY: the caller's struct is as long as it says.
        unsafe { versioned::write(value, memory) }
    })
}

#[cfg(feature = "gpu")]
fn on_gpu(model: &Model, options: &Options, engine: &EngineOptions) -> Result<Estimate> {
    Ok(Estimate::gpu(model, options, engine)?)
}

#[cfg(not(feature = "gpu"))]
fn on_gpu(_: &Model, _: &Options, _: &EngineOptions) -> Result<Estimate> {
    Err(Failure::new(Status::Device, "this build has no GPU engine"))
}

/// The memory of the session; while a call is in progress, its memory before that call. Fills
/// `memory`, whose `struct_size` the caller has set.
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
    /// The memory of a session's contents.
    pub fn of(work: &Work) -> Result<Memory> {
        let session = work.session()?;
        let held = session.memory();
        let checkpoints = match work {
            Work::Chat(chat) => chat.talk.checkpoint_bytes(),
            _ => 0,
        };
        let weights = session.engine().weights();
        Ok(Memory {
            weights: weights.mapped,
            copied: weights.copied,
            state: held.state,
            scratch: held.scratch,
            checkpoints,
            device: weights.device,
            ..Memory::DEFAULT
        })
    }
}

/// Shrinks the session's state to at most `bytes`, at once: states are dropped or thinned according
/// to its eviction policy, oldest first. No token is processed again, and the session continues.
/// Earlier snapshots can't be restored. If the state is smaller already, nothing changes.
///
/// Any thread, also while paused. While another call is in progress the session is shrunk within
/// that call, at its next block of tokens or while it waits for the end of a pause; then this one
/// returns at once, and only the log reports if it could not be done. A paused session on a GPU,
/// which must not be used then, is shrunk by the next call that processes tokens.
/// ATTAMBA_STATUS_BUDGET if the smallest session does not fit in `bytes`; the session is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_shrink(
    session: *const attamba_session,
    bytes: u64,
) -> Status {
    guard::on(&SESSIONS, session, |session| session.shrink(bytes))
}
