//! Callers of the C ABI: programs in C and C++ that are compiled with sanitizers and run
//! with the bundled model. What each of them shows is said in its file.

#![cfg(target_os = "linux")]

mod common;

use common::Language;
use std::path::PathBuf;

/// Drivers of GPUs leak, so with these a program runs without.
const SANITIZED: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// A warning where a field is not initialized.
const EVERYTHING: &str = "-Wmissing-field-initializers";

/// Compiles the program with `flags`, and runs it with the model, a folder for its files, and `more`.
fn run(file: &str, flags: &[&str], more: &[&str], drivers: bool) {
    let folder = tempfile::tempdir().expect("a folder for the program");
    let program = folder.path().join("program");
    let source: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/programs", file].iter().collect();
    let language = if file.ends_with(".cpp") { Language::Cpp } else { Language::C };
    common::compile(&source, &language, flags, &program);
    let mut command =
        common::command(&program, &[common::model().as_ref(), folder.path().as_ref()]);
    // Freed memory is given back soon, so that what a program measures is what it holds.
    // More memory than there is is refused, as without the sanitizer.
    let memory = "quarantine_size_mb=1:allocator_may_return_null=1:max_allocation_size_mb=4096";
    command.args(more).env("ASAN_OPTIONS", memory);
    if !drivers {
        command.env("VK_ICD_FILENAMES", "/nowhere").env("VK_DRIVER_FILES", "/nowhere");
    }
    common::run(command);
}

/// Runs a program with the sanitizers, on the CPU.
fn passes(file: &str, more: &[&str]) {
    run(file, &SANITIZED, more, false);
}

#[test]
fn a_whole_chat() {
    passes("chat.c", &[]);
}

#[test]
fn a_whole_chat_in_cpp() {
    run("chat.cpp", &[SANITIZED[0], SANITIZED[1], EVERYTHING], &[], false);
}

#[test]
fn other_threads_cancel_pause_and_close() {
    // With the atomics of C11.
    run("threads.c", &[SANITIZED[0], SANITIZED[1], "-std=c11"], &[], false);
}

#[test]
fn a_cancel_is_not_lost_and_may_come_from_a_signal_handler() {
    passes("cancel.c", &[]);
}

#[test]
fn a_chat_begins_from_messages_and_ends_with_a_text() {
    // `ATTAMBA_INIT` initializes everything.
    run("history.c", &[SANITIZED[0], SANITIZED[1], EVERYTHING], &[], false);
}

#[test]
fn messages_come_in_json_and_what_is_no_text_is_refused() {
    run("json.c", &[SANITIZED[0], SANITIZED[1], EVERYTHING], &[], false);
}

#[test]
fn sessions_on_several_threads_decode_together() {
    passes("batch.c", &[]);
}

#[test]
fn a_model_is_described_and_embeds_texts() {
    passes("embed.c", &[]);
}

#[test]
fn a_child_process_uses_and_closes_what_its_parent_opened() {
    // Without the address sanitizer, whose allocator (GCC 12) may be locked for good in the child by a
    // thread that only the parent has.
    run("fork.c", &["-fsanitize=undefined", SANITIZED[1]], &[], false);
}

#[test]
fn saved_sessions_are_files_of_their_owner_and_always_whole() {
    passes("save.c", &[]);
}

#[test]
fn closed_sessions_give_memory_back_and_long_messages_are_cancelled() {
    passes("memory.c", &[]);
}

#[test]
fn a_gpu_if_only_in_software() {
    run("gpu.c", &[], &[], true);
}

#[test]
fn wrong_use_of_every_function_is_an_error_code() {
    passes("misuse.c", &[]);
}

#[test]
fn absurd_numbers_are_errors_or_work() {
    passes("numbers.c", &[]);
}

#[test]
fn structs_of_older_and_newer_callers_are_understood() {
    passes("older.c", &[]);
}

#[test]
fn a_thousand_cycles_leave_nothing_behind() {
    passes("cycles.c", &["1000"]);
}
