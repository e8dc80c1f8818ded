//! `attamba chat`, over a pipe and on a terminal.

use crate::command::{attamba, attamba_with};
use crate::{folder, model_with_profile, random_model};

/// The chat template of a file that has none: plain text.
fn prompt(message: &str) -> String {
    format!("User: {message}\n\nAssistant:")
}

#[test]
fn a_chat_feeds_what_its_template_writes() {
    // Without the penalties that a chat has by default and generate has not.
    let plain = ["--dry-multiplier", "0", "--repeat-penalty", "1"];
    let end = [&["-m", random_model(), "--greedy", "-n", "12"][..], &plain].concat();
    let answers = attamba_with([&["chat"], &end[..]].concat(), b"Hello\nAnd\xc2\xa0then?\n").ok();
    let answers: Vec<&str> = answers.lines().collect();
    let generate = |text: &str| {
        attamba([&["generate", "-p", text], &end[..]].concat()).ok().trim_end().to_owned()
    };
    let first = prompt("Hello");
    assert_eq!(answers[0], generate(&first));
    // The first answer was cut by the limit, and the second turn goes on well nevertheless.
    let second = format!("{first}{}\n\n{}", answers[0], prompt("And\u{a0}then?"));
    assert_eq!(answers[1], generate(&second));
    assert_eq!(answers.len(), 2);
}

#[test]
fn commands_work_over_a_pipe_too() {
    let input = b"Hello\n/stats\n\n/reset\n/stats\nHello\n/help\n/fly now\n/quit\nnever seen\n";
    let ran = attamba_with(["chat", "-m", random_model(), "--greedy", "-n", "6"], input);
    assert_eq!(
        ran.stderr,
        "unknown command /fly; /help lists the commands, // begins a message with a slash\n"
    );
    let text = ran.ok();
    let lines: Vec<&str> = text.lines().collect();
    let positions: Vec<&&str> = lines.iter().filter(|l| l.starts_with("position")).collect();
    // "User: Hello\n\nAssistant:" has 20 characters that are tokens of this model.
    assert_eq!(positions, [&"position     26", &"position     0"]);
    assert!(lines.contains(&"last prompt  none"), "{text}");
    for name in ["ring ", "state ", "scratch ", "last answer  6 tokens, ", "/help ", "/quit "] {
        assert!(lines.iter().any(|l| l.starts_with(name)), "{name} in {text}");
    }
    assert_eq!(lines.iter().filter(|l| **l == lines[0]).count(), 2, "a new chat begins alike");
}

#[test]
fn a_chat_goes_on_when_the_ring_is_full() {
    let input = "Tell me more and more and more of it\n".repeat(40) + "/stats\n";
    let args = ["chat", "-m", random_model(), "--ring", "2", "--greedy", "-n", "20"];
    let ran = attamba_with(args, input.as_bytes());
    let told =
        "[the memory is full; the chat goes on without its oldest parts: all heads see the last";
    assert_eq!(ran.stderr.matches(told).count(), 1, "{}", ran.stderr);
    let text = ran.ok();
    assert!(text.contains("\nring         2 of 2 states\n"), "{text}");
    let position = text.lines().find_map(|l| l.strip_prefix("position ")).unwrap();
    assert!(position.trim().parse::<u64>().unwrap() > 1500, "{position}");
}

#[test]
fn a_stop_text_ends_an_answer_and_is_left_out() {
    let whole = &answers(&[], "Hello\n")[0];
    let (before, stop) = (&whole[..3], &whole[3..5]);
    assert!(!before.contains(stop), "{whole}");
    assert_eq!(answers(&["--stop", "never said", "--stop", stop], "Hello\n"), [before]);
    attamba(["chat", "-m", random_model(), "--stop", ""]).fails("stop text 0");
}

/// The answers to `input`, one a line.
fn answers(options: &[&str], input: &str) -> Vec<String> {
    let args = [&["chat", "-m", random_model(), "--greedy", "-n", "9"], options].concat();
    attamba_with(args, input.as_bytes()).ok().lines().map(str::to_owned).collect()
}

#[test]
fn a_chat_in_a_file_goes_on_in_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (kept, other) = (path("kept"), path("other"));
    let whole = answers(&[], "Hello\nAnd then?\nWhy?\n");
    let save = ["--save", &kept, "--commands"];
    assert_eq!(answers(&save, "Hello\n"), whole[..1]);
    assert_eq!(answers(&save, &format!("And then?\n/save {other}\n")), whole[1..2]);
    assert_eq!(answers(&save, "Why?\n"), whole[2..]);
    assert_eq!(
        answers(&["--commands"], &format!("Something else\n/load {other}\nWhy?\n"))[1..],
        whole[2..]
    );

    let run = |path: &str| ["chat", "-m", random_model(), "--save", path].map(str::to_owned);
    attamba([&run(&kept)[..], &["--system".into(), "Be brief.".into()]].concat())
        .fails("omit --system");
    attamba(["chat", "--save", &kept]).fails("it was saved with another model");
    std::fs::write(&kept, "not a chat, though long enough to have a header of one, it seems")
        .unwrap();
    attamba(run(&kept)).fails("is not a saved session");
    std::fs::write(&kept, [&b"attamba\0"[..], &[0; 200]].concat()).unwrap();
    attamba(run(&kept)).fails(&format!("{kept}: saved session: "));
    attamba_with(["chat", "-m", random_model(), "--commands"], b"/load nowhere\n")
        .fails("nowhere: ");
}

/// Whoever pipes a text into a chat does not let it write files.
#[test]
fn a_pipe_commands_no_files_unless_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    let input = format!("Hello\n/save {0}\n/load {0}\nHello\n", path.display());
    let args = ["chat", "-m", random_model(), "-n", "2"];
    let ran = attamba_with(args, input.as_bytes());
    assert_eq!(ran.stderr.matches("see --commands").count(), 2, "{}", ran.stderr);
    assert_eq!(ran.ok().lines().count(), 2);
    assert!(!path.exists());
    attamba_with([&args[..], &["--commands"]].concat(), input.as_bytes()).ok();
    assert!(path.exists());
}

#[test]
fn a_chat_replaces_nothing_but_saved_chats() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("notes"), "precious").unwrap();
    std::fs::copy(random_model(), path("model")).unwrap();
    for file in [path("notes"), path("model"), path(""), path("no/such/folder")] {
        let args = ["chat", "-m", random_model(), "-n", "2"];
        let ran = attamba_with([&args[..], &["--save", &file]].concat(), b"Hello\n");
        assert!(ran.stdout.is_empty(), "before the first answer");
        ran.fails(file.trim_end_matches('/'));
        attamba_with([&args[..], &["--commands"]].concat(), format!("/save {file}\n").as_bytes())
            .fails(file.trim_end_matches('/'));
    }
    assert_eq!(std::fs::read_to_string(path("notes")).unwrap(), "precious");
    assert_eq!(std::fs::read(path("model")).unwrap(), std::fs::read(random_model()).unwrap());
    // Nothing was said, so nothing is left.
    attamba(["chat", "-m", random_model(), "--save", &path("new")]).ok();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_file_has_one_chat_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    let place = attamba::session::Place::claim(&path).unwrap();
    let run = || {
        let path = path.to_str().unwrap();
        attamba_with(["chat", "-m", random_model(), "-n", "2", "--save", path], b"Hello\n")
    };
    run().fails("another program saves to it");
    drop(place);
    run().ok();
    run().ok();
}

#[cfg(unix)]
#[test]
fn a_saved_chat_stays_private() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    symlink(&file, &link).unwrap();
    let mode = || file.metadata().unwrap().permissions().mode() & 0o777;
    let run = || {
        let path = link.to_str().unwrap();
        attamba_with(["chat", "-m", random_model(), "-n", "2", "--save", path], b"Hello\n").ok()
    };
    run();
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o660)).unwrap();
    run();
    assert_eq!(mode(), 0o660);
    assert!(link.is_symlink());
}

#[test]
fn a_message_can_be_taken_back_or_answered_again() {
    let whole = answers(&[], "Hello\nAnd then?\n");
    let undone = answers(&[], "Hello\nSomething else\n/undo\nAnd then?\n");
    assert_eq!([&undone[0], &undone[2]], [&whole[0], &whole[1]]);
    let first = answers(&[], "Hello\n/undo\nAnd then?\n");
    assert_eq!(first[1], answers(&[], "And then?\n")[0]);
    let again = answers(&[], "Hello\nAnd then?\n/retry\n");
    assert_eq!(again[2], whole[1]);
    // More turns than snapshots are kept of.
    let many = answers(&[], &("Hello\n".repeat(12) + &"/undo\n".repeat(11) + "And then?\n"));
    assert_eq!(many[12], whole[1]);
    let ran = attamba_with(["chat", "-m", random_model()], b"/undo\n/retry\n");
    assert_eq!(ran.stderr, "there is no message to undo\n".repeat(2));
}

#[test]
fn a_chat_goes_on_with_less_memory() {
    let talk = "Hello\n/shrink 40K\nAnd then?\n/stats\n/undo\nWhy?\n";
    let args = ["chat", "-m", random_model(), "--greedy", "-n", "300"];
    let text = attamba_with(args, talk.as_bytes()).ok();
    let state = text.lines().find_map(|line| line.strip_prefix("state        ")).unwrap();
    let bytes: u64 = state.strip_suffix(" bytes").unwrap().parse().unwrap();
    assert!(bytes <= 40 << 10, "{bytes}");
    assert!(text.contains("snapshots    0 bytes"), "{text}");
    attamba_with(args, b"/shrink 1\n").fails("the budget is 1");
    attamba_with(args, b"/shrink little\n").fails("a number such as");
}

#[test]
fn memory_that_can_not_grow_says_so() {
    let ran = attamba_with(["chat", "-m", random_model(), "-n", "3"], b"/shrink 40K\n/shrink 2G\n");
    assert!(ran.stderr.contains("KiB already, and can't grow"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    ran.ok();
}

#[test]
fn a_saved_chat_fits_a_smaller_budget_and_tells_of_a_larger_one() {
    let folder = folder();
    let path = folder.path().join("chat").to_str().unwrap().to_owned();
    let chat = |more: &[&str], input: &[u8]| {
        let args = ["chat", "-m", random_model(), "--greedy", "-n", "9", "--save", &path];
        attamba_with([&args[..], more].concat(), input)
    };
    let state = |text: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix("state        ")).unwrap();
        line.strip_suffix(" bytes").unwrap().parse().unwrap()
    };
    chat(&[], b"Hello\n").ok();
    let ran = chat(&["--budget", "40K"], b"/stats\nAnd then?\n");
    assert!(!ran.stderr.contains("can only shrink"), "{}", ran.stderr);
    assert!(state(&ran.ok()) <= 40 << 10);
    for more in [&["--budget", "4M"][..], &["--kv", "int8"], &["--ring", "500"]] {
        let ran = chat(more, b"/stats\n");
        assert!(ran.stderr.contains("the saved chat keeps the memory"), "{more:?} {}", ran.stderr);
        assert!(state(&ran.ok()) <= 40 << 10);
    }
    let ran = chat(&[], b"/stats\n");
    assert_eq!(ran.stderr, "");
    ran.ok();
}

#[test]
fn a_chat_says_how_far_its_heads_see() {
    let chat = |more: &[&str]| {
        let args = [&["chat", "-m", model_with_profile(), "--greedy", "-n", "9"], more].concat();
        attamba_with(args, b"Hello\n/stats\n")
    };
    let ran = chat(&["--budget", "100K", "--horizon", "300"]);
    assert_eq!(ran.stderr, "");
    let text = ran.ok();
    let line = text.lines().find_map(|line| line.strip_prefix("remembers    ")).unwrap();
    assert!(line.starts_with("2 of 12 heads see the last 300 tokens, the others the"), "{line}");
    assert!(text.contains(" of 300 states\n"), "{text}");
    let text = chat(&["--ring", "30"]).ok();
    assert!(text.contains("\nremembers    all heads see the last 30 tokens; "), "{text}");
}

#[test]
fn who_has_no_profile_hears_of_it_once_if_the_budget_is_short() {
    let hints = |args: &[&str]| {
        let ran = attamba_with([args, &["--greedy", "-n", "3"]].concat(), b"Hello\nAnd?\n");
        let hints = ran.stderr.matches("`attamba profile`").count();
        ran.ok();
        hints
    };
    let (plain, known) = (random_model(), model_with_profile());
    assert_eq!(hints(&["chat", "-m", plain, "--budget", "40K"]), 1);
    assert_eq!(hints(&["generate", "-p", "Hello", "-m", plain, "--budget", "40K"]), 1);
    assert_eq!(hints(&["chat", "-m", plain, "--budget", "4M"]), 0);
    assert_eq!(hints(&["chat", "-m", plain]), 0);
    assert_eq!(hints(&["chat", "-m", plain, "--ring", "2"]), 0);
    assert_eq!(hints(&["chat", "-m", known, "--budget", "40K"]), 0);
}

#[test]
fn a_chat_over_a_pipe_ends_with_its_input_or_with_an_error() {
    assert_eq!(attamba(["chat"]).ok(), "");
    let text = attamba_with(["chat", "-n", "3", "--system", "Be brief."], b"Hi").ok();
    assert!(text.ends_with('\n'), "{text}");
    let ran = attamba_with(["chat", "-n", "3"], b"Hi\ncaf\xe9\nHi\n");
    assert!(ran.stderr.contains("line 2 of standard input is not UTF-8"), "{}", ran.stderr);
    assert_eq!(ran.ok().lines().count(), 2, "the chat continues");
    attamba(["chat", "--ring", "many"]).refused("invalid value 'many'");
}

/// Ctrl-C stops the answer, not the program; at the prompt it clears the line, and twice it leaves.
#[cfg(unix)]
#[test]
fn ctrl_c_on_a_terminal_stops_the_answer_only() {
    let script = include_str!("terminal.py");
    let args = [env!("CARGO_BIN_EXE_attamba"), random_model()];
    assert_eq!(crate::python::run_python(script, &args).trim(), "well");
}

#[cfg(unix)]
#[test]
fn a_prompt_loses_no_line_and_leaves_the_terminal_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let script = include_str!("prompt.py");
    let args = [env!("CARGO_BIN_EXE_attamba"), random_model(), folder.path().to_str().unwrap()];
    assert_eq!(crate::python::run_python(script, &args).trim(), "well");
}

#[test]
fn a_message_may_begin_with_a_slash_and_a_command_says_what_it_needs() {
    let input = b"//etc/hosts: what is that?\n/shrink\n/quit now\n/help me\n/etc/hosts\n";
    let ran = attamba_with(["chat", "-m", random_model(), "-n", "3"], input);
    let said = "/shrink needs a size, such as 512K\n/quit takes nothing after it\n\
                /help takes nothing after it\nunknown command /etc/hosts; /help lists the commands, \
                // begins a message with a slash\n";
    assert_eq!(ran.stderr, said);
    assert_eq!(ran.ok().lines().count(), 1);
    let ran = attamba_with(["chat", "-m", random_model(), "--commands"], b"/save\n/load\n");
    assert_eq!(ran.stderr, "/save needs a file\n/load needs a file\n");
}

#[test]
fn another_template_replaces_a_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("broken"), "{{").unwrap();
    std::fs::write(path("good"), "{{ messages[-1].content }}").unwrap();
    let chat = ["chat", "-m", random_model(), "--greedy", "-n", "5", "--template"];
    let answer = attamba_with([&chat[..], &[&path("good")]].concat(), b"Hello\n").ok();
    let generate = ["generate", "-m", random_model(), "--greedy", "-n", "5", "-p", "Hello"];
    assert_eq!(answer, attamba(generate).ok());
    attamba([&chat[..], &[&path("broken")]].concat()).fails("chat template: ");
    attamba([&chat[..], &[&path("missing")]].concat()).fails("missing");
}
