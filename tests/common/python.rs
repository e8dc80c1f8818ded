//! A Python with the packages that the tests compare against.
//!
//! The environment is kept next to the build and is created once, by the first test that needs it.
//! `ATTAMBA_PYTHON` names another interpreter, which must have the packages of `requirements.txt`.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// The interpreter.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| match std::env::var_os("ATTAMBA_PYTHON") {
        Some(python) => python.into(),
        None => environment(),
    })
}

/// Standard output of a script, which gets `args` in `sys.argv[1:]`.
pub fn run_python(script: &str, args: &[&str]) -> String {
    let output = run(python(), [&["-c", script], args].concat());
    String::from_utf8(output.stdout).expect("a script prints UTF-8")
}

/// The interpreter of an environment with the packages, created if there is none yet.
fn environment() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    REQUIREMENTS.hash(&mut hasher);
    // Named by its contents: other requirements get another environment, and a checkout that shares
    // the target directory keeps its own.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let environments = target.join("test-venv");
    let environment = environments.join(format!("{:016x}", hasher.finish()));
    let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let ready = environment.join("ready");

    fs::create_dir_all(&environments).expect("the target directory can be written");
    // Test programs run concurrently. The lock is released when the file is closed, however that
    // happens.
    let lock = File::create(environment.with_extension("lock")).expect("a lock file can be made");
    lock.lock().expect("a lock file can be locked");
    if ready.exists() {
        return python;
    }
    let requirements = environment.with_extension("txt");
    fs::write(&requirements, REQUIREMENTS).expect("the target directory can be written");
    eprintln!("making a Python environment in {}", environment.display());
    let system = if cfg!(windows) { "python" } else { "python3" };
    let paths: [&OsStr; 2] = [environment.as_ref(), requirements.as_ref()];
    run(Path::new(system), ["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), paths[0]]);
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    run(&python, pip.map(OsStr::new).into_iter().chain([paths[1]]));
    fs::write(ready, "").expect("the target directory can be written");
    python
}

fn run<A: AsRef<OsStr>>(python: &Path, args: impl IntoIterator<Item = A>) -> Output {
    let output = Command::new(python).args(args).output().unwrap_or_else(|error| {
        panic!(
            "{} does not start ({error}). These tests compare with Python packages: install Python \
             3.11 or later with its venv module, or name an interpreter that has the packages of \
             tests/requirements.txt in ATTAMBA_PYTHON.",
            python.display()
        )
    });
    assert!(
        output.status.success(),
        "{} ended with {}:\n{}{}",
        python.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
