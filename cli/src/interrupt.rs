//! Ctrl-C: stops what is in progress, and leaves it intact.

use anyhow::{Context, Result};
use attamba::session::Cancel;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The exit code of a command that Ctrl-C has stopped: 128 plus the signal number, as in shells.
pub const EXIT_CODE: u8 = 130;

/// The user has stopped the command: nothing to report, and an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// What a second Ctrl-C does before the first has been handled.
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
    /// Handles Ctrl-C for the rest of the program. It cancels the call that a session is executing.
    pub fn install(cancel: Option<Cancel>, second: Second) -> Result<Interrupt> {
        let interrupt = Interrupt { cancel: Arc::new(Mutex::new(cancel)), ..Interrupt::default() };
        let this = interrupt.clone();
        // The handler runs on a thread of its own, where taking a lock is allowed.
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

    /// Resets it.
    pub fn clear(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }
}
