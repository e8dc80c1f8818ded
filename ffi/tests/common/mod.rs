//! Programs of callers: found, compiled and run.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The folder of the whole project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the project")
}

/// The bundled model.
pub fn model() -> PathBuf {
    let output = run(Command::new(root().join("scripts/bundled-model.sh")));
    String::from_utf8(output.stdout).expect("a path in UTF-8").trim_end().into()
}

/// The folder that libattamba.so lies in. Cargo builds a library for tests only where Rust can link
/// to it, which this one is not for.
pub fn library_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let program = std::env::current_exe().expect("this program has a path");
        let target =
            program.ancestors().nth(3).expect("it lies in PROFILE/deps of the target folder");
        let mut script = Command::new(root().join("scripts/build-library.sh"));
        script.env("CARGO_TARGET_DIR", target);
        let output = run(script);
        String::from_utf8(output.stdout).expect("a path in UTF-8").trim_end().into()
    })
}

/// What a program is written in.
pub enum Language {
    C,
    Cpp,
}

/// Compiles `source` with more `flags` and links it to the library.
pub fn compile(source: &Path, language: &Language, flags: &[&str], program: &Path) {
    let (variable, default, standard) = match language {
        Language::C => ("CC", "cc", "-std=c99"),
        Language::Cpp => ("CXX", "c++", "-std=c++17"),
    };
    let compiler = std::env::var_os(variable).unwrap_or_else(|| default.into());
    let library = library_folder();
    let mut command = Command::new(compiler);
    command.args([standard, "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread"]);
    // `= {sizeof options}` zeroes the rest, which is meant.
    command.arg("-Wno-missing-field-initializers");
    // pthreads and fdopen are POSIX, not C99.
    command.args(["-D_POSIX_C_SOURCE=200809L"]).args(flags);
    command.arg("-I").arg(root().join("ffi/include")).arg("-o").arg(program).arg(source);
    command.arg("-L").arg(library).arg("-lattamba").arg("-lm");
    command.arg(format!("-Wl,-rpath,{}", library.display()));
    run(command);
}

/// Runs a command that must go well.
#[track_caller]
pub fn run(mut command: Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} can't be run: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A command with arguments.
pub fn command(program: impl AsRef<OsStr>, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
