//! Ctrl-C: stops what is under way, and leaves it whole.

use anyhow::{Context, Result};
use attamba::session::Cancel;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The exit code of a command that Ctrl-C has stopped: 128 and the number of the signal, as shells
/// have it.
pub const EXIT_CODE: u8 = 130;

/// The user has stopped the command: nothing to report, and an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// What a second Ctrl-C does before the first has been looked at.
#[derive(Clone, Copy, PartialEq)]
pub enum Second {
    /// Nothing more than the first.
    Waits,
    /// Ends the program at once.
    Exits,
}

/// Whether Ctrl-C was pressed. A session forgets a cancel when its next call begins; this does not.
#[derive(Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    cancel: Arc<Mutex<Option<Cancel>>>,
}

impl Interrupt {
    /// Takes Ctrl-C over for the rest of the program. It cancels the call that a session is in.
    pub fn install(cancel: Option<Cancel>, second: Second) -> Result<Interrupt> {
        let interrupt = Interrupt { cancel: Arc::new(Mutex::new(cancel)), ..Interrupt::default() };
        let this = interrupt.clone();
        // The handler runs on a thread of its own, where a lock may be taken.
        ctrlc::set_handler(move || {
            let again = this.asked.swap(true, Ordering::Relaxed);
            if again && second == Second::Exits {
                std::process::exit(EXIT_CODE.into());
            }
            if let Some(cancel) = &*this.cancel.lock().unwrap_or_else(PoisonError::into_inner) {
                cancel.cancel();
            }
        })
        .context("Ctrl-C can't be handled")?;
        Ok(interrupt)
    }

    /// From now on Ctrl-C cancels this session's calls.
    pub fn rebind(&self, cancel: Cancel) {
        *self.cancel.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel);
    }

    /// Whether it was pressed since the last [`Interrupt::clear`].
    pub fn is_set(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Forgets it.
    pub fn clear(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }
}
