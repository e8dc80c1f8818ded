//! Sessions: opening, closing and queries.

use crate::buffer;
use crate::error::{Failure, Result};
use crate::estimate::Memory;
use crate::guard;
use crate::handle::{Handle, LastError, MODELS, SESSIONS, lock};
use crate::input;
use crate::model::{Model, attamba_model};
use crate::options::{Engine, Sampling, SessionOptions};
use crate::status::Status;
use crate::versioned::{self, Versioned};
use crate::work::{Samplers, Work, broken};
use runtime::conversation::Conversation;
use runtime::session::Control;
use std::ffi::c_char;
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// One conversation, or one text, on a model.
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct attamba_session {
    _opaque: [u8; 0],
}

/// What a handle of a session refers to.
pub struct Session {
    pub model: Arc<Model>,
    /// `None` once it is closed.
    work: Mutex<Option<Work>>,
    /// The thread of the call in progress.
    worker: Mutex<Option<ThreadId>>,
    pub control: Control,
    /// Its memory when the last call ended.
    memory: Mutex<Memory>,
    error: LastError,
    /// In a child process a call that was in progress in its parent never ends.
    process: u32,
}

impl Handle for Session {
    type Opaque = attamba_session;

    fn error(&self) -> &LastError {
        &self.error
    }
}

impl Session {
    pub fn new(model: Arc<Model>, work: Work) -> Result<Session> {
        let session = work.session()?;
        Ok(Session {
            control: session.control(),
            memory: Mutex::new(Memory::of(&work)?),
            model,
            work: Mutex::new(Some(work)),
            worker: Mutex::default(),
            error: LastError::default(),
            process: std::process::id(),
        })
    }

    /// Gives out a handle.
    pub fn publish(self) -> *mut attamba_session {
        let control = self.control.clone();
        let handle = SESSIONS.add(self);
        crate::cancel::add(handle.addr(), control);
        handle
    }

    /// Does some work; [`Status::Busy`] while other work is in progress.
    pub fn work<T>(&self, body: impl FnOnce(&mut Work) -> Result<T>) -> Result<T> {
        let mut work = match self.work.try_lock() {
            Ok(work) => work,
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(Status::Busy, "another call is at work on the session"));
            }
            Err(TryLockError::Poisoned(_)) => return Err(broken()),
        };
        let work = work.as_mut().ok_or_else(crate::handle::closed)?;
        *lock(&self.worker) = Some(thread::current().id());
        let result = body(work);
        *lock(&self.worker) = None;
        *lock(&self.memory) = Memory::of(work)?;
        result
    }

    /// Its memory, or that before the call in progress.
    pub fn memory(&self) -> Result<Memory> {
        // Closed is detected when the handle is looked up, broken here.
        if self.work.is_poisoned() {
            return Err(broken());
        }
        Ok(*lock(&self.memory))
    }

    /// Shrinks the state: now, or by way of the call in progress.
    pub fn shrink(&self, bytes: u64) -> Result<()> {
        let now = || self.work(|work| work.shrink(bytes));
        match now() {
            Err(failure) if failure.status == Status::Busy => {
                self.control.shrink(bytes);
                // That call may have ended in between.
                now()
                    .or_else(|again| if again.status == Status::Busy { Ok(()) } else { Err(again) })
            }
            other => other,
        }
    }

    /// Ends the call in progress and frees the memory. Within a callback of that call waiting is
    /// impossible: the memory is freed when the call ends.
    fn close(&self) {
        const LOOK: Duration = Duration::from_millis(1);
        self.control.cancel();
        if *lock(&self.worker) == Some(thread::current().id()) {
            return;
        }
        loop {
            match self.work.try_lock() {
                Ok(mut work) => {
                    *work = None;
                    return;
                }
                Err(TryLockError::Poisoned(poisoned)) => {
                    *poisoned.into_inner() = None;
                    return;
                }
                Err(TryLockError::WouldBlock) if self.process != std::process::id() => return,
                // A call that was only just beginning has not seen the first cancel.
                Err(TryLockError::WouldBlock) => self.control.cancel(),
            }
            thread::sleep(LOOK);
        }
    }
}

/// State of a session, and the speed of its last answer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SessionInfo {
    /// sizeof(attamba_session_info).
    pub struct_size: u32,
    /// 1 while paused.
    pub paused: i32,
    /// Tokens processed since the start.
    pub position: u64,
    /// Chunk states in the memory of the fullest layer.
    pub states: u64,
    /// Capacity in chunk states; once it is reached, the eviction policy decides which ones go.
    pub states_room: u64,
    /// Messages of the chat, including the instruction; 0 for raw text.
    pub messages: u64,
    /// Tokens of the last message as it was fed, including what the template puts around it.
    pub prompt_tokens: u64,
    /// Seconds that they took.
    pub prompt_seconds: f64,
    /// Tokens of the last answer.
    pub answer_tokens: u64,
    /// Seconds that they took.
    pub answer_seconds: f64,
    /// Seed of the draws.
    pub seed: u64,
}

// SAFETY: `repr(C)`, `u32` first, any bits are valid, a pair of 4 bytes and whole 8 bytes.
unsafe impl Versioned for SessionInfo {
    const DEFAULT: SessionInfo = SessionInfo {
        struct_size: size_of::<SessionInfo>() as u32,
        paused: 0,
        position: 0,
        states: 0,
        states_room: 0,
        messages: 0,
        prompt_tokens: 0,
        prompt_seconds: 0.0,
        answer_tokens: 0,
        answer_seconds: 0.0,
        seed: 0,
    };
}

/// Opens a session. All of its memory is allocated now; attamba_estimate reports in advance how
/// much.
///
/// `*session` gets the handle, to be closed with attamba_session_close, or NULL on an error.
///
/// Any thread. ATTAMBA_STATUS_BUDGET if the smallest session is larger than the budget,
/// ATTAMBA_STATUS_MEMORY if the system has no more memory. The message is that of the model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_open(
    model: *const attamba_model,
    options: *const SessionOptions,
    session: *mut *mut attamba_session,
) -> Status {
    guard::on(&MODELS, model, |model| {
        check_place(session)?;
        // SAFETY: the caller's pointers are as the header says.
        unsafe {
            buffer::result(std::ptr::null_mut(), session);
            let options: SessionOptions = versioned::read(options)?;
            let samplers = Sampling::samplers(options.sampling, model)?;
            let engine = model.engines.get(Engine::of(options.engine)?)?;
            let opened = runtime::session::Session::open(&engine, options.options()?)?;
            let work = Work::Raw(Box::new(options.raw(opened, samplers)));
            buffer::result(Session::new(Arc::clone(model), work)?.publish(), session);
        }
        Ok(())
    })
}

/// Closes a session. A call in progress on it is cancelled, and this one returns when that one has
/// returned: from then on no callback of the session runs any more. Called from a callback of the
/// session it returns at once, and the session is freed when the callback's call ends.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_close(session: *mut attamba_session) -> Status {
    guard::call(|| {
        let open = SESSIONS.remove(session.addr())?;
        crate::cancel::remove(session.addr());
        open.close();
        Ok(())
    })
}

/// Forgets everything: text, chat and instruction. The memory stays allocated.
///
/// One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_reset(session: *const attamba_session) -> Status {
    guard::on(&SESSIONS, session, |session| session.work(Work::reset))
}

/// Changes how tokens are chosen from now on; NULL for the defaults: those of attamba_sampling_init
/// for raw text and of attamba_sampling_init_chat in a chat, except for what the model's file
/// recommends. The tokens that a repetition penalty has counted so far stay counted.
///
/// One thread at a time. ATTAMBA_STATUS_ARGUMENT if a number is out of range; the session continues
/// to choose as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_set_sampling(
    session: *const attamba_session,
    sampling: *const Sampling,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller's struct is as long as it says.
        let samplers = unsafe { Sampling::samplers(sampling, &session.model) }?;
        session.work(|work| work.set_samplers(samplers))
    })
}

/// Once this call has returned nothing is computed until attamba_session_resume: for an application
/// that leaves the foreground, since some systems terminate those that use the GPU then. It waits
/// for the current block, milliseconds. A call that feeds or generates waits meanwhile, and can be
/// cancelled; one that copies the state (snapshot, rewind, fork, save) fails with
/// ATTAMBA_STATUS_PAUSED.
///
/// Any thread, and from a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_pause(session: *const attamba_session) -> Status {
    guard::on(&SESSIONS, session, |session| {
        session.control.pause();
        Ok(())
    })
}

/// Ends a pause; without one nothing happens.
///
/// Any thread, and from a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_resume(session: *const attamba_session) -> Status {
    guard::on(&SESSIONS, session, |session| {
        session.control.resume();
        Ok(())
    })
}

/// Fills `info`, whose `struct_size` the caller has set.
///
/// One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_get_info(
    session: *const attamba_session,
    info: *mut SessionInfo,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        let value = session.work(|work| {
            let mut value = SessionInfo {
                paused: i32::from(session.control.is_paused()),
                ..SessionInfo::DEFAULT
            };
            if let Work::Chat(chat) = work {
                let (prompt, answer) = chat.talk.speed();
                value.messages = chat.talk.messages().len() as u64;
                value.prompt_tokens = prompt.tokens as u64;
                value.prompt_seconds = prompt.time.as_secs_f64();
                value.answer_tokens = answer.tokens as u64;
                value.answer_seconds = answer.time.as_secs_f64();
            }
            let inner = work.session()?;
            value.seed = work.seed()?;
            value.position = inner.position();
            value.states = inner.ring().0 as u64;
            value.states_room = inner.ring().1 as u64;
            Ok(value)
        })?;
        // SAFETY: the caller's struct is as long as it says.
        unsafe { versioned::write(value, info) }
    })
}

/// A sentence for people about what the session remembers, such as `14 of 90 heads see the last 8,192
/// tokens, the others the last 2,798; 22.5 MiB in int4`. `buffer`, `capacity` and `length` as in
/// attamba_error_message.
///
/// One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_reach(
    session: *const attamba_session,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        let sentence = session.work(|work| Ok(work.session()?.reach().to_string()))?;
        // SAFETY: the caller's pointers are as the header says.
        unsafe { buffer::text(&sentence, buffer, capacity, length) }
    })
}

/// Saves the session at `path`: its state, and the messages of its chat. An existing file stays
/// intact until the new one is complete, and is replaced only if it is a saved session.
///
/// One thread at a time. ATTAMBA_STATUS_IO if the file can't be written, ATTAMBA_STATUS_PAUSED
/// while paused; the session is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_save(
    session: *const attamba_session,
    path: *const c_char,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the path ends with a zero byte.
        let path = unsafe { input::path(path) }?;
        session.work(|work| {
            match work {
                Work::Raw(raw) => raw.session.save(&path, b"")?,
                Work::Chat(chat) => chat.talk.save(&path)?,
                Work::Nothing => return Err(broken()),
            }
            Ok(())
        })
    })
}

/// Resumes the session that was saved at `path`, with the budget that it had; nothing is computed
/// again. Of `options` the engine, the sampling, `parse_special` and `checkpoint_bytes` are used.
///
/// `*session` gets the handle, to be closed with attamba_session_close, or NULL on an error.
///
/// Any thread. ATTAMBA_STATUS_SAVED if the file is damaged, is not a saved session, or is of
/// another model; ATTAMBA_STATUS_IO if it can't be read. The message is that of the model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_load(
    model: *const attamba_model,
    path: *const c_char,
    options: *const SessionOptions,
    session: *mut *mut attamba_session,
) -> Status {
    guard::on(&MODELS, model, |model| {
        check_place(session)?;
        // SAFETY: the caller's pointers are as the header says.
        unsafe {
            buffer::result(std::ptr::null_mut(), session);
            let path = input::path(path)?;
            let options: SessionOptions = versioned::read(options)?;
            let samplers = Sampling::samplers(options.sampling, model)?;
            let engine = model.engines.get(Engine::of(options.engine)?)?;
            let (loaded, note) = runtime::session::Session::resume(&engine, &path)?;
            let work = if note.is_empty() {
                Work::Raw(Box::new(options.raw(loaded, samplers)))
            } else {
                let language = model.language()?.clone();
                let Samplers { raw, chat } = samplers;
                let talk = Conversation::from_saved(loaded, &note, chat, language)?;
                Work::Chat(Box::new(options.settings().chat(talk, raw)))
            };
            buffer::result(Session::new(Arc::clone(model), work)?.publish(), session);
        }
        Ok(())
    })
}

/// The pointer that receives a handle must not be null.
pub fn check_place<T>(place: *mut *mut T) -> Result<()> {
    if place.is_null() {
        return Err(Failure::argument("the place for the session is NULL"));
    }
    Ok(())
}
