//! `attamba recall`.

use crate::command::{BUNDLED, attamba, attamba_with};

#[test]
fn each_length_and_depth_is_measured() {
    let args = ["recall", "--lengths", "20,64", "--depths", "0,100", "--trials", "2"];
    let json = attamba([&args[..], &["--json"]].concat()).json();
    let cells = json.as_array().unwrap();
    assert_eq!(cells.len(), 4);
    for (cell, (tokens, depth)) in cells.iter().zip([(20, 0), (20, 100), (64, 0), (64, 100)]) {
        assert_eq!((&cell["tokens"], &cell["depth_percent"]), (&tokens.into(), &depth.into()));
        let told = cell["told"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&told));
    }
    // The same every time.
    assert_eq!(attamba([&args[..], &["--json"]].concat()).json(), json);
    let text = attamba(args).ok();
    assert!(text.starts_with("| depth | 20 tokens | 64 tokens |\n"), "{text}");
    assert!(text.contains("\n| 100 % |"), "{text}");
}

#[test]
fn it_asks_in_a_chat_and_hides_in_any_text() {
    let args = ["recall", "-m", BUNDLED, "--lengths", "30", "--depths", "50", "--trials", "1"];
    let more = ["--chat", "--text", "-", "--json"];
    let ran = attamba_with([&args[..], &more].concat(), b"It was a dark and stormy night. ");
    assert_eq!(ran.json().as_array().unwrap().len(), 1);
    attamba_with([&args[..], &["--text", "-"]].concat(), b"").fails("is empty");
}

#[test]
fn arguments_that_make_no_sense_are_errors() {
    attamba(["recall", "--trials", "0"]).fails("0 trials");
    attamba(["recall", "--lengths", "0"]).fails("measure nothing");
    attamba(["recall", "--depths", "101"]).fails("lies beyond the text");
    attamba(["recall", "--text", "no-such.txt"]).fails("no-such.txt: ");
}
