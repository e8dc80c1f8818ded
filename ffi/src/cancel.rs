//! Cancelling, also from a signal handler: the open sessions in a list that is read without a lock
//! and without memory.

use crate::guard;
use crate::handle::{SESSIONS, lock};
use crate::session::attamba_session;
use crate::status::Status;
use runtime::session::Control;
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};

/// A place for an open session. Places are never freed, and used again.
struct Place {
    /// The number of its handle; 0 for none.
    number: AtomicUsize,
    /// Changed only while `number` is 0 and nobody reads.
    control: UnsafeCell<Control>,
    next: *const Place,
}

// SAFETY: `control` is changed as it says there; the rest does not change, or is atomic.
unsafe impl Sync for Place {}

static FIRST: AtomicPtr<Place> = AtomicPtr::new(null_mut());
/// Threads, and handlers, that read the list at the moment. In a child process one that its parent
/// left behind may read forever, so nobody waits for them.
static READERS: AtomicUsize = AtomicUsize::new(0);
/// For who changes the list.
static CHANGES: Mutex<()> = Mutex::new(());

fn places() -> impl Iterator<Item = &'static Place> {
    // SAFETY: null, or a place, which is never freed.
    let of = |place: *const Place| unsafe { place.as_ref() };
    std::iter::successors(of(FIRST.load(SeqCst)), move |place| of(place.next))
}

/// The session with the handle `number` can be cancelled by `control` from now on.
pub fn add(number: usize, control: Control) {
    let _changes = lock(&CHANGES);
    let empty = places().find(|place| place.number.load(SeqCst) == 0);
    // Whoever begins to read from here on does not find the number.
    if let Some(place) = empty.filter(|_| READERS.load(SeqCst) == 0) {
        // SAFETY: nobody reads it, and others who would change it wait.
        unsafe { *place.control.get() = control };
        place.number.store(number, SeqCst);
        return;
    }
    let (number, next) = (AtomicUsize::new(number), FIRST.load(SeqCst));
    let place = Box::new(Place { number, control: UnsafeCell::new(control), next });
    FIRST.store(Box::leak(place), SeqCst);
}

/// From now on no longer.
pub fn remove(number: usize) {
    if let Some(place) = places().find(|place| place.number.load(SeqCst) == number) {
        place.number.store(0, SeqCst);
    }
}

/// Cancels the session with that handle; false if there is none.
fn cancel(number: usize) -> bool {
    READERS.fetch_add(1, SeqCst);
    let place = places().find(|place| place.number.load(SeqCst) == number);
    // SAFETY: it had this number after this thread was counted as a reader, so its control stays.
    let control = place.filter(|_| number != 0).map(|place| unsafe { &*place.control.get() });
    control.inspect(|control| control.cancel());
    let found = control.is_some();
    READERS.fetch_sub(1, SeqCst);
    found
}

/// Cancels the call in progress on the session, or, if there is none, the next one that processes
/// or generates tokens: a cancel that comes just before the call that it is meant for is not lost.
/// A call ends within a block of tokens, milliseconds, also while it converts a long text into
/// tokens. The session stays usable.
///
/// Any thread, from a callback, and from a signal handler: it takes no lock, allocates nothing and
/// does not wait. ATTAMBA_STATUS_CLOSED, without a message, if the session is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_cancel(session: *const attamba_session) -> Status {
    if cancel(session.addr()) { Status::Ok } else { Status::Closed }
}

/// Withdraws a cancel that no call has met, such as one that came after the end of the call that it
/// was meant for.
///
/// Any thread, and from a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_clear_cancel(session: *const attamba_session) -> Status {
    guard::on(&SESSIONS, session, |session| {
        session.control.clear_cancel();
        Ok(())
    })
}
