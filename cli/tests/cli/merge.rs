//! `attamba merge`.

use crate::command::attamba;
use crate::{folder, logits, random_model};
use attamba::gguf::{Gguf, Writer};
use attamba::quant::DType;
use std::path::{Path, PathBuf};

const TOKENS: &str = "5,1,7,7,3,60,22,8,9,4";
/// Of the random model.
const CHANGED: &str = "blk.0.attn_q.weight";
/// Of no model.
const ADDED: &str = "blk.0.added.weight";

/// A delta that replaces [`CHANGED`] by nothing but halves and belongs to the file of that checksum.
fn delta(folder: &Path, checksum: &str) -> PathBuf {
    delta_of(folder, checksum, &[CHANGED])
}

/// One that has these tensors, all of the shape of [`CHANGED`] and nothing but halves.
fn delta_of(folder: &Path, checksum: &str, names: &[&str]) -> PathBuf {
    let base = Gguf::read(random_model()).unwrap();
    let mut writer = Writer::new("attamba");
    writer.copy_metadata(&base, |key| key.starts_with("attamba."));
    writer.set("general.name", "changed");
    writer.set("attamba.delta.base_name", "random.gguf");
    writer.set("attamba.delta.base_sha256", checksum);
    let tensor = base.tensor(CHANGED).unwrap();
    let shape: Vec<usize> = tensor.dims().iter().rev().map(|&d| d as usize).collect();
    for name in names {
        writer.tensor(name, &shape, DType::F32).unwrap();
    }
    let path = folder.join("delta.gguf");
    let halves = 0.5f32.to_le_bytes().repeat(tensor.len() as usize);
    writer.write_file(&path, |_, sink| sink.write_all(&halves)).unwrap();
    path
}

/// What the system's own tool says.
fn sha256(path: &str) -> String {
    let ran = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(ran.stdout).unwrap()[..64].to_owned()
}

#[test]
fn a_merged_file_has_the_tensors_of_the_delta_and_the_rest_of_the_base() {
    let folder = folder();
    let delta = delta(folder.path(), &sha256(random_model()));
    let out = folder.path().join("whole.gguf");
    let out = out.to_str().unwrap();
    let said = attamba(["merge", "--no-mmap", random_model(), delta.to_str().unwrap(), out]).ok();
    assert!(said.starts_with(out), "{said}");

    let (base, whole) = (Gguf::read(random_model()).unwrap(), Gguf::read(out).unwrap());
    assert_eq!(whole.tensors().len(), base.tensors().len());
    for tensor in base.tensors() {
        let merged = whole.tensor(tensor.name()).unwrap();
        assert_eq!(merged.dims(), tensor.dims());
        let same = merged.data() == tensor.data();
        assert_eq!(same, tensor.name() != CHANGED, "{}", tensor.name());
    }
    let halves = whole.tensor(CHANGED).unwrap().data();
    assert!(halves.chunks(4).all(|value| value == 0.5f32.to_le_bytes()));
    assert_eq!(whole.get("general.name").and_then(|v| v.as_str()), Some("changed"));
    assert_eq!(whole.get("attamba.delta.base_sha256"), None);
    for (key, value) in base.metadata().filter(|(key, _)| key.starts_with("tokenizer.")) {
        assert_eq!(whole.get(key), Some(value), "{key}");
    }
    assert_ne!(logits(out, TOKENS), logits(random_model(), TOKENS));
}

#[test]
fn what_a_delta_adds_to_its_base_may_be_left_out() {
    let folder = folder();
    let delta = delta_of(folder.path(), &sha256(random_model()), &[CHANGED, ADDED]);
    let out = folder.path().join("whole.gguf");
    let files = [random_model(), delta.to_str().unwrap(), out.to_str().unwrap()];
    attamba(["merge", "--replace-only", files[0], files[1], files[2]]).ok();

    let (base, whole) = (Gguf::read(files[0]).unwrap(), Gguf::read(files[2]).unwrap());
    let names = |file: &Gguf| {
        let mut names: Vec<String> = file.tensors().map(|t| t.name().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&whole), names(&base));
    let halves = whole.tensor(CHANGED).unwrap().data();
    assert!(halves.chunks(4).all(|value| value == 0.5f32.to_le_bytes()));
    for (key, value) in base.metadata().filter(|(key, _)| *key != "general.file_type") {
        assert_eq!(whole.get(key), Some(value), "{key}");
    }
    assert_eq!(whole.get("attamba.delta.base_sha256"), None);
    assert_ne!(logits(files[2], TOKENS), logits(files[0], TOKENS));

    attamba(["merge", "--force", files[0], files[1], files[2]]).ok();
    assert!(Gguf::read(files[2]).unwrap().tensor(ADDED).is_some());
}

#[test]
fn a_merged_model_may_be_named() {
    let folder = folder();
    let delta = delta(folder.path(), &sha256(random_model()));
    let out = folder.path().join("whole.gguf");
    let files = [random_model(), delta.to_str().unwrap(), out.to_str().unwrap()];
    for only in [&[][..], &["--replace-only"]] {
        let named = ["merge", "--force", "--name", "mine", files[0], files[1], files[2]];
        attamba(named.iter().chain(only)).ok();
        let whole = Gguf::read(files[2]).unwrap();
        assert_eq!(whole.get("general.name").and_then(|v| v.as_str()), Some("mine"));
    }
}

#[test]
fn another_base_is_refused_and_nothing_is_written() {
    let folder = folder();
    let wrong = "0".repeat(64);
    let delta = delta(folder.path(), &wrong);
    let out = folder.path().join("whole.gguf");
    let files = [random_model(), delta.to_str().unwrap(), out.to_str().unwrap()];
    let run = |base: &str, delta: &str, out: &str| attamba(["merge", base, delta, out]);
    run(files[0], files[1], files[2]).fails(&wrong);
    run(files[0], files[1], files[2]).fails("random.gguf");
    run(files[0], files[1], files[2]).fails(&sha256(random_model()));
    run(files[0], files[0], files[2]).fails("is not a delta");
    run(files[0], files[1], files[1]).fails("is the input");
    run("/no/such/file", files[1], files[2]).fails("/no/such/file");
    assert!(!out.exists());
}
