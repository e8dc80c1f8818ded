//! `attamba perplexity`.

use crate::command::{attamba, attamba_with};
use crate::{file, folder, logits, random_model};

#[test]
fn it_is_that_of_the_logits() {
    let text = "Photosynthesis!";
    let folder = folder();
    let path = file(&folder, "text.txt", text);
    let args = ["perplexity", &path, "-m", random_model(), "-c", "6", "--kv", "f32", "--json"];
    let json = attamba(args).json();

    // The tokens of this model are the ASCII characters from the exclamation mark on.
    let tokens: Vec<usize> = text.bytes().map(|b| usize::from(b) - 33).collect();
    let (mut sum, mut count) = (0.0, 0);
    for window in tokens.chunks(6) {
        let ids: Vec<String> = window.iter().map(usize::to_string).collect();
        let rows = logits(random_model(), &ids.join(","));
        for (row, &next) in rows.chunks(94).zip(&window[1..]) {
            let total: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            sum += total.ln() - f64::from(row[next]);
            count += 1;
        }
    }
    assert_eq!((&json["tokens"], &json["windows"]), (&count.into(), &3.into()));
    let (got, want) = (json["perplexity"].as_f64().unwrap(), (sum / f64::from(count)).exp());
    assert!((got / want - 1.0).abs() < 1e-5, "{got} {want}");
}

#[test]
fn a_text_may_be_shorter_than_a_window_but_not_than_two_tokens() {
    let folder = folder();
    let short = file(&folder, "short.txt", "ab");
    let json = attamba(["perplexity", &short, "-m", random_model(), "--json"]).json();
    assert_eq!(json["tokens"], 1);
    // The last window has one token, which can't be scored.
    let args = ["perplexity", "-", "-m", random_model(), "-c", "4", "--json"];
    assert_eq!(attamba_with(args, b"abcde").json()["tokens"], 3);
    let text = attamba(["perplexity", &short, "-m", random_model(), "-c", "999999999"]).ok();
    assert!(
        text.starts_with("perplexity ") && text.contains(" over 1 tokens in 1 windows"),
        "{text}"
    );

    let refused = |path: &str, more: &[&str], sentence: &str| {
        attamba([&["perplexity", path, "-m", random_model()], more].concat()).fails(sentence);
    };
    refused(&file(&folder, "one.txt", "a"), &[], "one.txt has 1 tokens; at least 2 are needed");
    refused(&file(&folder, "none.txt", ""), &[], "none.txt has 0 tokens; at least 2 are needed");
    refused("-", &[], "standard input has 0 tokens");
    refused(&file(&folder, "bytes", b"caf\xe9!"), &[], "bytes is not UTF-8 text: the byte at 3");
    refused(&short, &["-c", "1"], "windows of 1 token leave nothing to score");
    refused("no-such.txt", &[], "no-such.txt: ");
    attamba(["perplexity"]).refused("<FILE>");
}

#[test]
fn a_smaller_ring_predicts_another_text() {
    let text = "Whereof-one-can-not-speak,thereof-one-must-be-silent.".repeat(4);
    let perplexity = |more: &[&str]| {
        let args = [&["perplexity", "-", "-m", random_model(), "--json"], more].concat();
        attamba_with(args, text.as_bytes()).json()["perplexity"].as_f64().unwrap()
    };
    assert_eq!(perplexity(&[]), perplexity(&["--ring", "1000"]));
    assert_ne!(perplexity(&[]), perplexity(&["--ring", "2"]));
}

#[test]
fn a_whole_text_is_told_by_position() {
    let text = "Whereof-one-can-not-speak,thereof-one-must-be-silent.".repeat(20);
    let args = ["perplexity", "-", "-m", random_model(), "-c", "0", "--positions"];
    let json = attamba_with([&args[..], &["--json"]].concat(), text.as_bytes()).json();
    assert_eq!((&json["windows"], &json["tokens"]), (&1.into(), &(text.len() - 1).into()));
    let ranges = json["positions"].as_array().unwrap();
    let bounds: Vec<_> = ranges.iter().map(|r| (r["from"].as_u64(), r["to"].as_u64())).collect();
    let range = |from, to| (Some(from), Some(to));
    assert_eq!(bounds, [range(1, 256), range(256, 512), range(512, 1024), range(1024, 2048)]);
    // Together they are the whole.
    let of = |r: &serde_json::Value| {
        (r["tokens"].as_f64().unwrap(), r["perplexity"].as_f64().unwrap().ln())
    };
    let sum: f64 = ranges.iter().map(of).map(|(tokens, loss)| tokens * loss).sum();
    let tokens: f64 = ranges.iter().map(|r| of(r).0).sum();
    assert_eq!(tokens, text.len() as f64 - 1.0);
    assert!((sum / tokens - json["loss"].as_f64().unwrap()).abs() < 1e-9);
    let table = attamba_with(args, text.as_bytes()).ok();
    assert!(table.contains("| 1024 to 2047 |"), "{table}");
}
