//! `attamba memory`.

use crate::command::{BUNDLED, attamba};
use crate::{folder, model_with_profile, random_model};

fn cells(json: &serde_json::Value, tokens: u64) -> Vec<&serde_json::Value> {
    json["cells"].as_array().unwrap().iter().filter(|c| c["tokens"] == tokens).collect()
}

/// The random model: 3 layers, K and V of 64 values, chunks of 4, a window of 5.
#[test]
fn the_table_is_what_sessions_promise() {
    let args =
        ["memory", "-m", random_model(), "--contexts", "1,1K,1M", "--chunks", "4,16", "--json"];
    let json = attamba(args).json();
    let row = 3 * 2 * 64 * 2;
    let at = cells(&json, 1024);
    assert_eq!(at[0]["state_bytes"], row * 1024);
    // The last six tokens are the window; 0 and every fourth of the rest close chunks.
    let inspect = attamba(["inspect", random_model(), "--json"]).json();
    let own = inspect["session"]["state_bytes"].as_u64().unwrap();
    let ours = at[1]["state_bytes"].as_u64().unwrap();
    assert!(own - ours <= 3 * row && own >= ours, "{own} {ours}");
    assert_eq!(
        json["growth_bytes_a_token"],
        serde_json::json!([row as f64, row as f64 / 4.0, row as f64 / 16.0])
    );
    assert_eq!(cells(&json, 1).len(), 3);
    let ratio = |c: &serde_json::Value, key: &str| c[key].as_f64().unwrap();
    let far = cells(&json, 1 << 20);
    for key in ["state_bytes", "attention_operations"] {
        assert!((ratio(far[0], key) / ratio(far[2], key) - 16.0).abs() < 0.1, "{key}");
    }
}

#[test]
fn what_is_measured_is_near_what_is_promised() {
    let folder = folder();
    let plot = folder.path().join("memory.svg");
    let plot = plot.to_str().unwrap();
    let args = ["memory", "-m", BUNDLED, "--contexts", "64,256K", "--chunks", "8", "--measure"];
    let json = attamba([&args[..], &["--plot", plot, "--json"]].concat()).json();
    let [near, far] = [64, 256 << 10].map(|tokens| cells(&json, tokens));
    for variant in 0..2 {
        let of = |c: &serde_json::Value, key: &str| c["measured"][key].as_u64().unwrap();
        let promised = |c: &serde_json::Value| c["state_bytes"].as_u64().unwrap();
        // Room for the tokens that the session goes on for is added, and the mixers of the model that
        // stands for the transformer.
        let state = of(far[variant], "state_bytes");
        assert!(state >= promised(far[variant]) && state < promised(far[variant]) + (1 << 19));
        let grown =
            of(far[variant], "peak_resident_bytes") - of(near[variant], "peak_resident_bytes");
        let expected = promised(far[variant]) - promised(near[variant]);
        assert!(grown.abs_diff(expected) < expected / 4 + (8 << 20), "{grown} {expected}");
    }
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    // Each curve, and its line in the legend.
    let thick = svg.matches("stroke-width=\"2\"").count();
    assert_eq!((thick, svg.matches("<circle").count()), (4, 4));
}

#[test]
fn sessions_by_head_grow_by_what_far_heads_take() {
    let args = ["memory", "-m", model_with_profile(), "--contexts", "10,1K,2K"];
    let json = attamba([&args[..], &["--json"]].concat()).json();
    let by_head = json["by_head"].as_array().unwrap();
    let bytes = |at: usize| by_head[at]["state_bytes"].as_u64().unwrap();
    // Two of twelve heads: K and V of 16 values in two bytes each. A short text is all that any sees.
    assert_eq!(bytes(2) - bytes(1), 2 * 2 * 16 * 2 * 1024);
    assert_eq!(bytes(0), 12 * 2 * 16 * 2 * 11);
    let sees = by_head[2]["sees"].as_str().unwrap();
    assert!(
        sees.starts_with("2 of 12 heads see the last 2,048 tokens, the others the last 20; "),
        "{sees}"
    );
    let text = attamba(args).ok();
    assert!(text.contains(&format!("\n- {sees}\n")), "{text}");
    let plain = attamba(["memory", "-m", random_model(), "--contexts", "1", "--json"]).json();
    assert_eq!(plain["by_head"], serde_json::json!([]));
}

#[test]
fn people_see_tables() {
    let text = attamba(["memory"]).ok();
    for line in
        ["| tokens | transformer |", "| 1048576 |", "Bytes per additional token", "Attention"]
    {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

#[test]
fn arguments_that_make_no_sense_are_errors() {
    attamba(["memory", "--contexts", "0"]).fails("0 tokens costs nothing");
    attamba(["memory", "--chunks", "0"]).fails("the chunk length is 0 tokens");
    attamba(["memory", "--baseline", BUNDLED]).fails("is no transformer");
    attamba(["memory", "--baseline", "no-such.gguf"]).fails("no-such.gguf: ");
    attamba(["memory", "--contexts", "many"]).refused("a number such as");
    attamba(["memory", "--plot", "no/such/folder.svg", "--contexts", "1"])
        .fails("no/such/folder.svg");
}
