//! `attamba profile`.

use crate::command::{attamba, attamba_with, make_model};
use crate::{file, folder, logits, random_model};
use attamba::gguf::{Gguf, Value};
use serde_json::{Value as Json, json};
use std::path::Path;

/// Small texts for a small model.
const TEXTS: [&str; 6] = ["--lengths", "40,90", "--trials", "3", "--threads", "2"];

fn profile(more: &[&str]) -> Json {
    attamba([&["profile", random_model(), "--json"], &TEXTS[..], more].concat()).json()
}

fn integers(gguf: &Gguf, key: &str) -> Vec<u32> {
    let Some(Value::Array(array)) = gguf.get(key) else { panic!("{key} is no array") };
    array.iter().map(|value| u32::try_from(value.as_i128().unwrap()).unwrap()).collect()
}

fn integer(gguf: &Gguf, key: &str) -> i128 {
    gguf.get(key).and_then(|value| value.as_i128()).unwrap()
}

#[test]
fn every_head_is_ranked() {
    let found = profile(&[]);
    let heads = found["heads"].as_array().unwrap();
    let of = |head: &Json, key: &str| head[key].as_u64().unwrap();
    let mut places: Vec<_> = heads.iter().map(|h| (of(h, "layer"), of(h, "head"))).collect();
    let attention: Vec<f64> = heads.iter().map(|h| h["attention"].as_f64().unwrap()).collect();
    assert!(attention.is_sorted_by(|a, b| a >= b) && attention[0] <= 1.0, "{attention:?}");
    assert!(attention.iter().all(|&share| share > 0.0), "{attention:?}");
    places.sort_unstable();
    let all = (0..3).flat_map(|layer| (0..4).map(move |head| (layer, head)));
    assert_eq!(places, all.collect::<Vec<_>>());
    let far = found["far_count"].as_u64().unwrap() as usize;
    assert!(far > 0 && attention[far - 1] >= 0.249 * attention[0], "{attention:?}");
    assert_eq!(found["near_window"], 512);
    assert_eq!(found["halves"]["of"], far);
    let texts = json!({"lengths": [40, 90], "trials": 3, "seed": 0, "chat": false});
    assert_eq!(found["texts"], texts);
    // The same every time, and something else with other facts or in another book.
    assert_eq!(profile(&[]), found);
    assert_ne!(profile(&["--seed", "1"])["heads"], found["heads"]);
    let other = [&["profile", random_model(), "--json"], &TEXTS[..], &["--text", "-"]].concat();
    let other = attamba_with(other, b"It was a dark and stormy night.").json();
    assert_ne!(other["heads"], found["heads"]);
}

#[test]
fn a_table_says_how_sure_it_is() {
    let text = attamba([&["profile", random_model()], &TEXTS[..], &["--far", "2"]].concat()).ok();
    assert!(text.contains("2 of 12 KV heads are far, the others near (512 tokens)"), "{text}");
    assert_eq!(text.matches("% | far |").count(), 2, "{text}");
    assert_eq!(text.matches("% | near |").count(), 8, "{text}");
    assert!(text.contains("\n6 texts of 40 and 90 tokens; two halves of them agree on "), "{text}");
}

#[test]
fn the_model_gets_three_keys_and_stays_as_it_is() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (out, again) = (path("out.gguf"), path("again.gguf"));
    let found = profile(&["--into", &out, "--near", "300"]);
    let saved = file(&folder, "profile.json", found.to_string());

    let (before, after) = (Gguf::read(random_model()).unwrap(), Gguf::read(&out).unwrap());
    let heads: Vec<u32> = found["heads"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(integers(&after, "attamba.memory.far_heads"), heads);
    let far = integer(&after, "attamba.memory.far_count");
    assert_eq!(Some(far), found["far_count"].as_u64().map(i128::from));
    assert_eq!(integer(&after, "attamba.memory.near_window"), 300);
    same_but_for_the_profile(&before, &after);
    assert_eq!(logits(&out, "5,1,7,60"), logits(random_model(), "5,1,7,60"));

    // From a file, and over an earlier profile: the same bytes.
    let text = attamba(["profile", &out, "--from", &saved, "--into", &again]).ok();
    assert!(text.lines().last().unwrap().starts_with(&format!("{again}: ")), "{text}");
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&out).unwrap());
    let args = ["profile", &out, "--from", &saved, "--into", &again, "--force", "--far", "1"];
    attamba([&args[..], &["--near", "64"]].concat()).ok();
    let after = Gguf::read(&again).unwrap();
    assert_eq!(integer(&after, "attamba.memory.far_count"), 1);
    assert_eq!(integer(&after, "attamba.memory.near_window"), 64);
    same_but_for_the_profile(&before, &after);
}

/// The index of a head among those of all layers, four in each.
fn number(head: &Json) -> u32 {
    let of = |key: &str| head[key].as_u64().unwrap() as u32;
    4 * of("layer") + of("head")
}

fn same_but_for_the_profile(before: &Gguf, after: &Gguf) {
    let others = |gguf: &Gguf| -> Vec<(String, String)> {
        let entries = gguf.metadata().filter(|(key, _)| !key.starts_with("attamba.memory."));
        entries.map(|(key, value)| (key.to_owned(), format!("{value:?}"))).collect()
    };
    assert_eq!(others(before), others(after));
    assert_eq!(before.tensors().len(), after.tensors().len());
    for (before, after) in before.tensors().zip(after.tensors()) {
        assert_eq!((before.name(), before.dims()), (after.name(), after.dims()));
        assert_eq!(before.dtype().unwrap(), after.dtype().unwrap());
        assert!(before.data() == after.data(), "{}", before.name());
    }
}

#[test]
fn heads_of_unequal_layers_are_counted_through() {
    let folder = folder();
    let model = folder.path().join("shared.gguf");
    make_model(&model, &["vocab=94", "arch=llama", "heads=6", "kv_heads=2", "d=36", "layers=2"]);
    let model = model.to_str().unwrap();
    let out = folder.path().join("out.gguf");
    let args = ["profile", model, "--into", out.to_str().unwrap()];
    attamba([&args[..], &TEXTS[..]].concat()).ok();
    let gguf = Gguf::read(&out).unwrap();
    let mut heads = integers(&gguf, "llama.memory.far_heads");
    heads.sort_unstable();
    assert_eq!(heads, [0, 1, 2, 3]);
}

/// Of a transformer with four KV heads in all, and inputs of 36 values.
#[test]
fn retention_gates_come_from_the_profile_and_are_what_a_session_goes_by() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (model, out) = (path("plain.gguf"), path("out.gguf"));
    make_model(
        Path::new(&model),
        &["vocab=94", "arch=llama", "heads=6", "kv_heads=2", "d=36", "layers=2"],
    );
    let mut found =
        attamba([&["profile", &model, "--json", "--near", "10"], &TEXTS[..]].concat()).json();
    let gate = |head: usize| (0..36).map(|i| ((7 * i + head) % 5) as f32 - 2.0).collect::<Vec<_>>();
    let into = |found: &Json| {
        let saved = file(&folder, "gates.json", found.to_string());
        attamba(["profile", &model, "--from", &saved, "--into", &out, "--force"])
    };
    let retain = ["--ring", "20", "--eviction", "retain"];
    let inspect = |model: &str| attamba([&["inspect", "-m", model], &retain[..]].concat());
    inspect(&model).fails("no retention gates");
    found["retention_gates"] = json!((0..3).map(gate).collect::<Vec<_>>());
    into(&found).fails("3 retention gates, where 4 of 36 values are wanted");
    found["retention_gates"] = json!((0..4).map(gate).collect::<Vec<_>>());
    into(&found).ok();
    let text = inspect(&out).ok();
    let seen = "all heads see the last 11 tokens and up to 9 older ones that score highest";
    assert!(text.contains(seen), "{text}");
    let perplexity = |more: &[&str]| {
        let args = ["perplexity", "-", "-m", &out, "-c", "0", "--json", "--ring", "20"];
        let text = "It was a dark and stormy night; the rain fell in torrents. ".repeat(4);
        let json = attamba_with([&args[..], more].concat(), text.as_bytes()).json();
        json["perplexity"].as_f64().unwrap()
    };
    let kept = perplexity(&["--eviction", "retain"]);
    assert_eq!(perplexity(&["--eviction", "retain"]), kept);
    assert_ne!(perplexity(&["--eviction", "drop"]), kept);
    let args = ["remember", "-m", &out, "--json", "--tokens", "1K", "--texts", "1"];
    let json = attamba([&args[..], &["--needles", "2", "--budgets", "1/8"]].concat()).json();
    let names: Vec<_> = json["rows"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["everything", "window, 1/8", "by head, 1/8", "by head, retained, 1/8"]);
}

#[test]
fn a_file_that_would_be_lost_is_kept() {
    let folder = folder();
    let there = file(&folder, "there.gguf", "precious");
    let run = |into: &str, more: &[&str]| {
        attamba([&["profile", random_model(), "--into", into], &TEXTS[..], more].concat())
    };
    run(&there, &[]).fails("already exists; use --force");
    run(random_model(), &["--force"]).fails("is the input");
    let saved = file(&folder, "profile.json", profile(&[]).to_string());
    attamba(["profile", random_model(), "--from", &saved, "--into", &saved, "--force"])
        .fails("is the input");
    assert_eq!(std::fs::read(&there).unwrap(), b"precious");
    run(&there, &["--force"]).ok();
    assert!(Gguf::read(&there).is_ok());
}

#[test]
fn a_profile_of_another_model_is_refused() {
    let folder = folder();
    let into = folder.path().join("out.gguf");
    let with = |change: &dyn Fn(&mut Json)| {
        let mut found = profile(&[]);
        change(&mut found);
        let path = file(&folder, "profile.json", found.to_string());
        attamba(["profile", random_model(), "--from", &path, "--into", into.to_str().unwrap()])
    };
    let head = |layer: u32, head: u32| json!({"layer": layer, "head": head, "attention": 0.5});
    with(&|p| p["heads"][0] = head(3, 0)).fails("no KV head 0 in layer 3");
    with(&|p| p["heads"][0] = head(0, 4)).fails("no KV head 4 in layer 0");
    with(&|p| p["heads"][0] = p["heads"][1].clone()).fails(" twice");
    with(&|p| p["far_count"] = json!(13)).fails("13 far heads; there are 12");
    with(&|p| p["near_window"] = json!(0)).fails("a near window of 0 tokens");
    with(&|p| p["more"] = json!(0)).fails("unknown field `more`");
    assert!(!Path::new(&into).exists());
}

#[test]
fn arguments_that_make_no_sense_are_errors() {
    let fails = |args: &[&str], sentence: &str| {
        attamba([&["profile", random_model()], args].concat()).fails(sentence);
    };
    fails(&["--trials", "0"], "at least two texts");
    fails(&["--trials", "1", "--lengths", "40"], "at least two texts");
    fails(&["--lengths", "0"], "a text of 0 tokens");
    fails(&["--lengths", "1G"], "a text of 1073741824 tokens");
    fails(&["--far", "13"], "13 far heads; there are 12");
    fails(&["--near", "0"], "a near window of 0 tokens");
    fails(&["--from", "no-such.json"], "no-such.json: ");
    attamba(["profile", random_model(), "--from", "x", "--trials", "3"]).refused("cannot be used");
    attamba(["profile"]).refused("required");
}
