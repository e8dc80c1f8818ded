//! The command on the GPU.

use crate::command::{attamba, command};

/// The largest difference must be within a thousandth of the largest logit.
fn assert_near(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0f32, |most, x| most.max(x.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-3 * largest, "{what}: {got} instead of {want}");
    }
}

#[test]
fn logits_are_those_of_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let logits = |engine: &str, split: &str, kernels: &str| -> Vec<f32> {
        let out = folder.path().join(engine);
        let out = out.to_str().unwrap();
        let model = crate::command::BUNDLED;
        let tokens = "1,17,300,4,5,6,700,8,9,10,11,12";
        let ran = command()
            .args(["logits", model, "--tokens", tokens, "--out", out, "--engine", engine])
            .args(["--split", split])
            .env("ATTAMBA_KERNELS", kernels)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let bytes = std::fs::read(out).unwrap();
        bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let want = logits("cpu", "12", "");
    for split in ["12", "1", "5,3"] {
        for kernels in ["", "matmul_small,reduce_tree"] {
            let what = format!("{split} {kernels}");
            assert_near(&logits("gpu", split, kernels), &want, &what);
        }
    }
}

#[test]
fn variants_are_taken_that_were_asked_for() {
    let chosen = |kernels: &str| {
        let mut command = command();
        let ran = command.args(["adapters", "--verbose"]).env("ATTAMBA_KERNELS", kernels);
        let ran = ran.output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let (usual, asked) = (chosen(""), chosen("matmul_small, reduce_tree"));
    assert!(!usual.contains("matmul_small"), "{usual}");
    assert!(asked.contains("matmul_small"), "{asked}");
    assert!(!usual.contains("rms_norm reduce_tree") && asked.contains("rms_norm reduce_tree"));
}

#[test]
fn unknown_words_for_kernels_are_errors_that_list_the_known_ones() {
    for args in [&["adapters"][..], &["generate", "-p", "a"]] {
        let ran = command().args(args).env("ATTAMBA_KERNELS", "reduce_tree,dott").output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{stderr}");
        for part in ["ATTAMBA_KERNELS", "\"dott\"", "matmul_small", "reduce_tree"] {
            assert!(stderr.contains(part), "{stderr}");
        }
    }
}

#[test]
fn a_block_that_is_too_long_is_an_error() {
    for (tokens, says) in
        [("513", "between 16 and 512, not 513"), ("many", "\"many\" is not a number of tokens")]
    {
        let ran = command().arg("adapters").env("ATTAMBA_BLOCK", tokens).output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("ATTAMBA_BLOCK") && stderr.contains(says), "{stderr}");
    }
}

#[test]
fn adapters_are_listed_with_their_proof() {
    let ran = attamba(["adapters", "--verbose"]);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(text.contains("kernels passed") && text.contains("mixer_step"), "{text}");
    let ran = attamba(["adapters", "--adapter", "no such adapter"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("no such adapter"), "{}", ran.stderr);
}

#[test]
fn a_counted_token_is_one_submit() {
    let ran = attamba(["bench", "--engine", "gpu", "-p", "0", "-n", "4", "-r", "1", "--verbose"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let counted = "44.00 dispatches in 5 layers, 1.000 passes, 1.000 submits, 512 bytes";
    assert!(ran.stderr.contains(counted), "{}", ran.stderr);
}

#[test]
fn compiled_pipelines_are_kept_and_damage_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let ran = command()
            .args(["generate", "-p", "a", "-n", "2", "--engine", "gpu"])
            .env("ATTAMBA_CACHE", folder.path())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    run();
    // Where the driver has caches at all.
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        run();
        std::fs::write(&path, b"nothing of the kind").unwrap();
        run();
    }
}

#[test]
fn a_profile_tells_the_time_of_each_kernel() {
    let bench = |engine: &str| {
        let args = ["bench", "--engine", engine, "--json", "--profile"];
        let model = ["--model", crate::command::BUNDLED, "-p", "20", "-n", "3", "-r", "1"];
        command().args(args).args(model).output().unwrap()
    };
    let ran = bench("gpu");
    assert!(ran.status.success(), "{ran:?}");
    let tests: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    for (test, product) in [(0, "matmul"), (1, "matvec")] {
        let profile = &tests[test]["profile"];
        assert!(profile["peak_bytes_per_second"].as_f64().unwrap() > 0.0, "{profile}");
        let kernels = profile["kernels"].as_array().unwrap();
        let share: f64 = kernels.iter().map(|of| of["share"].as_f64().unwrap()).sum();
        assert!((share - 1.0).abs() < 1e-6, "{profile}");
        let found = kernels.iter().find(|of| of["kernel"].as_str().unwrap().starts_with(product));
        let found = found.unwrap();
        assert!(found["dispatches"].as_u64() > Some(0) && found["bytes"].as_u64() > Some(0));
        assert!(kernels.iter().any(|of| of["kernel"].as_str().unwrap().starts_with("attend")));
    }
    let refused = bench("cpu");
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && message.contains("timestamps"), "{message}");
}
