//! Raw text and tokens: feeding and generating.

use crate::buffer::{self, Terminated};
use crate::error::{Failure, Result};
use crate::guard;
use crate::handle::SESSIONS;
use crate::input;
use crate::session::attamba_session;
use crate::status::Status;
use crate::work::Raw;
use runtime::session;
use std::ffi::{c_char, c_void};

/// Receives text as it is generated: `bytes` bytes of UTF-8 at `text`, whole characters only,
/// followed by a zero byte. They belong to the library and are valid until the function returns.
/// Returns 0 to stop, anything else to continue.
///
/// It is called on the thread of the call that generates the text, which is still in progress: of
/// the session's functions only cancel, pause, resume, shrink, close and the message of the last
/// error may be called from it, and it must not throw or longjmp.
pub type TextFn =
    Option<unsafe extern "C" fn(user: *mut c_void, text: *const c_char, bytes: usize) -> i32>;

/// Why a text ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    Ended = 0,
    /// The token limit was reached.
    Limit = 1,
    /// The callback stopped it.
    Stopped = 2,
    /// attamba_session_cancel, after the text had begun. What has been generated so far counts.
    Cancelled = 3,
    /// attamba_session_cancel, before the answer of a chat began: the message does not count.
    Dropped = 4,
    /// A text of attamba_sampling.stop, which is not part of what was generated.
    StopText = 5,
}

impl From<session::Finish> for Finish {
    fn from(finish: session::Finish) -> Finish {
        match finish {
            session::Finish::End => Finish::Ended,
            session::Finish::Limit => Finish::Limit,
            session::Finish::Cancelled => Finish::Cancelled,
            session::Finish::StopText => Finish::StopText,
            // By the callback, or in a way that has no name here.
            _ => Finish::Stopped,
        }
    }
}

/// A caller's function with its user pointer.
pub struct Sink {
    function: unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> i32,
    user: *mut c_void,
    /// Whether it has returned 0.
    stopped: bool,
    text: Terminated,
}

impl Sink {
    pub fn new(function: TextFn, user: *mut c_void) -> Result<Sink> {
        let function = function.ok_or_else(|| Failure::argument("the text function is NULL"))?;
        Ok(Sink { function, user, stopped: false, text: Terminated::default() })
    }

    /// Passes text on; returns whether to continue.
    ///
    /// # Safety
    /// The caller of the exported function has given a function that can be called with its `user`.
    pub unsafe fn push(&mut self, text: &str) -> bool {
        if text.is_empty() || self.stopped {
            return !self.stopped;
        }
        // SAFETY: as the caller guarantees; the text is alive during the call.
        let go_on = unsafe { (self.function)(self.user, self.text.of(text), text.len()) };
        self.stopped = !input::boolean(go_on);
        !self.stopped
    }
}

/// Processes `bytes` bytes of UTF-8. With `special` not 0, text such as `<|im_start|>` becomes the
/// token of that name. At the very start the token that begins a text is prepended if the model
/// expects one.
///
/// One thread at a time; cancel from any. ATTAMBA_STATUS_CANCELLED: the tokens up to the position
/// in attamba_session_get_info have been processed. ATTAMBA_STATUS_STATE if the session holds a
/// chat. On any other error nothing is processed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_feed_text(
    session: *const attamba_session,
    text: *const c_char,
    bytes: usize,
    special: i32,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller gives that many bytes.
        let text = unsafe { input::text(text, bytes, "the text") }?;
        session.work(|work| {
            let Raw { session: inner, sampler, .. } = work.raw()?;
            let language = session.model.language()?;
            let tokens = inner.feed_text(language, text, input::boolean(special))?;
            tokens.into_iter().for_each(|token| sampler.accept(token));
            Ok(())
        })
    })
}

/// Processes `count` tokens as they are.
///
/// One thread at a time; cancel from any. Errors as attamba_session_feed_text, and
/// ATTAMBA_STATUS_ARGUMENT if a token is beyond the vocabulary.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_feed_tokens(
    session: *const attamba_session,
    tokens: *const u32,
    count: usize,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller gives that many tokens.
        let tokens = unsafe { input::slice(tokens, count, "the tokens") }?;
        session.work(|work| {
            let Raw { session: inner, sampler, .. } = work.raw()?;
            inner.feed(tokens)?;
            tokens.iter().for_each(|&token| sampler.accept(token));
            Ok(())
        })
    })
}

/// Continues what has been fed with at most `most` tokens, and passes the text to `each`.
/// `*finish`, unless `finish` is NULL, gets the reason why it ended; the session has processed what
/// was generated, and a stop text that ended it.
///
/// One thread at a time; cancel from any. ATTAMBA_STATUS_STATE if nothing has been fed yet, if the
/// last feed was cancelled and nothing was fed since, or if the session holds a chat. After another
/// error the session may lack the last token, or all of them if the GPU was lost:
/// attamba_session_get_info reports the position.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_generate(
    session: *const attamba_session,
    most: u32,
    each: TextFn,
    user: *mut c_void,
    finish: *mut Finish,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        let mut sink = Sink::new(each, user)?;
        let why = session.work(|work| {
            let Raw { session: inner, sampler, .. } = work.raw()?;
            if inner.position() == 0 {
                return Err(Failure::new(Status::State, "nothing has been fed yet"));
            }
            let language = session.model.language()?;
            let mut pieces = inner.pieces(sampler, language, most as usize);
            for piece in pieces.by_ref() {
                // SAFETY: the caller's function, while the caller waits.
                if !unsafe { sink.push(&piece?) } {
                    break;
                }
            }
            Ok(pieces.finish().unwrap_or(session::Finish::Stopped))
        })?;
        // SAFETY: null, or a place for the answer.
        unsafe { buffer::result(why.into(), finish) };
        Ok(())
    })
}

/// The logits of the last token that was processed: as many floats as the vocabulary has tokens,
/// none before the first token.
///
/// Writes at most `capacity` of them; `*count`, unless `count` is NULL, gets the total number.
///
/// One thread at a time. ATTAMBA_STATUS_STATE if the session holds a chat, or has no logits because
/// the last feed was cancelled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_logits(
    session: *const attamba_session,
    logits: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        session.work(|work| {
            let found = work.logits()?;
            // SAFETY: the caller gives room for that many.
            unsafe { buffer::slice(found, logits, capacity, count) }
        })
    })
}
