//! `attamba remember`.

use crate::command::{attamba, attamba_with};
use crate::{folder, model_with_profile, random_model};
use serde_json::Value;

/// Small texts for a small model.
const SMALL: [&str; 7] = ["remember", "--tokens", "1K", "--texts", "2", "--needles", "7"];

fn remember(model: &str, more: &[&str]) -> Value {
    attamba([&SMALL[..], &["-m", model, "--json"], more].concat()).json()
}

/// The rows, without their speed, which differs from run to run.
fn rows(json: &Value) -> Vec<Value> {
    let mut rows = json["rows"].as_array().unwrap().clone();
    for row in &mut rows {
        let speed = row.as_object_mut().unwrap().remove("decode_tokens_per_second");
        assert!(speed.unwrap().as_f64().unwrap() > 0.0);
    }
    rows
}

fn names(json: &Value) -> Vec<&str> {
    json["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn policies_are_compared_at_equal_bytes() {
    let more = ["--budgets", "1/4,1/7"];
    let json = remember(model_with_profile(), &more);
    assert_eq!(
        names(&json),
        ["everything", "window, 1/4", "by head, 1/4", "window, 1/7", "by head, 1/7"]
    );
    assert_eq!(json["missing"], Value::Null);
    let rows = rows(&json);
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap();
    let everything = number(&rows[0], "state_bytes");
    assert!(rows[0]["sees"].as_str().unwrap().starts_with("all heads see the last 1,024 tokens;"));
    assert_eq!((&rows[0]["budget_bytes"], &rows[0]["late_ratio"]), (&Value::Null, &1.0.into()));
    let late = |row: &Value| row["late_perplexity"].as_f64().unwrap();
    for (row, of) in rows[1..].iter().zip([4, 4, 7, 7]) {
        assert_eq!(number(row, "budget_bytes"), everything / of);
        let state = number(row, "state_bytes");
        // As much of the budget as whole states fit in, of each of the twelve heads.
        assert!(state <= everything / of && state + everything / 1000 > everything / of, "{row}");
        // The numbers of a text may be off by their last bit.
        let ratio = late(row) / late(&rows[0]);
        assert!((row["late_ratio"].as_f64().unwrap() / ratio - 1.0).abs() < 1e-12, "{row}");
    }
    let sees = |row: &Value| row["sees"].as_str().unwrap().to_owned();
    assert!(sees(&rows[2]).starts_with("2 of 12 heads see the last 1,024 tokens, the others"));
    // 25 facts would be each kind at each depth; seven are at the first depths twice.
    for row in &rows {
        assert_eq!(row["needles"]["exact"]["of"], 7);
        let of = |list: &str| -> Vec<u64> {
            let list = row[list].as_array().unwrap();
            list.iter().map(|part| part["exact"]["of"].as_u64().unwrap()).collect()
        };
        assert_eq!(of("depths"), [2, 2, 1, 1, 1]);
        assert_eq!(of("kinds").iter().sum::<u64>(), 7);
    }
    // The same every time, and other facts with another seed in texts that are predicted as before.
    assert_eq!(self::rows(&remember(model_with_profile(), &more)), rows);
    let other =
        self::rows(&remember(model_with_profile(), &[&more[..], &["--seed", "1"]].concat()));
    assert_ne!(other[0]["needles"]["recalled"]["of"], rows[0]["needles"]["recalled"]["of"]);
    assert_eq!(other[2]["late_perplexity"], rows[2]["late_perplexity"]);
}

#[test]
fn all_of_the_bytes_remember_everything() {
    let json = remember(model_with_profile(), &["--budgets", "1"]);
    let rows = rows(&json);
    assert_eq!(names(&json), ["everything", "window, 1/1", "by head, 1/1"]);
    for row in &rows[1..] {
        for key in ["state_bytes", "sees", "late_perplexity", "early_perplexity", "needles"] {
            assert_eq!(row[key], rows[0][key], "{key}");
        }
    }
}

#[test]
fn without_a_profile_there_is_nothing_by_head_and_chunks_are_for_attamba() {
    let folder = folder();
    let plain = folder.path().join("plain.gguf");
    crate::make_model(&plain, &["vocab=94", "arch=llama"]);
    let json = remember(plain.to_str().unwrap(), &["--budgets", "1/8"]);
    assert_eq!(names(&json), ["everything", "window, 1/8"]);
    assert!(json["missing"].as_str().unwrap().contains("`attamba profile`"));

    let json = remember(random_model(), &["--budgets", "1/8"]);
    assert_eq!(names(&json), ["everything", "window, 1/8", "chunks, 1/8"]);
    let rows = rows(&json);
    let sees = |row: &Value| -> u64 {
        let text = row["sees"].as_str().unwrap();
        let text = text.strip_prefix("all heads see the last ").unwrap();
        text.split(' ').next().unwrap().replace(',', "").parse().unwrap()
    };
    // Chunks of four tokens see nearly four times as far as single ones in as many bytes.
    assert!(sees(&rows[2]) > 3 * sees(&rows[1]), "{rows:?}");
    for row in &rows[1..] {
        assert!(row["state_bytes"].as_u64() <= row["budget_bytes"].as_u64());
    }
}

#[test]
fn people_see_a_table() {
    let args =
        [&SMALL[..], &["-m", model_with_profile(), "--budgets", "1/8", "--text", "-"]].concat();
    let text = "It was a dark and stormy night; the rain fell in torrents. ".repeat(40);
    let table = attamba_with(&args, text.as_bytes()).ok();
    assert!(table.contains(": 1 texts of 1024 tokens to predict, 7 facts to recall"), "{table}");
    for row in [
        "everything | all heads see the last 1,024 tokens",
        "window, 1/8 | all",
        "by head, 1/8 | 2 of 12",
    ] {
        assert!(table.contains(&format!("\n| {row}")), "{row} in {table}");
    }
    assert_eq!(table.matches("\n| by head, 1/8 | ").count(), 2, "{table}");
    // A text of less than 8,192 tokens is used as it is.
    let whole = ["remember", "-m", model_with_profile(), "--budgets", "1/8", "--text", "-"];
    let table = attamba_with([&whole[..], &["--needles", "3"]].concat(), text.as_bytes()).ok();
    assert!(table.contains(": 1 texts of ") && table.contains("3 facts to recall"), "{table}");
    let short = attamba_with(&args, b"It was a dark and stormy night.");
    short.fails("standard input has 25 tokens, and 1024 are to be predicted");
}

#[test]
fn arguments_that_make_no_sense_are_errors() {
    let run = |more: &[&str]| attamba([&["remember", "-m", model_with_profile()], more].concat());
    for (budget, sentence) in [
        ("0", "a budget of 0 is nothing"),
        ("1/4,0/8", "a budget of 0/8 is nothing"),
        ("2", "a budget of 2 is more than everything"),
        ("9/8", "a budget of 9/8 is more than everything"),
        ("half", "a fraction such as 1/8 is expected"),
    ] {
        run(&["--budgets", budget]).refused(sentence);
    }
    run(&["--budgets", "1/1000000"])
        .fails("1/1000000 of the 6.0 MiB of everything: a session needs at least");
    run(&["--tokens", "0"]).fails("texts of 0 tokens; the length must be between 16 and 16777216");
    run(&["--tokens", "1G"]).fails("texts of 1073741824 tokens");
    run(&["--tokens", "100"]).fails("texts of 100 tokens have no room for 20 facts, which take ");
    run(&["--tokens", "1M"]).fails("the built-in text has ");
    run(&["--needles", "0"]).fails("3 texts and 0 facts; at least one of each");
    run(&["--texts", "0"]).fails("0 texts and 100 facts; at least one of each");
    run(&["--text", "no-such.txt"]).fails("no-such.txt: ");
}
