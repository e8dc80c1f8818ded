//! `attamba perplexity`.

use crate::common::command::{attamba, attamba_with};
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
    let text = attamba(["perplexity", &short, "-m", random_model(), "-c", "999999999999"]).ok();
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
    refused(&short, &["-c", "1"], "windows of 1 tokens leave nothing to score");
    refused(&short, &["-c", "0"], "windows of 0 tokens leave nothing to score");
    refused("no-such.txt", &[], "no-such.txt: ");
    attamba(["perplexity"]).refused("<FILE>");
}

#[test]
fn a_smaller_ring_foretells_another_text() {
    let text = "Whereof-one-can-not-speak,thereof-one-must-be-silent.".repeat(4);
    let perplexity = |more: &[&str]| {
        let args = [&["perplexity", "-", "-m", random_model(), "--json"], more].concat();
        attamba_with(args, text.as_bytes()).json()["perplexity"].as_f64().unwrap()
    };
    assert_eq!(perplexity(&[]), perplexity(&["--ring", "1000"]));
    assert_ne!(perplexity(&[]), perplexity(&["--ring", "2"]));
}
