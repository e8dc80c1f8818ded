//! The `attamba` command, run as a user runs it.

#![allow(dead_code, reason = "each test program uses a part of it")]

use crate::python::python;
use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The bundled model.
pub const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/attamba-stories.gguf");

/// What a run of the command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// The command, with nothing of the caller's environment that changes what it does.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attamba"));
    command.env_remove("ATTAMBA_MODEL").env_remove("RUST_LOG");
    command
}

/// Runs `attamba ARGS` with nothing on standard input.
pub fn attamba<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ran {
    attamba_with(args, b"")
}

/// Runs `attamba ARGS` with `input` on standard input.
pub fn attamba_with<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, input: &[u8]) -> Ran {
    let mut command = command();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("its standard input is a pipe");
    let input = input.to_vec();
    // Beside reading its output: a full pipe on either side would stop both. A command that ends
    // without reading closes the pipe, which is its right.
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the command ends");
    writer.join().expect("the input is written");
    Ran::from(output)
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Ran { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

impl Ran {
    /// Standard output of a run that must have gone well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        String::from_utf8(self.stdout).expect("the output is text")
    }

    /// The JSON on standard output of a run that must have gone well.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).expect("the output is JSON")
    }

    /// The run must have failed with code 1, one line on stderr that has `sentence` in it, and
    /// nothing on standard output.
    #[track_caller]
    pub fn fails(self, sentence: &str) {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        assert!(self.stderr.starts_with("attamba: "), "{}", self.stderr);
        assert!(self.stderr.contains(sentence), "{sentence:?} is not in {:?}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stdout.is_empty(), "{}", String::from_utf8_lossy(&self.stdout));
    }

    /// The command line must have been refused, with code 2 and `sentence` on stderr.
    #[track_caller]
    pub fn refused(self, sentence: &str) {
        assert_eq!(self.code, Some(2), "{}", self.stderr);
        assert!(self.stderr.contains(sentence), "{sentence:?} is not in {:?}", self.stderr);
    }
}

/// Makes a random model at `path` with spec/reference.py, some settings other than its own.
pub fn make_model(path: &Path, settings: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/reference.py");
    let output = Command::new(python())
        .arg(script)
        .arg("make")
        .arg(path)
        .arg("--set")
        .args(settings)
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
