//! Chats: messages in, answers out, with the model's template.

use crate::buffer;
use crate::error::Failure;
use crate::generate::{Finish, Sink, TextFn};
use crate::guard;
use crate::handle::SESSIONS;
use crate::input;
use crate::session::attamba_session;
use crate::status::Status;
use crate::work::Work;
use runtime::Error;
use std::ffi::{c_char, c_void};

/// Begins a chat with a system instruction, whatever the session held before, and processes the
/// instruction now: a document to be asked about is processed once, and can be saved in that state.
/// `bytes` 0 begins a chat without an instruction.
///
/// One thread at a time; cancel from any. ATTAMBA_STATUS_CANCELLED: the chat has begun
/// nevertheless, and the first message processes the instruction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_instruct(
    session: *const attamba_session,
    text: *const c_char,
    bytes: usize,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller gives that many bytes.
        let text = unsafe { input::text(text, bytes, "the instruction") }?;
        session.work(|work| {
            let instruction = (!text.is_empty()).then(|| text.to_owned());
            let language = session.model.language()?;
            work.begin_chat(language, instruction)?;
            match work.chat(language)?.prepare() {
                // Templates may require a user message first. Then the instruction is processed
                // with it.
                Err(Error::Template(_)) => Ok(()),
                other => Ok(other?),
            }
        })
    })
}

/// Answers a message of `bytes` bytes of UTF-8 with at most `most` tokens, and passes the text of
/// the answer to `each` as it is generated. What the template writes around messages is fed as
/// well. A message that spells a special token, such as `<|im_end|>`, is plain text, unless the
/// session was opened with `parse_special`.
///
/// `*finish`, unless `finish` is NULL, gets the reason why the answer ended. The chat continues
/// from there, except after ATTAMBA_FINISH_DROPPED.
///
/// One thread at a time; cancel from any. ATTAMBA_STATUS_STATE if the session holds raw text. On
/// any error the chat is as it was before the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_chat(
    session: *const attamba_session,
    message: *const c_char,
    bytes: usize,
    most: u32,
    each: TextFn,
    user: *mut c_void,
    finish: *mut Finish,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        let mut sink = Sink::new(each, user)?;
        // SAFETY: the caller gives that many bytes.
        let message = unsafe { input::text(message, bytes, "the message") }?;
        let result = session.work(|work| {
            let chat = work.chat(session.model.language()?)?;
            // SAFETY: the caller's function, while the caller waits.
            let mut each = |text: &str| unsafe { sink.push(text) };
            Ok(chat.answer(message, most as usize, &mut each))
        })?;
        let why = match result {
            Ok(finish) => finish.into(),
            Err(Error::Cancelled) => Finish::Dropped,
            Err(e) => return Err(e.into()),
        };
        // SAFETY: null, or a place for the answer.
        unsafe { buffer::result(why, finish) };
        Ok(())
    })
}

/// Removes the last message and its answer. `*undone`, unless `undone` is NULL, gets 1, or 0 if
/// there was none.
///
/// One thread at a time. ATTAMBA_STATUS_STATE if the session holds raw text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_undo(
    session: *const attamba_session,
    undone: *mut i32,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        session.work(|work| {
            let had = work.chat(session.model.language()?)?.undo()?;
            // SAFETY: null, or a place for the answer.
            unsafe { buffer::result(i32::from(had), undone) };
            Ok(())
        })
    })
}

/// Receives one message of a chat: UTF-8 with the lengths in bytes, not zero-terminated, valid
/// until the function returns. Returns 0 to stop. It must not call functions of the session.
pub type MessageFn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        role: *const c_char,
        role_bytes: usize,
        text: *const c_char,
        text_bytes: usize,
    ) -> i32,
>;

/// Passes the messages of the chat to `each`, oldest first: what an application displays of a
/// session that it has loaded. None for raw text, and of a very long chat without the oldest ones.
///
/// One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_messages(
    session: *const attamba_session,
    each: MessageFn,
    user: *mut c_void,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        let each = each.ok_or_else(|| Failure::argument("the message function is NULL"))?;
        session.work(|work| {
            let Work::Chat(chat) = work else { return Ok(()) };
            for message in chat.talk.messages() {
                let (role, text) = (&message.role, &message.content);
                // SAFETY: the caller's function, while the caller waits; the texts are alive.
                let go_on = unsafe {
                    let (role, text) = (role.as_bytes(), text.as_bytes());
                    each(user, role.as_ptr().cast(), role.len(), text.as_ptr().cast(), text.len())
                };
                if !input::boolean(go_on) {
                    break;
                }
            }
            Ok(())
        })
    })
}
