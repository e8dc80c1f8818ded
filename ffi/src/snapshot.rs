//! Snapshots and forks.

use crate::buffer;
use crate::error::{Failure, Result};
use crate::guard;
use crate::handle::{Handle, LastError, SESSIONS, SNAPSHOTS};
use crate::session::{Session, attamba_session, check_place};
use crate::status::Status;
use crate::work::{Raw, Work, broken};
use runtime::{conversation, session};
use std::sync::Arc;

/// A session at some point in time.
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct attamba_snapshot {
    _opaque: [u8; 0],
}

/// What a handle of a snapshot refers to.
pub struct Snapshot {
    kept: Kept,
    error: LastError,
}

enum Kept {
    Raw { session: session::Snapshot, recent: Vec<u32> },
    Chat(conversation::Snapshot),
}

impl Handle for Snapshot {
    type Opaque = attamba_snapshot;

    fn error(&self) -> &LastError {
        &self.error
    }
}

/// Keeps a copy of the session as it is now, in memory: as large as the filled part of its state.
///
/// `*snapshot` gets the handle, to be closed with attamba_snapshot_close, or NULL on an error.
///
/// One thread at a time. ATTAMBA_STATUS_MEMORY, ATTAMBA_STATUS_PAUSED; the session is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_snapshot(
    session: *const attamba_session,
    snapshot: *mut *mut attamba_snapshot,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        check_place(snapshot)?;
        // SAFETY: it is a place for a handle, here and below.
        unsafe { buffer::result(std::ptr::null_mut(), snapshot) };
        let kept = session.work(|work| {
            Ok(match work {
                Work::Raw(raw) => {
                    Kept::Raw { session: raw.session.snapshot()?, recent: raw.sampler.recent() }
                }
                Work::Chat(chat) => Kept::Chat(chat.talk.snapshot()?),
                Work::Nothing => return Err(broken()),
            })
        })?;
        let handle = SNAPSHOTS.add(Snapshot { kept, error: LastError::default() });
        // SAFETY: the header asks for null or a place for the handle.
        unsafe { buffer::result(handle, snapshot) };
        Ok(())
    })
}

/// Restores the session, or another one of the same model and budget, to where the snapshot was
/// made. What is computed from there on is bit-identical to what was computed then. The snapshot is
/// kept.
///
/// One thread at a time for the session. ATTAMBA_STATUS_ARGUMENT if the snapshot is of another
/// model or budget, ATTAMBA_STATUS_STATE if one is of a chat and the other of raw text; the session
/// is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_rewind(
    session: *const attamba_session,
    snapshot: *const attamba_snapshot,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        let snapshot = SNAPSHOTS.find(snapshot.addr())?;
        session.work(|work| rewind(work, &snapshot.kept))
    })
}

fn rewind(work: &mut Work, kept: &Kept) -> Result<()> {
    match (work, kept) {
        (Work::Raw(raw), Kept::Raw { session, recent }) => {
            raw.session.rewind(session)?;
            raw.sampler.recall(recent);
        }
        (Work::Chat(chat), Kept::Chat(snapshot)) => chat.talk.rewind(snapshot)?,
        (Work::Nothing, _) => return Err(broken()),
        _ => {
            return Err(Failure::new(
                Status::State,
                "of the session and the snapshot one is of a chat, the other of raw text",
            ));
        }
    }
    Ok(())
}

/// A second session at the same point as this one, independent from here on: what both have
/// processed is computed once. It takes as much memory as the first.
///
/// `*fork` gets the handle, to be closed with attamba_session_close, or NULL on an error.
///
/// One thread at a time. ATTAMBA_STATUS_MEMORY, ATTAMBA_STATUS_PAUSED; the session is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_fork(
    session: *const attamba_session,
    fork: *mut *mut attamba_session,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        check_place(fork)?;
        // SAFETY: it is a place for a handle, here and below.
        unsafe { buffer::result(std::ptr::null_mut(), fork) };
        let second = session.work(|work| {
            Ok(match work {
                Work::Raw(raw) => {
                    let (session, sampler) = (raw.session.fork()?, raw.sampler.clone());
                    let as_chat = raw.as_chat.clone();
                    Work::Raw(Box::new(Raw { session, sampler, as_chat }))
                }
                Work::Chat(chat) => {
                    let (talk, raw) = (chat.talk.fork()?, chat.raw.clone());
                    Work::Chat(Box::new(chat.settings.clone().chat(talk, raw)))
                }
                Work::Nothing => return Err(broken()),
            })
        })?;
        let handle = Session::new(Arc::clone(&session.model), second)?.publish();
        // SAFETY: the header asks for null or a place for the handle.
        unsafe { buffer::result(handle, fork) };
        Ok(())
    })
}

/// Bytes that the snapshot holds.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_snapshot_bytes(
    snapshot: *const attamba_snapshot,
    bytes: *mut u64,
) -> Status {
    guard::on(&SNAPSHOTS, snapshot, |snapshot| {
        let held = match &snapshot.kept {
            Kept::Raw { session, recent } => session.bytes() + 4 * recent.len() as u64,
            Kept::Chat(kept) => kept.bytes(),
        };
        // SAFETY: null, or a place for the answer.
        unsafe { buffer::result(held, bytes) };
        Ok(())
    })
}

/// Closes a snapshot and frees its memory.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_snapshot_close(snapshot: *mut attamba_snapshot) -> Status {
    guard::call(|| SNAPSHOTS.remove(snapshot.addr()).map(drop))
}
