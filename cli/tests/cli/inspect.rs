//! `attamba inspect`.

use crate::command::{BUNDLED, attamba};
use crate::{file, folder, model_with_profile, random_model};
use attamba::gguf::Writer;
use attamba::quant::DType;

#[test]
fn what_is_shown_is_what_the_file_holds() {
    let json = attamba(["inspect", random_model(), "--json", "--tensors"]).json();
    let is = |pointer: &str, want: serde_json::Value| {
        assert_eq!(json.pointer(pointer), Some(&want), "{pointer} in {json}");
    };
    is("/name", "random-attamba-0".into());
    is("/architecture", "attamba".into());
    is("/runs", true.into());
    is("/sizes/layers", 3.into());
    is("/sizes/vocabulary", 94.into());
    is("/chunks/length", 4.into());
    is("/chunks/window", 5.into());
    is("/tokenizer/kind", "tokenizer.json".into());
    is("/tokenizer/entries", 94.into());
    is("/chat_template", false.into());
    is("/types/0/type", "F32".into());
    // 1024 tokens of context in chunks of 4.
    is("/session/near/states", 256.into());
    is("/session/near/heads", 12.into());
    is("/session/near/tokens", (255 * 4 + 5 + 1).into());
    is("/session/far", serde_json::Value::Null);
    // 3 layers; K and V of 64 values in two bytes each, for the 1024 tokens before and this one.
    is("/session/transformer_bytes", (3 * 2 * 64 * 2 * 1024).into());
    let tensors = json["tensors"].as_array().unwrap();
    assert_eq!(json["tensor_count"], tensors.len());
    let values = |t: &serde_json::Value| -> u64 {
        t["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product()
    };
    assert_eq!(json["parameters"], tensors.iter().map(values).sum::<u64>());
    let embedding = tensors.iter().find(|t| t["name"] == "token_embd.weight").unwrap();
    assert_eq!(embedding["shape"], serde_json::json!([94, 64]));
    assert_eq!(embedding["bytes"], 4 * 94 * 64);
}

#[test]
fn people_see_the_same() {
    let text = attamba(["inspect", BUNDLED, "--metadata", "--tensors"]).ok();
    assert_eq!(text, attamba(["inspect", "-m", BUNDLED, "--metadata", "--tensors"]).ok());
    for line in ["architecture  attamba\n", "template      yes\n", "  general.architecture = "] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(text.contains("token_embd.weight"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 300), "long values are cut");
    attamba(["inspect", BUNDLED, "-m", BUNDLED]).refused("cannot be used with");
}

#[test]
fn the_memory_is_that_of_the_session_asked_for() {
    let bytes = |more: &[&str]| {
        let json = attamba([&["inspect", "--json"], more].concat()).json();
        json["session"]["state_bytes"].as_u64().unwrap()
    };
    assert!(bytes(&["--ring", "1"]) < bytes(&["--ring", "2"]));
    assert!(bytes(&["--ring", "2"]) < bytes(&["--ring", "2", "--kv", "f32"]));
    assert!(bytes(&["--budget", "1M"]) <= 1 << 20);
    assert_eq!(bytes(&["--budget", "1.5M"]), bytes(&["--budget", "1536K"]));
    attamba(["inspect", "--budget", "1"]).fails("a session needs at least");
}

#[test]
fn what_other_heads_are_to_see_at_least_they_see_or_it_is_refused() {
    let inspect = |more: &[&str]| attamba([&["inspect", model_with_profile()], more].concat());
    let near = ["--budget", "100K", "--near", "50"];
    inspect(&near).ok();
    inspect(&["--budget", "60K", "--near", "900"])
        .fails("900 tokens of every KV head are the least");
    inspect(&["--budget", "100K", "--far", "2", "--near", "900"])
        .fails("and 900 tokens of the others");
    inspect(&["--near", "400", "--horizon", "300"]).fails("the near window is 400 tokens");
    inspect(&["--ring", "10", "--horizon", "300"]).refused("cannot be used with");
}

#[test]
fn how_far_heads_see_is_shown() {
    let inspect = |more: &[&str]| attamba([&["inspect", model_with_profile()], more].concat());
    let text = inspect(&[]).ok();
    assert!(text.contains("\nsession       all heads see the last 1,024 tokens; "), "{text}");
    let bounded = ["--budget", "100K", "--horizon", "300"];
    let text = inspect(&bounded).ok();
    let line = text.lines().find(|line| line.starts_with("session ")).unwrap();
    assert!(line.contains("2 of 12 heads see the last 300 tokens, the others the last "), "{line}");
    assert!(text.contains("\n  rings       300 states in int8 of heads that see far, "), "{text}");
    let json = inspect(&[&bounded[..], &["--json"]].concat()).json();
    let session = &json["session"];
    assert!(line.ends_with(session["sees"].as_str().unwrap()));
    assert_eq!((&session["far"]["heads"], &session["near"]["heads"]), (&2.into(), &10.into()));
    assert_eq!((&session["far"]["kv"], &session["far"]["tokens"]), (&"int8".into(), &300.into()));
    assert!(session["near"]["tokens"].as_u64().unwrap() >= 20);
}

/// A Gemma 3 of seven layers, all but one of which have a sliding window.
#[test]
fn windows_of_layers_are_shown() {
    let folder = folder();
    let path = folder.path().join("gemma.gguf");
    let mut writer = Writer::new("gemma3");
    for (key, value) in [
        ("block_count", 7_u32),
        ("context_length", 64),
        ("embedding_length", 8),
        ("feed_forward_length", 4),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 4),
        ("attention.sliding_window", 10),
    ] {
        writer.set(&format!("gemma3.{key}"), value);
    }
    let mut tensors = vec![("token_embd".to_owned(), vec![3, 8]), ("output_norm".into(), vec![8])];
    for layer in 0..7 {
        for norm in ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"] {
            tensors.push((format!("blk.{layer}.{norm}"), vec![8]));
        }
        for (part, shape) in [
            ("attn_q", vec![8, 8]),
            ("attn_k", vec![4, 8]),
            ("attn_v", vec![4, 8]),
            ("attn_output", vec![8, 8]),
            ("attn_q_norm", vec![4]),
            ("attn_k_norm", vec![4]),
            ("ffn_gate", vec![4, 8]),
            ("ffn_up", vec![4, 8]),
            ("ffn_down", vec![8, 4]),
        ] {
            tensors.push((format!("blk.{layer}.{part}"), shape));
        }
    }
    for (name, shape) in &tensors {
        writer.tensor(&format!("{name}.weight"), shape, DType::F32).unwrap();
    }
    let bytes = |index: usize| 4 * tensors[index].1.iter().product::<usize>();
    writer.write_file(&path, |index, sink| sink.write_all(&vec![0; bytes(index)])).unwrap();
    let path = path.to_str().unwrap();

    let text = attamba(["inspect", path]).ok();
    for line in [
        "architecture  gemma3\n",
        "runs          yes\n",
        "window        the last 10 tokens in layers 0-4, 6\n",
        "all heads see the last 64 tokens, but 6 the windows of their layers; ",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    let json = attamba(["inspect", path, "--json", "--kv", "f16"]).json();
    let windows = serde_json::json!([{ "tokens": 10, "layers": [0, 1, 2, 3, 4, 6] }]);
    assert_eq!(json["windows"], windows);
    // K and V of 4 values in two bytes each: 10 tokens in six layers, 64 in one; a row is more,
    // that of the token being processed.
    assert_eq!(json["session"]["state_bytes"], 2 * 4 * 2 * (6 * 10 + 64 + 1));
}

#[test]
fn a_file_whose_model_can_not_be_run_is_shown_with_the_reason() {
    let folder = folder();
    let path = folder.path().join("other.gguf");
    let mut writer = Writer::new("mamba");
    // Text of a file must not reach the terminal as more than text.
    writer.set("general.name", "red \u{1b}[31m");
    writer.tensor("token_embd.weight", &[2, 4], DType::F32).unwrap();
    writer.write_file(&path, |_, sink| sink.write_all(&[0; 32])).unwrap();
    let path = path.to_str().unwrap();
    let text = attamba(["inspect", path, "--metadata", "--tensors"]).ok();
    assert!(text.contains("no: unsupported model: architecture \"mamba\""), "{text}");
    assert!(text.contains("tokenizer     none"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let json = attamba(["inspect", path, "--json"]).json();
    assert_eq!((&json["runs"], &json["parameters"]), (&false.into(), &8.into()));
    attamba(["generate", "-m", path, "-p", "x"]).fails("unsupported model");
}

#[test]
fn what_is_no_gguf_file_is_an_error_with_its_name() {
    let folder = folder();
    let whole = std::fs::read(random_model()).unwrap();
    for cut in [3, 20, 1000, whole.len() / 2] {
        attamba(["inspect", &file(&folder, "cut.gguf", &whole[..cut])]).fails("cut.gguf: ");
    }
    attamba(["inspect", &file(&folder, "empty", "")]).fails("empty: the file is empty");
    attamba(["inspect", &file(&folder, "text", "Once upon a time")]).fails("GGUF");
    attamba(["inspect", folder.path().to_str().unwrap()]).fails("is a directory");
    attamba(["inspect", "no-such.gguf"]).fails("no-such.gguf: ");
}
