//! Ctrl-C, and on Unix the signals that end a program: what is in progress stops, and is left intact.

use anyhow::{Context, Result};
use attamba::session::Control;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The signal that is to end the program, if it is not that of Ctrl-C.
static ENDED_BY: AtomicU8 = AtomicU8::new(0);

/// The exit code of a command that a signal has stopped: 128 plus its number, as in shells.
pub fn exit_code() -> u8 {
    match ENDED_BY.load(Ordering::Relaxed) {
        0 => 130,
        signal => 128 + signal,
    }
}

/// Whether a signal is to end the program, after what is in progress.
pub fn is_ended() -> bool {
    ENDED_BY.load(Ordering::Relaxed) != 0
}

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

/// Whether Ctrl-C was pressed. A session forgets a cancel when its call ends; this does not.
#[derive(Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    cancel: Arc<Mutex<Option<Control>>>,
}

impl Interrupt {
    /// Handles Ctrl-C for the rest of the program. It cancels the call that a session is executing.
    pub fn install(cancel: Option<Control>, second: Second) -> Result<Interrupt> {
        let interrupt = Interrupt { cancel: Arc::new(Mutex::new(cancel)), ..Interrupt::default() };
        let this = interrupt.clone();
        // The handler runs on a thread of its own, where taking a lock is allowed.
        ctrlc::set_handler(move || {
            let again = this.asked.swap(true, Ordering::Relaxed);
            if again && second == Second::Exits {
                std::process::exit(exit_code().into());
            }
            this.cancel();
        })
        .context("Ctrl-C can't be handled: the system may refuse another thread")?;
        #[cfg(unix)]
        interrupt.at_the_end();
        Ok(interrupt)
    }

    fn cancel(&self) {
        if let Some(cancel) = &*self.cancel.lock().unwrap_or_else(PoisonError::into_inner) {
            cancel.cancel();
        }
    }

    /// Stops at SIGTERM what is in progress. Not at SIGHUP, which `nohup` may have turned off.
    #[cfg(unix)]
    fn at_the_end(&self) {
        let this = self.clone();
        on_signals(&[signal_hook::consts::SIGTERM], move || {
            this.asked.store(true, Ordering::Relaxed);
            this.cancel();
        });
    }

    /// From now on Ctrl-C cancels this session's calls.
    pub fn rebind(&self, cancel: Control) {
        *self.cancel.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel);
    }

    /// Whether it was pressed since the last [`Interrupt::clear`].
    pub fn is_set(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Resets it: what was pressed so far was not meant for the next call.
    pub fn clear(&self) {
        self.asked.store(false, Ordering::Relaxed);
        if let Some(cancel) = &*self.cancel.lock().unwrap_or_else(PoisonError::into_inner) {
            cancel.clear_cancel();
        }
    }
}

/// Runs `then` for each of `signals` that arrives, on a thread of its own. Without such a thread they
/// do what they do anyway.
#[cfg(unix)]
fn on_signals(signals: &[i32], then: impl Fn() + Send + 'static) {
    let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) else { return };
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            ENDED_BY.store(u8::try_from(signal).unwrap_or(0), Ordering::Relaxed);
            then();
        }
    });
}

/// A terminal whose state is restored when a signal ends the program at the prompt; while an answer
/// is in progress the signal stops the answer, and the program ends when it has been saved.
#[cfg(unix)]
pub struct Prompt {
    waiting: Arc<Mutex<bool>>,
}

#[cfg(unix)]
impl Prompt {
    /// For the rest of the program.
    pub fn install(interrupt: &Interrupt) -> Prompt {
        use signal_hook::consts::{SIGHUP, SIGTERM};
        let waiting = Arc::new(Mutex::new(false));
        let (this, interrupt) = (Arc::clone(&waiting), interrupt.clone());
        let before = rustix::termios::tcgetattr(std::io::stdin()).ok();
        on_signals(&[SIGTERM, SIGHUP], move || {
            interrupt.cancel();
            // Held until the end of the program, so that no answer begins.
            let waiting = this.lock().unwrap_or_else(PoisonError::into_inner);
            if *waiting {
                if let Some(before) = &before {
                    let now = rustix::termios::OptionalActions::Now;
                    let _ = rustix::termios::tcsetattr(std::io::stdin(), now, before);
                }
                // The end of bracketed paste.
                let _ = std::io::Write::write_all(&mut std::io::stdout(), b"\x1b[?2004l\n");
                std::process::exit(exit_code().into());
            }
        });
        Prompt { waiting }
    }

    /// Reads a line by `read`.
    pub fn wait<T>(&self, read: impl FnOnce() -> T) -> T {
        let set = |to| *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = to;
        set(true);
        let line = read();
        set(false);
        line
    }
}
