//! Raw text and tokens: feeding and generating.

use crate::buffer::{self, Terminated};
use crate::chat;
use crate::error::{Failure, Result};
use crate::guard;
use crate::handle::SESSIONS;
use crate::input;
use crate::session::{Session, attamba_session};
use crate::status::Status;
use crate::versioned::{self, Versioned};
use crate::work::Raw;
use runtime::{Candidate, Sampler, session};
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

/// A token and its log probability.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Likely {
    /// The token.
    pub token: u32,
    /// The natural logarithm of its probability, before any stage of the sampler.
    pub logprob: f32,
}

/// A token that was generated.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Token {
    /// sizeof(attamba_token) of the library. A function that was compiled with another header reads
    /// no more than this.
    pub struct_size: u32,
    /// Number of entries in `top`.
    pub count: u32,
    /// The token.
    pub chosen: Likely,
    /// The most likely ones, most likely first.
    pub top: *const Likely,
}

/// Receives a token once the session has processed it, before its text, which may wait for that of
/// later tokens. The rules are those of attamba_text_fn.
pub type TokenFn = Option<unsafe extern "C" fn(user: *mut c_void, token: *const Token)>;

/// What attamba_session_run generates, and who gets it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Run {
    /// sizeof(attamba_run).
    pub struct_size: u32,
    /// The most tokens.
    pub most: u32,
    /// A message to answer in a chat, UTF-8; NULL to continue raw text.
    pub message: *const c_char,
    /// Bytes of `message`.
    pub bytes: u64,
    /// Receives the text; may be NULL.
    pub each: TextFn,
    /// Receives the tokens; may be NULL.
    pub token: TokenFn,
    /// Passed to both.
    pub user: *mut c_void,
    /// How many of the most likely tokens `token` gets.
    pub top: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, `u32` first, any bits are valid (a function pointer is only called as C's own),
// pairs of 4 bytes and whole pointers.
unsafe impl Versioned for Run {
    const DEFAULT: Run = Run {
        struct_size: size_of::<Run>() as u32,
        most: 0,
        message: std::ptr::null(),
        bytes: 0,
        each: None,
        token: None,
        user: std::ptr::null_mut(),
        top: 0,
        reserved: 0,
    };
}

/// The caller's pointer, in a function that the session calls only on the thread of the call.
struct User(*mut c_void);

// SAFETY: it is used on the thread of the call alone, as [`Run::watch`] says.
unsafe impl Send for User {}

impl Run {
    /// Has `sampler` pass tokens on, if they are wanted: until it is told otherwise, at the end of the
    /// caller's call.
    pub fn watch(&self, sampler: &mut Sampler) {
        let Some(function) = self.token else { return };
        let user = User(self.user);
        let mut top = Vec::new();
        let each = move |chosen: Candidate, best: &[Candidate]| {
            let user = &user;
            let likely = |c: &Candidate| Likely { token: c.token, logprob: c.logit };
            top.clear();
            top.extend(best.iter().map(likely));
            let token = Token {
                struct_size: size_of::<Token>() as u32,
                count: top.len() as u32,
                chosen: likely(&chosen),
                top: top.as_ptr(),
            };
            // SAFETY: the caller's function, while the caller waits; the token is alive.
            unsafe { function(user.0, &raw const token) };
        };
        sampler.watch(self.top as usize, Some(Box::new(each)));
    }
}

/// A caller's function with its user pointer.
pub struct Sink {
    function: TextFn,
    user: *mut c_void,
    /// Whether it has returned 0.
    stopped: bool,
    text: Terminated,
}

impl Sink {
    pub fn new(function: TextFn, user: *mut c_void) -> Result<Sink> {
        match function {
            Some(_) => Ok(Sink::of(function, user)),
            None => Err(Failure::argument("the text function is NULL")),
        }
    }

    /// One that may be missing.
    pub fn of(function: TextFn, user: *mut c_void) -> Sink {
        Sink { function, user, stopped: false, text: Terminated::default() }
    }

    /// Passes text on; returns whether to continue.
    ///
    /// # Safety
    /// The caller of the exported function has given a function that can be called with its `user`.
    pub unsafe fn push(&mut self, text: &str) -> bool {
        let Some(function) = self.function.filter(|_| !text.is_empty() && !self.stopped) else {
            return !self.stopped;
        };
        // SAFETY: as the caller guarantees; the text is alive during the call.
        let go_on = unsafe { function(self.user, self.text.of(text), text.len()) };
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
        let sink = Sink::new(each, user)?;
        let why = generated(session, &Run { most, ..Run::DEFAULT }, sink)?;
        // SAFETY: null, or a place for the answer.
        unsafe { buffer::result(why, finish) };
        Ok(())
    })
}

/// Continues what has been fed.
fn generated(session: &Session, run: &Run, mut sink: Sink) -> Result<Finish> {
    session.work(|work| {
        let Raw { session: inner, sampler, .. } = work.raw()?;
        if inner.position() == 0 {
            return Err(Failure::new(Status::State, "nothing has been fed yet"));
        }
        let language = session.model.language()?;
        run.watch(sampler);
        let mut pieces = inner.pieces(sampler, language, run.most as usize);
        let mut result = Ok(());
        for piece in pieces.by_ref() {
            // SAFETY: the caller's function, while the caller waits.
            match piece.map(|piece| unsafe { sink.push(&piece) }) {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    result = Err(e);
                    break;
                }
            }
        }
        let finish = pieces.finish().unwrap_or(session::Finish::Stopped);
        drop(pieces);
        sampler.watch(0, None);
        result?;
        Ok(finish.into())
    })
}

/// Answers a message as attamba_session_chat does, or continues raw text as attamba_session_generate
/// does, and also passes the tokens on, with their log probabilities. `*finish`, unless `finish` is
/// NULL, gets the reason why it ended.
///
/// One thread at a time; cancel from any. Errors as those of attamba_session_chat and
/// attamba_session_generate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_run(
    session: *const attamba_session,
    run: *const Run,
    finish: *mut Finish,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller's struct is as long as it says.
        let run: Run = unsafe { versioned::read(run) }?;
        let sink = Sink::of(run.each, run.user);
        let why = if run.message.is_null() {
            generated(session, &run, sink)?
        } else {
            let bytes = usize::try_from(run.bytes).unwrap_or(usize::MAX);
            // SAFETY: the caller gives that many bytes.
            let message = unsafe { input::text(run.message, bytes, "the message") }?;
            chat::answered(session, vec![message.into()], &run, sink)?
        };
        // SAFETY: null, or a place for the answer.
        unsafe { buffer::result(why, finish) };
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
