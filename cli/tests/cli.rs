//! The `attamba` command as a black box: what it prints, where, and how it ends.

#[path = "cli/chat.rs"]
mod chat;
#[path = "cli/command.rs"]
mod command;
#[path = "cli/generate.rs"]
mod generate;
#[cfg(feature = "gpu")]
#[path = "cli/gpu.rs"]
mod gpu;
#[path = "cli/inspect.rs"]
mod inspect;
#[cfg(target_os = "linux")]
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/merge.rs"]
mod merge;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/perplexity.rs"]
mod perplexity;
#[path = "cli/profile.rs"]
mod profile;
#[path = "../../tests/common/python.rs"]
mod python;
#[path = "cli/quantize.rs"]
mod quantize;
#[path = "cli/recall.rs"]
mod recall;
#[path = "cli/remember.rs"]
mod remember;

use attamba::gguf::{Gguf, Tensor, Writer};
use command::{attamba, make_model};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;

/// A random model that spells every printable ASCII character but the space, each with a token of
/// its own. It has no special token, so it never ends a text by itself, and no BOS.
fn random_model() -> &'static str {
    static MODEL: LazyLock<PathBuf> = LazyLock::new(|| shared("random.gguf", &["vocab=94"]));
    MODEL.to_str().expect("the path is text")
}

/// A random model whose rows fill blocks of 256 values.
fn wide_model() -> &'static str {
    static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
        shared("wide.gguf", &["vocab=94", "d=256", "ffn=512", "inner=256", "layers=2"])
    });
    MODEL.to_str().expect("the path is text")
}

/// The random model as a transformer, with a profile: two far heads of twelve, the others near with
/// at least 20 tokens.
fn model_with_profile() -> &'static str {
    static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = shared("plain.gguf", &["vocab=94", "arch=llama"]);
        let plain = Gguf::read(&path).expect("the model is there");
        let mut writer = Writer::default();
        writer.copy_metadata(&plain, |_| true);
        writer.set("llama.memory.far_heads", &[5, 2, 7]);
        writer.set("llama.memory.far_count", 2);
        writer.set("llama.memory.near_window", 20);
        let tensors: Vec<Tensor> = plain.tensors().collect();
        for &tensor in &tensors {
            writer.tensor_like(tensor).expect("the tensor was in a file");
        }
        let path = path.with_file_name("profile.gguf");
        writer
            .write_file(&path, |index, sink| sink.write_all(tensors[index].data()))
            .expect("written");
        path
    });
    MODEL.to_str().expect("the path is text")
}

fn shared(name: &str, settings: &[&str]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("the target directory can be written");
    let path = path.join(name);
    make_model(&path, settings);
    path
}

/// A folder that goes away with the test.
fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder can be made")
}

/// A file of `bytes` in `folder`.
fn file(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a temporary file can be written");
    path.to_str().expect("the path is text").to_owned()
}

/// The logits of `tokens` by `attamba logits`, one row of the vocabulary's size after the other.
fn logits(model: &str, tokens: &str) -> Vec<f32> {
    let folder = folder();
    let out = folder.path().join("logits.f32");
    let out = out.to_str().expect("the path is text");
    attamba(["logits", model, "--tokens", tokens, "--out", out]).ok();
    let bytes = std::fs::read(out).expect("the logits are there");
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        "chat",
        "generate",
        "inspect",
        "merge",
        "perplexity",
        "profile",
        "quantize",
        "recall",
        "remember",
    ] {
        let help = attamba([command, "--help"]).ok();
        assert!(help.contains(&format!("Example: attamba {command}")), "{help}");
    }
    attamba(["--help"]).ok();
    attamba(["--version"]).ok();
    attamba(["fly"]).refused("unrecognized subcommand 'fly'");
    attamba::<&str>([]).refused("Usage: attamba");
}

#[test]
fn absurd_numbers_are_refused_in_a_sentence() {
    let generate = |more: &[&str]| attamba([&["generate", "-p", "Once", "-n", "3"], more].concat());
    generate(&["--threads", "0"]).fails("the number of threads is 0; it must be between 1 and 256");
    generate(&["--threads", "99999"])
        .fails("the number of threads is 99999; it must be between 1 and 256");
    generate(&["--budget", "1"]).fails("a session needs at least");
    generate(&["--budget", "99999999999G"]).refused("more bytes than any machine has");
    // With heads that see far, a budget is a maximum; without, it is filled.
    generate(&["--far", "0", "--budget", "9999999999G"]).fails("out of memory");
    for wrong in ["many", "1.5", ".5M", "1.M", "1.5.5M", "1e3"] {
        generate(&["--budget", wrong]).refused("a number such as 4194304, 512K or 4.5M");
    }
    generate(&["--ring", "18446744073709551615"]).refused("a whole number from 0 to 4294967295");
    generate(&["--ring", "4294967295"]).fails("out of memory");
    generate(&["--ring", "2", "--budget", "4M"]).refused("cannot be used with");
    generate(&["--temperature", "nan"]).fails("temperature is NaN; it must be");
    generate(&["--temperature", "-1"]).fails("temperature is -1; it must be");
    generate(&["--temperature", "1", "--greedy"]).refused("cannot be used with");
    generate(&["--top-p", "2"]).fails("top_p is 2; it must be");
    generate(&["--min-p", "-0.5"]).fails("min_p is -0.5; it must be");
    generate(&["--repeat-penalty", "0"]).fails("repeat_penalty is 0; it must be");
    generate(&["--bias", "99999=1"]).fails("token id 99999 is out of range");
    generate(&["--bias", "1=inf"]).fails("the bias of token 1 is inf");
    generate(&["--bias", "one"]).refused("a token id and a number such as 42=-1.5");
    for (command, option) in [
        ("bench", "--depth"),
        ("bench", "--prompt"),
        ("bench", "--repeat"),
        ("memory", "--contexts"),
        ("memory", "--window"),
        ("recall", "--trials"),
        ("perplexity", "--context"),
        ("chat", "--limit"),
    ] {
        for number in ["18446744073709551615", "9223372036854775807", "-1", "nan", ""] {
            attamba([command, option, number]).refused("is expected");
        }
    }
    attamba(["generate", "-p", "a", "-n", "-1"]).refused("invalid value '-1' for '--limit");
    generate(&["--seed", "-1"]).refused("a whole number from 0 to");
    generate(&["--top-k", "-1"]).refused("a whole number from 0 to");
    generate(&["--ring", "-2.5"]).refused("a whole number from 0 to");
}

#[test]
fn a_model_that_is_not_there_is_named_once() {
    let ran = attamba(["generate", "-m", "no-such.gguf", "-p", "x"]);
    assert_eq!(ran.stderr.matches("No such file").count(), usize::from(cfg!(unix)));
    ran.fails("no-such.gguf: ");
    attamba(["chat", "-m", "."]).fails(". is a directory");
}
