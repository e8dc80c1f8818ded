//! Opening models.

use crate::buffer;
use crate::engines::Engines;
use crate::error::{Failure, Result};
use crate::guard;
use crate::handle::MODELS;
use crate::input;
use crate::model::{Model, attamba_model};
use crate::options::{self, Engine, LoadingPart, ModelOptions};
use crate::status::Status;
use runtime::gguf::Gguf;
use runtime::text::Language;
use std::ffi::c_char;
use std::sync::Arc;

/// Opens the model file at `path`, which is zero-terminated. Unless the options set `in_memory`,
/// the file is mapped, not copied: while the model or a session of it is open, nobody may write to
/// the file or truncate it, neither this process nor another. Otherwise the behavior is undefined;
/// at best the system terminates the process. The file may be deleted, and another put in its
/// place.
///
/// `*model` gets the handle, to be closed with attamba_model_close, or NULL on an error.
///
/// Any thread. ATTAMBA_STATUS_IO, ATTAMBA_STATUS_FILE or ATTAMBA_STATUS_UNSUPPORTED if the file
/// can't be read, is invalid, or requires what this runtime does not support;
/// ATTAMBA_STATUS_CANCELLED if the progress function cancels. The message is that of the thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_open(
    path: *const c_char,
    options: *const ModelOptions,
    model: *mut *mut attamba_model,
) -> Status {
    // SAFETY: the caller's arguments are as the header says.
    unsafe { open(options, model, |options| from_path(path, options)) }
}

/// Like attamba_model_open, for `length` bytes starting at byte `offset` of an open file: a model
/// inside another file, such as an asset of an Android application, or a document received as a
/// descriptor. `length` 0 means everything up to the end. Any `offset` is allowed.
///
/// The descriptor still belongs to the caller, who may close it once the call has returned.
///
/// Not on Windows: ATTAMBA_STATUS_UNSUPPORTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_model_open_fd(
    fd: i32,
    offset: u64,
    length: u64,
    options: *const ModelOptions,
    model: *mut *mut attamba_model,
) -> Status {
    // SAFETY: as above.
    unsafe { open(options, model, |options| from_fd(fd, offset, length, options)) }
}

/// # Safety
/// The pointers are null or as the header says.
unsafe fn open(
    options: *const ModelOptions,
    out: *mut *mut attamba_model,
    gguf: impl FnOnce(&ModelOptions) -> Result<Gguf>,
) -> Status {
    guard::call(|| {
        if out.is_null() {
            return Err(Failure::argument("the place for the model is NULL"));
        }
        // SAFETY: as the caller guarantees.
        unsafe {
            buffer::result(std::ptr::null_mut(), out);
            let options = options::model(options)?;
            let handle = MODELS.add(load(&options, gguf(&options)?)?);
            buffer::result(handle, out);
        }
        Ok(())
    })
}

/// Parts of the progress from 0 to 1. Reading the file, if requested, and uploading the weights to
/// a GPU take about equally long.
const OPENED: f32 = 0.05;
const READ: f32 = 0.5;
const SPELLING: f32 = 0.05;

/// The targets of `options` are valid, and its progress function may be called.
unsafe fn load(options: &ModelOptions, gguf: Gguf) -> Result<Model> {
    // SAFETY: as the caller guarantees, here and below.
    let (kind, engine) = unsafe { options.wanted() }?;
    // SAFETY: as above.
    let report = |done| unsafe { options.report(done) };
    // How far between two of the parts.
    let between = |part, from: f32, to: f32, done: u64, all: u64| {
        let share = (done as f64 / all.max(1) as f64) as f32;
        // SAFETY: as above.
        report(from + (to - from) * share).is_ok()
            && unsafe { options.report_bytes(part, done, all) }
    };
    report(0.0)?;
    let file = Arc::new(runtime::model::Model::from_gguf(gguf)?);
    report(OPENED)?;
    if options.preloads() {
        file.preload(&mut |read, all| between(LoadingPart::Read, OPENED, READ, read, all))?;
    }
    let read = if options.preloads() { READ } else { OPENED };
    report(read)?;
    let language = Language::from_model(&file).map_err(|e| e.to_string());
    let spelt = read + SPELLING;
    report(spelt)?;
    let engines = Engines::new(Arc::clone(&file), kind, engine);
    // Created now, so that what can fail fails here.
    engines.get_with(Engine::Auto, &mut |done, all| {
        between(LoadingPart::Upload, spelt, 1.0, done, all)
    })?;
    report(1.0)?;
    Ok(Model::new(file, language, engines))
}

/// # Safety
/// `path` is null or points to bytes that end with a zero byte; the file is as the header says, and the
/// functions of `options` may be called.
pub unsafe fn from_path(path: *const c_char, options: &ModelOptions) -> Result<Gguf> {
    // SAFETY: as the caller guarantees.
    let path = unsafe { input::path(path) }?;
    Ok(match options.in_memory() {
        true => Gguf::read_with(&path, &mut |done, all| {
            // SAFETY: as the caller guarantees.
            unsafe { options.report_bytes(LoadingPart::Read, done, all) }
        })?,
        // SAFETY: as the caller guarantees.
        false => unsafe { Gguf::map(&path) }?,
    })
}

/// # Safety
/// The file is as the header says, and the functions of `options` may be called.
#[cfg(unix)]
pub unsafe fn from_fd(fd: i32, offset: u64, length: u64, options: &ModelOptions) -> Result<Gguf> {
    use std::os::fd::BorrowedFd;
    if fd < 0 {
        return Err(Failure::argument(format!("{fd} is no file descriptor")));
    }
    // SAFETY: the caller keeps the descriptor open during the call. Should it be none, duplicating
    // it fails, and nothing else is done with it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let owned = borrowed.try_clone_to_owned().map_err(|e| {
        Failure::new(Status::Io, format!("file descriptor {fd} can't be duplicated: {e}"))
    })?;
    let length = (length != 0).then_some(length);
    let file = owned.into();
    Ok(match options.in_memory() {
        true => Gguf::read_file_with(&file, offset, length, &mut |done, all| {
            // SAFETY: as the caller guarantees.
            unsafe { options.report_bytes(LoadingPart::Read, done, all) }
        })?,
        // SAFETY: as the caller guarantees.
        false => unsafe { Gguf::map_file(&file, offset, length) }?,
    })
}

#[cfg(not(unix))]
pub unsafe fn from_fd(_: i32, _: u64, _: u64, _: &ModelOptions) -> Result<Gguf> {
    Err(Failure::new(Status::Unsupported, "this system has no file descriptors"))
}
