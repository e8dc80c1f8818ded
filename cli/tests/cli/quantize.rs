//! `attamba quantize`.

use crate::command::attamba;
use crate::{file, folder, logits, random_model, wide_model};
use attamba::gguf::{Gguf, Writer};
use std::path::Path;

/// Largest relative error of the logits after a conversion from F32: three times what this model
/// shows. It is random, with nothing that quantization could save; a trained one does better.
const BOUNDS: [(&str, f64, u32); 11] = [
    ("F32", 0.0, 0),
    ("F16", 1e-2, 1),
    ("BF16", 3e-2, 32),
    ("Q8_0", 5e-2, 7),
    ("Q6_K", 0.2, 18),
    ("Q5_K", 0.3, 16),
    ("Q4_1", 0.6, 3),
    ("Q4_K", 0.6, 14),
    ("Q4_0", 0.6, 2),
    ("IQ4_NL", 0.6, 25),
    ("Q3_K", 1.0, 11),
];

/// A model of `model` in `folder`, with one value of one tensor that is not a number.
fn damaged(folder: &tempfile::TempDir, name: &str, tensor: &str) -> String {
    let whole = Gguf::read(random_model()).unwrap();
    let mut writer = Writer::default();
    writer.copy_metadata(&whole, |_| true);
    let tensors: Vec<_> = whole.tensors().collect();
    for &tensor in &tensors {
        writer.tensor_like(tensor).unwrap();
    }
    let path = folder.path().join(name);
    writer
        .write_file(&path, |index, out| {
            let mut bytes = tensors[index].data().to_vec();
            if tensors[index].name() == tensor {
                bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            }
            out.write_all(&bytes)
        })
        .unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_not_a_number_is_found_and_named() {
    let folder = folder();
    let abc = file(&folder, "text", "abc");
    for sound in [random_model(), wide_model()] {
        assert!(attamba(["inspect", sound, "--values"]).ok().contains("all are numbers"));
    }
    for tensor in ["blk.0.ffn_down.weight", "output_norm.weight"] {
        let model = damaged(&folder, "damaged", tensor);
        let out = folder.path().join("out");
        for dtype in ["F16", "F32"] {
            attamba(["quantize", &model, out.to_str().unwrap(), dtype])
                .fails(&format!("tensor {tensor} contains the value NaN"));
        }
        assert!(!out.exists());
        let text = attamba(["inspect", &model, "--values"]).ok();
        assert!(text.contains(&format!("values        {tensor} contains NaN\n")), "{text}");
        let json = attamba(["inspect", &model, "--values", "--json"]).ok();
        assert!(json.contains("not_numbers") && json.contains(tensor), "{json}");
        attamba(["generate", "-m", &model, "-p", "abc", "-n", "8"]).fails("no token can be chosen");
        attamba(["perplexity", &abc, "-m", &model]).fails("logits that are not numbers");
    }
}

#[test]
fn the_logits_stay_near_those_of_the_original() {
    let folder = folder();
    let tokens = "46,77,66,68,1,2,3,90,50,7,7,8,22,64,13,5";
    let want = logits(wide_model(), tokens);
    let mut last = f64::INFINITY;
    for (dtype, bound, file_type) in BOUNDS {
        let out = folder.path().join(dtype);
        let out = out.to_str().unwrap();
        let text = attamba(["quantize", wide_model(), out, dtype, "--threads", "2"]).ok();
        assert!(text.starts_with(out), "{text}");
        let error = relative_error(&logits(out, tokens), &want);
        println!("{dtype} {error:.5}");
        assert!(error <= bound, "{dtype}: {error}");

        let json = attamba(["inspect", out, "--json", "--metadata", "--tensors"]).json();
        assert_eq!(json["metadata"]["general.file_type"], file_type);
        let kind = |name: &str| {
            let tensors = json["tensors"].as_array().unwrap();
            tensors.iter().find(|t| t["name"] == name).unwrap()["type"].as_str().unwrap().to_owned()
        };
        assert_eq!(kind("blk.0.attn_q.weight"), dtype);
        assert_eq!(kind("blk.1.ssm_v_in.weight"), dtype);
        let few_bits = ["Q5", "Q4", "IQ4", "Q3"].iter().any(|name| dtype.starts_with(name));
        assert_eq!(kind("token_embd.weight"), if few_bits { "Q6_K" } else { dtype });
        for small in ["blk.0.attn_norm.weight", "blk.0.ssm_k_conv1d.weight", "blk.0.ssm_k_a"] {
            assert_eq!(kind(small), "F32");
        }
        // From the largest type to the smallest.
        let bytes = json["bytes"].as_f64().unwrap();
        assert!(bytes <= 1.1 * last, "{dtype}: {bytes} after {last}");
        last = bytes;
    }
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let sum = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = sum(&mut got.iter().zip(want).map(|(a, b)| f64::from(a - b)));
    difference / sum(&mut want.iter().map(|&x| f64::from(x)))
}

#[test]
fn a_conversion_to_the_same_type_copies_every_tensor() {
    let folder = folder();
    let out = folder.path().join("copy.gguf");
    attamba(["quantize", "--no-mmap", random_model(), out.to_str().unwrap(), "F32"]).ok();
    let [a, b] = [Path::new(random_model()), &out].map(|path| Gguf::read(path).unwrap());
    assert_eq!(a.tensors().len(), b.tensors().len());
    for tensor in a.tensors() {
        assert!(tensor.data() == b.tensor(tensor.name()).unwrap().data(), "{}", tensor.name());
    }
    for (key, value) in a.metadata() {
        assert_eq!(Some(value), b.get(key), "{key}");
    }
}

#[test]
fn rows_that_do_not_fill_blocks_fall_back_and_this_is_said() {
    let folder = folder();
    let out = folder.path().join("out.gguf");
    let out = out.to_str().unwrap();
    // Rows of 64 and 160 values fill blocks of 32 but not of 256.
    let ran = attamba(["quantize", random_model(), out, "Q4_K"]);
    assert!(ran.stderr.contains("Q4_1 instead of Q4_K, whose blocks rows of 64 values"), "{ran:?}");
    assert!(
        ran.stderr.contains("Q4_1 instead of Q4_K, whose blocks rows of 160 values"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("Q8_0 instead of Q6_K"), "{ran:?}");
    ran.ok();
    attamba(["generate", "-m", out, "-p", "x", "-n", "3"]).ok();
    for (dtype, nearest) in [("Q5_K", "Q8_0"), ("Q3_K", "IQ4_NL")] {
        let ran = attamba(["quantize", random_model(), out, dtype, "--force"]);
        let says = format!("{nearest} instead of {dtype}, whose blocks rows of 64 values");
        assert!(ran.stderr.contains(&says), "{ran:?}");
        ran.ok();
        attamba(["generate", "-m", out, "-p", "x", "-n", "3"]).ok();
    }

    let args = ["quantize", random_model(), out, "q4_0", "--embedding", "f16", "--force"];
    assert_eq!(attamba(args).stderr, "");
    let gguf = Gguf::read(out).unwrap();
    assert_eq!(gguf.tensor("token_embd.weight").unwrap().dtype().unwrap().name(), "F16");

    let again = folder.path().join("again.gguf");
    let ran = attamba(["quantize", out, again.to_str().unwrap(), "Q8_0"]);
    assert!(ran.stderr.contains("is already quantized"), "{}", ran.stderr);
    ran.ok();
}

#[test]
fn nothing_of_the_users_is_lost() {
    let folder = folder();
    let model = file(&folder, "model.gguf", std::fs::read(random_model()).unwrap());
    let there = file(&folder, "there.gguf", "precious");
    let to = |out: &str, more: &[&str]| attamba([&["quantize", &model, out, "F16"], more].concat());
    to(&model, &[]).fails("is the input");
    to(&model, &["--force"]).fails("is the input");
    to(&there, &[]).fails("there.gguf already exists; use --force to replace it");
    assert_eq!(std::fs::read(&there).unwrap(), b"precious");
    to(folder.path().to_str().unwrap(), &["--force"]).fails("is a directory");
    to("no-such-folder/out.gguf", &[]).fails("no-such-folder/out.gguf: ");
    to(&there, &["--force"]).ok();
    attamba(["inspect", &there]).ok();

    let out = folder.path().join("out.gguf");
    let out = out.to_str().unwrap();
    attamba(["quantize", &model, out, "Q5_0"]).refused("one of F32, F16, Q4_0");
    attamba(["quantize", &model, out, "F16", "--threads", "0"]).refused("0 is not in 1..=256");
    attamba(["quantize", "no-such.gguf", out, "F16"]).fails("no-such.gguf: ");
    let text = file(&folder, "text", "Once upon a time");
    attamba(["quantize", &text, out, "F16"]).fails("GGUF");
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["model.gguf", "text", "there.gguf"]);
}
