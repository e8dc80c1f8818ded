//! `attamba chat`, over a pipe and on a terminal.

use crate::common::command::{attamba, attamba_with};
use crate::random_model;

/// The chat template of a file that has none: plain text.
fn prompt(message: &str) -> String {
    format!("User: {message}\n\nAssistant:")
}

#[test]
fn a_chat_feeds_what_its_template_writes() {
    let end = ["-m", random_model(), "--greedy", "-n", "12"];
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
    assert_eq!(ran.stderr, "there is no command /fly; /help lists those there are\n");
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
    let text = attamba_with(args, input.as_bytes()).ok();
    assert!(text.contains("\nring         2 of 2 states\n"), "{text}");
    let position = text.lines().find_map(|l| l.strip_prefix("position ")).unwrap();
    assert!(position.trim().parse::<u64>().unwrap() > 1500, "{position}");
}

#[test]
fn a_chat_over_a_pipe_ends_with_its_input_or_with_an_error() {
    assert_eq!(attamba(["chat"]).ok(), "");
    let text = attamba_with(["chat", "-n", "3", "--system", "Be brief."], b"Hi").ok();
    assert!(text.ends_with('\n'), "{text}");
    attamba_with(["chat"], b"caf\xe9\n")
        .fails("standard input: stream did not contain valid UTF-8");
    attamba(["chat", "--ring", "many"]).refused("invalid value 'many'");
}

/// Ctrl-C stops the answer, not the program; at the prompt it clears the line, and twice it leaves.
#[cfg(unix)]
#[test]
fn ctrl_c_on_a_terminal_stops_the_answer_only() {
    let script = include_str!("terminal.py");
    let args = [env!("CARGO_BIN_EXE_attamba"), random_model()];
    assert_eq!(crate::common::python::run_python(script, &args).trim(), "well");
}
