//! Chat templates of public families and of their kind: rendered as `transformers` renders them.
//! `templates/judge.py` writes the answers, and judges those that are kept there.

use attamba::internals::{ChatTemplate, Variables};
use attamba::text::Message;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

fn read(path: &Path) -> Map<String, Value> {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn rendered(source: &str, case: &Value) -> attamba::Result<String> {
    let messages = Message::list_from_json(&case["messages"].to_string())?;
    let variables = match &case["variables"] {
        Value::Null => Variables::default(),
        variables => Variables::from_json(&variables.to_string())?,
    };
    let prompt = case["prompt"].as_bool().unwrap_or(true);
    ChatTemplate::new(source, "<s>", "</s>")?.render_with(&messages, prompt, &variables)
}

/// An answer with the time in it.
fn at_this_time(answer: &str) -> String {
    let mut parts = answer.split("«now ");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (format, rest) = part.split_once('»').unwrap();
        let now = format!("{{{{ strftime_now('{format}') }}}}");
        text += &ChatTemplate::new(&now, "", "").unwrap().render(&[], false).unwrap();
        text += rest;
    }
    text
}

/// What differs, from a little before it does.
fn difference(
    name: &str,
    case: &str,
    got: attamba::Result<String>,
    want: Option<String>,
) -> String {
    let got = got.unwrap_or_else(|e| format!("an error: {e}"));
    let want = want.unwrap_or_else(|| "an error".into());
    let same = got.chars().zip(want.chars()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| text.chars().skip(same.saturating_sub(20)).take(80).collect::<String>();
    format!("{name}, {case}:\n got {:?}\nwant {:?}", part(&got), part(&want))
}

/// Compares all templates of a folder; returns how many there are.
fn compare(folder: &str) -> usize {
    let cases = read(&root("tests/templates/cases.json"));
    let answers = read(&root(folder).join("answers.json"));
    let mut wrong = Vec::new();
    for (name, answers) in &answers {
        let source = std::fs::read_to_string(root(folder).join(name)).unwrap();
        for (case, answer) in answers.as_object().unwrap() {
            let want = answer.as_str().map(at_this_time);
            // Text that is marked as safe escapes what is added to it, in Python.
            if want.as_ref().is_some_and(|text| text.contains("&#34;")) {
                continue;
            }
            let got = rendered(&source, &cases[case]);
            if got.as_ref().ok() != want.as_ref() {
                wrong.push(difference(name, case, got, want));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    answers.len()
}

#[test]
fn templates_of_twenty_kinds_render_as_transformers_does() {
    assert!(compare("tests/templates") >= 20);
}

/// The templates that models/fetch.sh templates downloads, if it has been run.
#[test]
fn fetched_templates_render_as_transformers_does() {
    if root("models/fetched/templates/answers.json").exists() {
        assert!(compare("models/fetched/templates") > 0);
    } else {
        println!("skipped: models/fetch.sh templates brings them, and judge.py their answers");
    }
}
