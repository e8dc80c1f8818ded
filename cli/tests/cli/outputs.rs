//! Files that commands write: none of them costs the user another file.

use crate::command::{Ran, attamba};
use crate::{file, folder, model_with_profile, random_model};

#[test]
fn logits_are_not_written_over_their_model() {
    let folder = folder();
    let bytes = std::fs::read(random_model()).unwrap();
    let model = file(&folder, "model.gguf", &bytes);
    attamba(["logits", &model, "--tokens", "1,2", "--out", &model]).fails("is the input");
    assert!(std::fs::read(&model).unwrap() == bytes);
    let there = folder.path().to_str().unwrap();
    attamba(["logits", &model, "--tokens", "1", "--out", there]).fails("is a directory");
}

#[test]
fn logits_that_are_there_stay_until_there_are_others() {
    let folder = folder();
    let out = file(&folder, "out", "precious");
    let logits =
        |tokens: &str| attamba(["logits", random_model(), "--tokens", tokens, "--out", &out]);
    logits("1,9999").fails("token id 9999 is out of range: the vocabulary has ");
    logits("1,-2").fails("\"-2\" is not a token id, a number from 0 to 4294967295");
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    logits("1,2").ok();
    assert_ne!(std::fs::read(&out).unwrap(), b"precious");
}

#[test]
fn a_plot_replaces_nothing_but_a_plot() {
    let folder = folder();
    let bytes = std::fs::read(random_model()).unwrap();
    let model = file(&folder, "model.gguf", &bytes);
    let memory = |plot: &str| -> Ran {
        attamba(["memory", "-m", &model, "--contexts", "64,128", "--plot", plot])
    };
    let recall = ["recall", "-m", &model, "--lengths", "256", "--trials", "1", "--plot", &model];
    memory(&model).fails("exists and is not a plot");
    attamba(recall).fails("exists and is not a plot");
    assert!(std::fs::read(&model).unwrap() == bytes);
    let plot = file(&folder, "plot.svg", "");
    for _ in 0..2 {
        memory(&plot).ok();
        assert!(std::fs::read_to_string(&plot).unwrap().starts_with("<svg "));
    }
    let nowhere = folder.path().join("none/plot.svg");
    memory(nowhere.to_str().unwrap()).fails("there is no folder");
}

#[cfg(target_os = "linux")]
#[test]
fn a_plot_that_can_not_be_written_costs_no_table() {
    let plot = "/proc/attamba.svg";
    for (args, row) in [
        (["memory", "-m", random_model(), "--contexts", "64,128"], "| 128 |"),
        (["recall", "--lengths", "20", "--trials", "1"], "| all | "),
    ] {
        let ran = attamba([&args[..], &["--plot", plot]].concat());
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(plot), "{}", ran.stderr);
        assert!(String::from_utf8_lossy(&ran.stdout).contains(row));
    }
}

#[test]
fn a_temporary_file_is_not_spoken_of() {
    let folder = folder();
    let nowhere = folder.path().join("none/model.gguf");
    let ran = attamba(["quantize", model_with_profile(), nowhere.to_str().unwrap(), "Q8_0"]);
    assert!(!ran.stderr.contains(".attamba-"), "{}", ran.stderr);
    ran.fails("none/model.gguf: ");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_for_every_output() {
    for args in [&["--version"][..], &["--help"], &["chat", "--help"], &["inspect"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ran =
            crate::command::command().args(args).stdout(full).output().expect("the command runs");
        Ran::from(ran).fails("No space left on device");
    }
}
