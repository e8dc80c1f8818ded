//! Limits of the system: little memory, no threads, nowhere to write. Each is a smaller plan, or an
//! end with a sentence; never a signal.

use crate::command::{BUNDLED, Ran, attamba, command};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `attamba ARGS` by a shell that first does `before`, as `user` starts it.
fn run_as(user: &[&str], before: &str, args: &[&str], input: &str) -> Ran {
    let script = format!("ulimit -c 0; {before}; exec \"$0\" \"$@\"");
    let attamba = command();
    let shell = [user, &["sh", "-c", &script]].concat();
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(attamba.get_program()).args(args);
    for (key, value) in attamba.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the shell starts");
    // A line fits a pipe, whether or not somebody reads it.
    let _ = child.stdin.take().expect("its standard input is a pipe").write_all(input.as_bytes());
    Ran::from(child.wait_with_output().expect("the command ends"))
}

fn run(before: &str, args: &[&str]) -> Ran {
    run_as(&[], before, args, "Hello\n")
}

/// Whether it went well; else it must have ended with code 1 and one sentence.
#[track_caller]
fn went_well(ran: &Ran, limit: &str) -> bool {
    match ran.code {
        Some(0) => true,
        Some(1) => {
            // Warnings are lines of a log.
            let said: Vec<_> = ran.stderr.lines().filter(|l| !l.starts_with("[WARN ")).collect();
            let [sentence] = said[..] else { panic!("{limit}: {}", ran.stderr) };
            assert!(sentence.starts_with("attamba: "), "{limit}: {sentence}");
            false
        }
        // The C library itself needs a few bytes for a thread, and ends a process that has none.
        None if ran.stderr.contains("Fatal glibc error") => false,
        other => panic!("{limit}: exit code {other:?}: {}", ran.stderr),
    }
}

/// The least address space in KiB, to 1 MiB, with which the program starts every time: what a start
/// takes varies by some pages, and without them the standard library ends the process before `main`.
fn least_to_start() -> u32 {
    let starts = |kib: &u32| {
        let script = format!("ulimit -v {kib}; exec \"$0\" --version");
        let program = command().get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(program).stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().expect("the shell starts").success()
    };
    let least = (4..1024).map(|mib| mib * 1024).find(starts).expect("it starts in a GiB");
    least + 1024
}

#[test]
fn with_any_amount_of_memory_a_command_ends_well_or_with_a_sentence() {
    let least = least_to_start();
    let small = ["-n", "4", "--greedy", "--engine", "cpu"];
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made.gguf");
    let text = folder.path().join("text");
    std::fs::write(&text, "Once upon a time there was a little girl.\n".repeat(20)).unwrap();
    let commands: [Vec<&str>; 6] = [
        [&["chat"], &small[..]].concat(),
        [&["chat", "--no-mmap", "--threads", "3"], &small[..]].concat(),
        [&["generate", "-p", "Once"], &small[..]].concat(),
        vec!["perplexity", "--engine", "cpu", text.to_str().unwrap()],
        vec!["inspect", "--values"],
        vec!["quantize", "--force", BUNDLED, made.to_str().unwrap(), "Q8_0"],
    ];
    for command in &commands {
        let (mut ended, mut refused) = (false, 0);
        // Threads and their heaps take 64 MiB of addresses each.
        let steps =
            (0..20).map(|mib| 1024 * mib).chain((20..=600).step_by(40).map(|mib| 1024 * mib));
        for kib in steps.map(|more| least + more) {
            let ran = run(&format!("ulimit -v {kib}"), command);
            ended = went_well(&ran, &format!("{command:?} with {kib} KiB"));
            refused += usize::from(!ended && ran.stderr.contains("out of memory"));
        }
        assert!(ended, "{command:?} needs more than {} KiB", least + 1024 * 600);
        assert!(refused > 0, "{command:?} was never out of memory");
    }
}

#[test]
fn a_text_without_end_is_refused() {
    let endless = attamba(["generate", "--file", "/dev/zero", "-n", "3"]);
    endless.fails("/dev/zero is longer than 256.0 MiB");
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let ran = command().arg("chat").stdin(zero).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("line 1 of standard input is longer than 256.0 MiB"), "{said}");
}

#[test]
fn without_threads_a_command_makes_do_or_says_so() {
    // The limit is on a user's processes, and not on root's.
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    let user: &[&str] = if root { &nobody } else { &[] };
    let start = std::panic::catch_unwind(|| run_as(user, "true", &["inspect"], ""));
    if !start.is_ok_and(|ran| ran.code == Some(0)) {
        eprintln!("SKIPPED: {user:?} can't run the program here");
        return;
    }
    let chat = ["chat", "-m", BUNDLED, "-n", "4", "--greedy", "--engine", "cpu", "--threads", "4"];
    let normal = run("true", &chat).ok();
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made.gguf");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let quantize = ["quantize", "--force", BUNDLED, made.to_str().unwrap(), "Q8_0"];
    run_as(user, "true", &quantize, "").ok();
    let size = std::fs::read(&made).unwrap().len();
    for processes in 1..8 {
        let before = format!("ulimit -u {processes}");
        let ran = run_as(user, &before, &chat, "Hello\n");
        if went_well(&ran, &before) {
            assert_eq!(ran.ok(), normal, "{before}");
        } else {
            assert!(ran.stderr.contains("thread"), "{}", ran.stderr);
        }
        let ran = run_as(user, &before, &quantize, "");
        if went_well(&ran, &before) {
            assert_eq!(std::fs::read(&made).unwrap().len(), size, "{before}");
        }
        // What needs no thread.
        run_as(user, &before, &["inspect", "-m", BUNDLED], "").ok();
    }
}

#[test]
fn with_nowhere_to_write_a_chat_goes_on() {
    let chat = ["chat", "-n", "4", "--greedy"];
    let normal = run("true", &chat).ok();
    for before in [
        "unset HOME XDG_CACHE_HOME XDG_CONFIG_HOME",
        "export HOME=/proc XDG_CACHE_HOME=/proc XDG_RUNTIME_DIR=/proc TMPDIR=/proc",
        "export HOME=/dev/null XDG_CACHE_HOME=/dev/null TMPDIR=/dev/null",
        "export HOME= XDG_CACHE_HOME=",
    ] {
        assert_eq!(run(before, &chat).ok(), normal, "{before}");
    }
    let ran = run("true", &["chat", "--save", "/proc/chat"]);
    assert!(!went_well(&ran, "--save /proc/chat") && ran.stderr.contains("/proc/chat"), "{ran:?}");
}

#[test]
fn shared_memory_is_not_needed() {
    assert!(Path::new("/dev/shm").exists());
    let hidden = ["unshare", "--map-root-user", "--mount"];
    let before = "mount -t tmpfs -o ro,size=4k none /dev/shm || exit 77";
    let chat = ["chat", "-m", BUNDLED, "-n", "4", "--greedy"];
    let ran = run_as(&hidden, before, &chat, "Hello\n");
    if ran.code != Some(0) && !ran.stderr.starts_with("attamba: ") {
        eprintln!("SKIPPED: /dev/shm can't be hidden here: {}", ran.stderr);
        return;
    }
    assert_eq!(ran.ok(), run("true", &chat).ok());
}
