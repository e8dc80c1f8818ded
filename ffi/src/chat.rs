//! Chats: messages in, answers out, with the model's template.

use crate::buffer::{self, Terminated};
use crate::error::{Failure, Result};
use crate::generate::{Finish, Run, Sink, TextFn};
use crate::guard;
use crate::handle::SESSIONS;
use crate::input;
use crate::session::{Session, attamba_session};
use crate::status::Status;
use crate::versioned::{self, Versioned};
use crate::work::Work;
use runtime::{Error, text as template};
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

/// A message of a chat.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Message {
    /// sizeof(attamba_message); the same for all of an array.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Who speaks: `system`, `user`, `assistant`, or any other role that the template knows;
    /// zero-terminated.
    pub role: *const c_char,
    /// UTF-8.
    pub text: *const c_char,
    /// Bytes of `text`.
    pub bytes: u64,
}

// SAFETY: `repr(C)`, `u32` first, any bits are valid, a pair of 4 bytes and whole 8 bytes.
unsafe impl Versioned for Message {
    const DEFAULT: Message = Message {
        struct_size: size_of::<Message>() as u32,
        reserved: 0,
        role: std::ptr::null(),
        text: std::ptr::null(),
        bytes: 0,
    };
}

/// # Safety
/// `from` points to `count` messages whose `struct_size` is true, and to what they point to.
unsafe fn messages(from: *const Message, count: usize) -> Result<Vec<template::Message>> {
    let mut messages = Vec::new();
    let mut size = 0;
    for number in 0..count {
        // SAFETY: as the caller guarantees, here and below: null only for the first.
        unsafe {
            let at = from.byte_add(number * size);
            let message: Message = versioned::read(at)?;
            size = message.struct_size as usize;
            let role = input::name(message.role, "the role")?;
            let role =
                role.ok_or_else(|| Failure::argument(format!("message {number} has no role")))?;
            let bytes = usize::try_from(message.bytes).unwrap_or(usize::MAX);
            messages.push(template::Message::new(
                role,
                input::text(message.text, bytes, "the text of a message")?,
            ));
        }
    }
    Ok(messages)
}

/// Begins a chat with `count` messages, whatever the session held before, and processes them now:
/// a chat that the application has kept, or this session's messages with another instruction.
/// Nothing is generated: the next message follows them.
///
/// One thread at a time; cancel from any. ATTAMBA_STATUS_TEXT if the template refuses these
/// messages; the session is unchanged. ATTAMBA_STATUS_CANCELLED: the chat has begun nevertheless,
/// and the next message processes them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_begin(
    session: *const attamba_session,
    messages: *const Message,
    count: usize,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller gives that many.
        let messages = unsafe { self::messages(messages, count) }?;
        begin(session, messages)
    })
}

/// attamba_session_begin with messages in JSON, `bytes` bytes of UTF-8: an array of objects with
/// `role`, `content` (a text, a list of parts, or null) and whatever else the template reads, such as
/// `tool_calls`, `tool_call_id` or `reasoning_content`.
///
/// As attamba_session_begin. ATTAMBA_STATUS_ARGUMENT if the JSON is not that of messages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_begin_json(
    session: *const attamba_session,
    messages: *const c_char,
    bytes: usize,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller gives that many bytes.
        let json = unsafe { input::text(messages, bytes, "the messages") }?;
        begin(session, template::Message::list_from_json(json)?)
    })
}

fn begin(session: &Session, messages: Vec<template::Message>) -> Result<()> {
    let model = session.model.language()?;
    session.work(|work| {
        work.language(model)?.chat()?.render(&messages, false)?;
        work.begin_chat(model, None)?;
        Ok(work.chat(model)?.begin(messages)?)
    })
}

/// Tells the template what it should know beside the messages, from the next message on: an object
/// in JSON, `bytes` bytes of UTF-8, such as `{"tools": [...], "enable_thinking": false}`; `bytes` 0
/// for nothing, as at first. It stays until it is set again, also after attamba_session_reset. The
/// next message processes the chat again if that changes what comes before it.
///
/// One thread at a time. ATTAMBA_STATUS_ARGUMENT if it is not an object in JSON, or names something
/// that comes from the chat, such as `messages`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_set_variables(
    session: *const attamba_session,
    variables: *const c_char,
    bytes: usize,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller gives that many bytes.
        let json = unsafe { input::text(variables, bytes, "the variables") }?;
        let json = if json.is_empty() { "{}" } else { json };
        let language = session.model.language()?.with_variables(json)?;
        session.work(|work| work.set_variables(json, language))
    })
}

/// attamba_session_chat for messages in JSON, `bytes` bytes of UTF-8: one object as in
/// attamba_session_begin_json, such as what a tool returned, or an array of several; an empty array
/// answers the messages there are.
///
/// As attamba_session_chat. ATTAMBA_STATUS_ARGUMENT if the JSON is not that of messages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_chat_json(
    session: *const attamba_session,
    messages: *const c_char,
    bytes: usize,
    most: u32,
    each: TextFn,
    user: *mut c_void,
    finish: *mut Finish,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        let sink = Sink::new(each, user)?;
        // SAFETY: the caller gives that many bytes.
        let json = unsafe { input::text(messages, bytes, "the messages") }?;
        let messages = match json.trim_start().starts_with('[') {
            true => template::Message::list_from_json(json)?,
            false => vec![template::Message::from_json(json)?],
        };
        let why = answered(session, messages, &Run { most, ..Run::DEFAULT }, sink)?;
        // SAFETY: null, or a place for the answer.
        unsafe { buffer::result(why, finish) };
        Ok(())
    })
}

/// Counts the tokens of `count` messages as attamba_session_begin would process them. `*tokens`,
/// unless `tokens` is NULL, gets the number.
///
/// One thread at a time. ATTAMBA_STATUS_TEXT if the template refuses these messages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_session_count(
    session: *const attamba_session,
    messages: *const Message,
    count: usize,
    tokens: *mut u64,
) -> Status {
    guard::on(&SESSIONS, session, |session| {
        // SAFETY: the caller gives that many.
        let messages = unsafe { self::messages(messages, count) }?;
        let model = session.model.language()?;
        let (special, language) =
            session.work(|work| Ok((work.parse_special()?, work.language(model)?)))?;
        let found = language.chat()?.parse_special(special).encode(&messages, false)?;
        // SAFETY: null, or a place for the answer.
        unsafe { buffer::result(found.len() as u64, tokens) };
        Ok(())
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
        let sink = Sink::new(each, user)?;
        // SAFETY: the caller gives that many bytes.
        let message = unsafe { input::text(message, bytes, "the message") }?;
        let message = vec![message.into()];
        let why = answered(session, message, &Run { most, ..Run::DEFAULT }, sink)?;
        // SAFETY: null, or a place for the answer.
        unsafe { buffer::result(why, finish) };
        Ok(())
    })
}

/// Answers messages.
pub fn answered(
    session: &Session,
    messages: Vec<template::Message>,
    run: &Run,
    mut sink: Sink,
) -> Result<Finish> {
    let result = session.work(|work| {
        let chat = work.chat(session.model.language()?)?;
        run.watch(chat.sampler_mut());
        // SAFETY: the caller's function, while the caller waits.
        let mut each = |text: &str| unsafe { sink.push(text) };
        let result = chat.answer_all(messages, run.most as usize, &mut each);
        chat.sampler_mut().watch(0, None);
        Ok(result)
    })?;
    match result {
        Ok(finish) => Ok(finish.into()),
        Err(Error::Cancelled) => Ok(Finish::Dropped),
        Err(e) => Err(e.into()),
    }
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

/// Receives one message of a chat: UTF-8 with the lengths in bytes, followed by zero bytes, valid
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
            let [mut first, mut second] = [Terminated::default(), Terminated::default()];
            for message in chat.talk.messages() {
                let (role, text) = (&message.role, &message.content);
                // SAFETY: the caller's function, while the caller waits; the texts are alive.
                let go_on =
                    unsafe { each(user, first.of(role), role.len(), second.of(text), text.len()) };
                if !input::boolean(go_on) {
                    break;
                }
            }
            Ok(())
        })
    })
}
