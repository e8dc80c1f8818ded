//! `attamba generate`.

use crate::command::{BUNDLED, attamba, attamba_with, command};
use crate::{file, folder, random_model};
use std::process::Stdio;

#[test]
fn greedy_and_a_seed_give_the_same_text_every_time() {
    let generate = |more: &[&str]| {
        attamba([&["generate", "-p", "Once upon a time", "-n", "24"], more].concat()).ok()
    };
    let greedy = generate(&["--greedy"]);
    assert!(greedy.len() > 20, "{greedy}");
    assert_eq!(greedy, generate(&["--greedy", "--threads", "1"]));
    assert_eq!(greedy, generate(&["--temperature", "0", "--raw"]));
    assert_eq!(greedy, generate(&["--greedy", "--no-mmap"]));
    let seven = generate(&["--seed", "7"]);
    assert_eq!(seven, generate(&["--seed", "7"]));
    assert_ne!(seven, generate(&["--seed", "8"]));
}

#[test]
fn activations_in_eight_bits_are_named_and_change_the_logits() {
    let folder = folder();
    let [file, other] =
        ["a.f32", "b.f32"].map(|name| folder.path().join(name).display().to_string());
    let logits = |out: &str, more: &[&str]| {
        let all = [&["logits", BUNDLED, "--tokens", "9,8,7,6", "--out", out], more].concat();
        attamba(all).ok();
        std::fs::read(out).unwrap()
    };
    let usual = logits(&file, &["--engine", "cpu"]);
    assert_eq!(usual, logits(&other, &["--engine", "cpu", "--activations", "int14"]));
    assert_ne!(usual, logits(&other, &["--engine", "cpu", "--activations", "int8"]));
    let bench = ["bench", "--engine", "cpu", "-p", "4", "-n", "0", "-r", "1", "-t", "1"];
    let named = attamba([&bench[..], &["--activations", "int8"]].concat()).ok();
    assert!(named.contains("int8 activations, 1 thread"), "{named}");
    attamba([&bench[..], &["--activations", "int4"]].concat()).refused("int14");
}

#[test]
fn the_prompt_comes_from_the_option_a_file_or_standard_input() {
    let folder = folder();
    let end = ["--greedy", "-n", "8", "-m", random_model()];
    let run = |start: &[&str], input: &str| {
        attamba_with([&["generate"], start, &end].concat(), input.as_bytes()).ok()
    };
    let text = run(&["-p", "Once"], "");
    assert_eq!(text, run(&[], "Once"));
    assert_eq!(text, run(&[], "Once\n"), "the last newline is not part of the prompt");
    assert_eq!(text, run(&["--file", "-"], "Once\r\n"));
    assert_eq!(text, run(&["--file", &file(&folder, "prompt.txt", "Once\n")], ""));
    // The tokens of this model are the ASCII characters from the exclamation mark on.
    assert_eq!(text, run(&["--tokens", "46,77,66,68"], ""));
    assert_eq!(text, run(&["--tokens", &format!("@{}", file(&folder, "ids", "46 77\n66,68"))], ""));
    assert_eq!(format!("Once{text}"), run(&["-p", "Once", "--echo"], ""));
    assert_eq!(format!("Once{text}"), run(&["--tokens", "46,77,66,68", "--echo"], ""));
    // A prompt may look like an option.
    run(&["-p", "--greedy"], "");
}

#[test]
fn prompts_that_can_not_be_read_are_errors() {
    let folder = folder();
    let generate = |more: &[&str]| attamba([&["generate", "-n", "3"], more].concat());
    generate(&["--file", "no-such.txt"]).fails("no-such.txt: ");
    generate(&["--tokens", "@no-such.txt"]).fails("no-such.txt: ");
    generate(&["--tokens", "1,two"]).fails("\"two\" is not a token id");
    generate(&["--tokens", "1,4096"])
        .fails("token id 4096 is out of range: the vocabulary has 4096 entries");
    generate(&["--file", &file(&folder, "bytes", b"caf\xe9")])
        .fails("is not UTF-8 text: the byte at 3");
    attamba_with(["generate"], b"\xff").fails("standard input is not UTF-8 text: the byte at 0");
    generate(&["-p", "x", "--tokens", "1"]).refused("cannot be used with");
    generate(&["-p", "x", "--raw", "--chat"]).refused("cannot be used with");
    generate(&["-p", "x", "--system", "y"]).refused("--chat");
}

#[test]
fn an_empty_prompt_begins_with_bos_or_is_an_error() {
    let json = attamba(["generate", "-p", "", "-n", "4", "--json", "--greedy"]).json();
    assert_eq!(json["prompt_tokens"], 1);
    for empty in [&["-p", ""][..], &["--tokens", ""], &[]] {
        attamba([&["generate", "-m", random_model()], empty].concat())
            .fails("the prompt is empty, and this model has no BOS token");
    }
}

#[test]
fn json_is_one_object_with_the_text_that_is_printed_without() {
    let args = ["generate", "-p", "Once upon a time", "-n", "12", "--seed", "3"];
    let text = attamba(args).ok();
    let json = attamba([&args[..], &["--json", "--echo"]].concat()).json();
    assert_eq!(json["text"].as_str().unwrap().trim_end_matches('\n'), text.trim_end_matches('\n'));
    assert_eq!(json["prompt"], "Once upon a time");
    assert_eq!(json["finish"], "limit");
    assert_eq!(json["tokens"].as_array().unwrap().len(), 12);
    assert_eq!(json["seed"], 3);
    for time in ["prompt_seconds", "generate_seconds"] {
        assert!(json[time].as_f64().unwrap() > 0.0, "{json}");
    }
}

#[test]
fn a_stop_token_ends_the_text_and_is_the_last_id() {
    let metadata = attamba(["inspect", "--json", "--metadata"]).json();
    let eos = metadata["metadata"]["tokenizer.ggml.eos_token_id"].as_u64().unwrap();
    let bias = format!("{eos}=1000");
    let json = attamba(["generate", "-p", "The sea", "--json", "--greedy", "--bias", &bias]).json();
    assert_eq!((&json["tokens"], &json["text"]), (&vec![eos].into(), &"".into()));
    assert_eq!(json["finish"], "end");
}

#[test]
fn nothing_is_generated_where_nothing_is_asked_for() {
    let json = attamba(["generate", "-p", "The sea", "-n", "0", "--json"]).json();
    assert_eq!((&json["tokens"], &json["finish"]), (&serde_json::json!([]), &"limit".into()));
}

#[test]
fn the_ring_may_be_as_small_as_nothing_and_the_prompt_as_long_as_it_likes() {
    let long = "Once upon a time there was a ship. ".repeat(400);
    for ring in ["0", "1", "2"] {
        let args = ["generate", "--ring", ring, "-n", "8", "--greedy", "--json"];
        let json = attamba_with(args, long.as_bytes()).json();
        assert!(json["prompt_tokens"].as_u64().unwrap() > 2000, "{json}");
        assert_eq!(json["tokens"].as_array().unwrap().len(), 8);
    }
}

#[test]
fn a_message_goes_through_the_chat_template() {
    let args = ["generate", "--chat", "-p", "Hello", "--echo", "-n", "1", "-m", BUNDLED];
    let text = attamba(args).ok();
    assert!(text.starts_with("<|endoftext|><|user|>Hello<|assistant|>"), "{text}");
    let text = attamba([&args[..], &["--json", "--system", "Be brief."]].concat()).json();
    assert!(text["prompt"].as_str().unwrap().contains("Be brief."), "{text}");
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let metadata = ["inspect", "--metadata", "--tensors", "--json"];
    let generate = ["generate", "-m", random_model(), "-p", "x", "-n", "100000"];
    for args in [&metadata[..], &generate] {
        let mut child = command()
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut stdout, &mut [0; 10]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

/// The text so far is whole, and the exit code that of shells for an interrupted command.
#[cfg(unix)]
#[test]
fn ctrl_c_stops_in_time() {
    use std::io::Read;
    use std::time::{Duration, Instant};
    let mut child = command()
        .args(["generate", "-m", random_model(), "-p", "x", "-n", "100000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    let asked = Instant::now();
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(rest.ends_with(b"\n"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}
