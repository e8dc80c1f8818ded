//! `attamba recall`.

use crate::command::{BUNDLED, attamba, attamba_with};
use crate::{file, folder};

#[test]
fn each_length_depth_and_kind_is_measured() {
    let args = ["recall", "--lengths", "20,64", "--depths", "100,0", "--trials", "5"];
    let json = attamba([&args[..], &["--json"]].concat()).json();
    let cells = json["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 4);
    for (cell, (tokens, depth)) in cells.iter().zip([(20, 0), (20, 100), (64, 0), (64, 100)]) {
        assert_eq!((&cell["tokens"], &cell["depth_percent"]), (&tokens.into(), &depth.into()));
        assert_eq!(cell["exact"]["of"], 5);
        for share in [&cell["recalled"], &cell["exact"]] {
            let [share, low, high] = ["share", "low", "high"].map(|k| share[k].as_f64().unwrap());
            assert!(0.0 <= low && low <= share && share <= high && high <= 1.0);
        }
    }
    // Kinds take turns: each of the five was asked for as often.
    let kinds = json["kinds"].as_array().unwrap();
    let names: Vec<_> = kinds.iter().map(|k| k["kind"].as_str().unwrap()).collect();
    assert_eq!(names, ["number", "code", "name", "city", "words"]);
    assert!(kinds.iter().all(|k| k["exact"]["of"] == 4));
    assert_eq!(json["total"]["exact"]["of"], 20);
    // The same every time.
    assert_eq!(attamba([&args[..], &["--json"]].concat()).json(), json);
    let text = attamba(args).ok();
    assert!(text.contains("20 facts") && text.contains("\n| 64 | 100 % | "), "{text}");
    assert!(text.contains("\n| all | "), "{text}");
}

#[test]
fn a_heat_map_has_a_cell_for_each_depth_and_length_or_kind() {
    let folder = folder();
    let plot = file(&folder, "recall.svg", "");
    let args = ["recall", "--depths", "10,90", "--trials", "1", "--plot", &plot, "--lengths"];
    let cells = |svg: &str| svg.matches("<rect").count() - 1;
    attamba([&args[..], &["20,40,64"]].concat()).ok();
    let svg = std::fs::read_to_string(&plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(cells(&svg), 6);
    assert_eq!(svg.matches(" / 0\n</text>").count(), 6, "{svg}");
    assert!(svg.contains("\n64\n</text>") && svg.contains("\n90 %\n</text>"), "{svg}");
    // Of one length, by kind: one trial has two kinds, each at one depth.
    attamba([&args[..], &["20"]].concat()).ok();
    let svg = std::fs::read_to_string(&plot).unwrap();
    assert_eq!(cells(&svg), 4);
    assert_eq!(svg.matches(" / 0\n</text>").count(), 2, "{svg}");
    assert!(svg.contains("\nnumber\n</text>") && svg.contains("in texts of 20 tokens"), "{svg}");

    attamba(["recall", "--lengths", "20", "--trials", "1", "--plot", "no/such.svg"])
        .fails("no/such.svg: there is no folder no");
}

#[test]
fn facts_of_a_file_are_asked_for() {
    let folder = folder();
    let line =
        r#"{"statement": "The cat is gray.", "question": "What is the cat?", "answer": "gray"}"#;
    let facts = file(&folder, "facts.jsonl", format!("{line}\n\n{line}\n"));
    let args = ["recall", "--lengths", "20", "--trials", "1", "--json", "--facts"];
    let json = attamba([&args[..], &[&facts]].concat()).json();
    assert_eq!(json["kinds"][0]["kind"], "own");
    assert_eq!(json["total"]["exact"]["of"], 5);
    for (text, sentence) in [
        ("", "has no facts"),
        ("{}", "line 1: missing field"),
        (r#"{"statement": "x", "question": "y", "answer": " "}"#, "needs a statement"),
    ] {
        let facts = file(&folder, "facts.jsonl", text);
        attamba([&args[..], &[&facts]].concat()).fails(sentence);
    }
}

#[test]
fn it_asks_in_a_chat_and_hides_in_any_text() {
    let args = ["recall", "-m", BUNDLED, "--lengths", "30", "--depths", "50", "--trials", "1"];
    let more = ["--chat", "--text", "-", "--json"];
    let ran = attamba_with([&args[..], &more].concat(), b"It was a dark and stormy night. ");
    assert_eq!(ran.json()["cells"].as_array().unwrap().len(), 1);
    attamba_with([&args[..], &["--text", "-"]].concat(), b"").fails("is empty");
}

#[test]
fn arguments_that_make_no_sense_are_errors() {
    attamba(["recall", "--trials", "0"]).fails("0 trials");
    attamba(["recall", "--lengths", "0"]).fails("measure nothing");
    attamba(["recall", "--depths", "101"]).fails("is beyond the text");
    attamba(["recall", "--text", "no-such.txt"]).fails("no-such.txt: ");
}
