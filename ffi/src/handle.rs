//! Handles: numbers that C sees as pointers. A number is given out once, so a handle that was
//! closed is unknown from then on, and whatever a caller hands in by mistake is looked up, never
//! followed.

use crate::error::{Failure, Result};
use crate::model::Model;
use crate::session::Session;
use crate::snapshot::Snapshot;
use crate::status::Status;
use std::collections::BTreeMap;
use std::ptr::without_provenance_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub static MODELS: Table<Model> = Table::new();
pub static SESSIONS: Table<Session> = Table::new();
pub static SNAPSHOTS: Table<Snapshot> = Table::new();

/// Numbers given out so far, by all tables: a handle of one kind is unknown to the others.
static GIVEN: AtomicUsize = AtomicUsize::new(0);

/// What a handle refers to.
pub trait Handle: Send + Sync {
    /// The incomplete type that C sees.
    type Opaque;

    /// The message of the last call on the handle that failed.
    fn error(&self) -> &LastError;
}

/// The message of the last call on a handle that failed.
#[derive(Default)]
pub struct LastError(Mutex<String>);

impl LastError {
    pub fn keep(&self, message: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
        kept.push_str(message);
    }

    pub fn read(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The open handles of one kind.
pub struct Table<T>(RwLock<BTreeMap<usize, Arc<T>>>);

impl<T: Handle> Table<T> {
    const fn new() -> Table<T> {
        Table(RwLock::new(BTreeMap::new()))
    }

    /// Gives out a handle.
    pub fn add(&self, object: T) -> *mut T::Opaque {
        let mut open = self.0.write().unwrap_or_else(PoisonError::into_inner);
        loop {
            // On machines of 32 bits the numbers may come round.
            let number = GIVEN.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if number != 0 && !open.contains_key(&number) {
                open.insert(number, Arc::new(object));
                return without_provenance_mut(number);
            }
        }
    }

    /// The object of the handle.
    pub fn find(&self, number: usize) -> Result<Arc<T>> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&number).cloned().ok_or_else(closed)
    }

    /// Removes the handle; it is unknown from now on.
    pub fn remove(&self, number: usize) -> Result<Arc<T>> {
        let mut open = self.0.write().unwrap_or_else(PoisonError::into_inner);
        open.remove(&number).ok_or_else(closed)
    }
}

/// The object of a handle of any kind.
pub fn any(number: usize) -> Option<AnyHandle> {
    (MODELS.find(number).map(AnyHandle::Model))
        .or_else(|_| SESSIONS.find(number).map(AnyHandle::Session))
        .or_else(|_| SNAPSHOTS.find(number).map(AnyHandle::Snapshot))
        .ok()
}

/// A handle whose kind is not known beforehand.
pub enum AnyHandle {
    Model(Arc<Model>),
    Session(Arc<Session>),
    Snapshot(Arc<Snapshot>),
}

impl AnyHandle {
    pub fn error(&self) -> &LastError {
        match self {
            AnyHandle::Model(model) => model.error(),
            AnyHandle::Session(session) => session.error(),
            AnyHandle::Snapshot(snapshot) => snapshot.error(),
        }
    }
}

pub fn closed() -> Failure {
    Failure::new(Status::Closed, "the handle is null, closed, or of another kind")
}

/// A lock whose holder may have panicked and left nothing half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
