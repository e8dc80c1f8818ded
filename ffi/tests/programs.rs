//! Callers of the C ABI: programs in C and C++ that are compiled with the address sanitizer and run
//! with the bundled model. What each of them shows is said in its file.

#![cfg(target_os = "linux")]

mod common;

use common::Language;
use std::path::PathBuf;

/// Compiles the program, and runs it with the model, a folder for its files, and `more`.
fn passes(file: &str, more: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder for the program");
    let program = folder.path().join("program");
    let source: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/programs", file].iter().collect();
    let language = if file.ends_with(".cpp") { Language::Cpp } else { Language::C };
    let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    // The atomics of C11, where a program has several threads.
    let flags =
        if file == "threads.c" { vec![flags[0], flags[1], "-std=c11"] } else { flags.to_vec() };
    common::compile(&source, &language, &flags, &program);
    let mut command =
        common::command(&program, &[common::model().as_ref(), folder.path().as_ref()]);
    // Freed memory is given back soon, so that what a program measures is what it holds.
    command.args(more).env("ASAN_OPTIONS", "quarantine_size_mb=1");
    common::run(command);
}

#[test]
fn a_whole_chat() {
    passes("chat.c", &[]);
}

#[test]
fn a_whole_chat_in_cpp() {
    passes("chat.cpp", &[]);
}

#[test]
fn other_threads_cancel_pause_and_close() {
    passes("threads.c", &[]);
}

#[test]
fn wrong_use_of_every_function_is_an_error_code() {
    passes("misuse.c", &[]);
}

#[test]
fn structs_of_older_and_newer_callers_are_understood() {
    passes("older.c", &[]);
}

#[test]
fn a_thousand_cycles_leave_nothing_behind() {
    passes("cycles.c", &["1000"]);
}
