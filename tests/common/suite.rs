//! The random configurations with the logits that `spec/reference.py` computes for them, and how
//! logits are compared.

#![allow(dead_code, reason = "each test program uses a part of it")]

use super::models::{Numbers, Sizes, Tensor};
use super::python::run_python;
use super::toy::TOY;
use attamba::engine::Engine;
use attamba::gguf::{Gguf, Writer};
use attamba::model::Model;
use attamba::model::arch::FAMILIES;
use attamba::quant::{DType, dequantise, quantise};
use attamba::session::{Options, Session};
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

const REFERENCE: &str = include_str!("../../spec/reference.py");
const SUITE: &str = include_str!("../models/suite.py");

/// One token's logits may be off by more than all logits together.
pub const WORST_TOKEN: f64 = 10.0;

pub struct Case {
    pub name: String,
    pub kind: String,
    pub model: Arc<Model>,
    pub tokens: Vec<u32>,
    pub runs: Vec<Run>,
}

pub struct Run {
    pub ring: Option<usize>,
    /// `[tokens][vocab]`
    pub logits: Vec<f32>,
}

/// How a sequence is cut into calls.
#[derive(Clone, Copy, Debug)]
pub enum Split {
    Whole,
    Ones,
    /// Pieces of random sizes, mostly small.
    Pieces(u64),
}

impl Split {
    pub fn sizes(self, len: usize) -> Vec<usize> {
        match self {
            Split::Whole => vec![len],
            Split::Ones => vec![1; len],
            Split::Pieces(seed) => {
                let mut numbers = Numbers::new(seed);
                let mut sizes = Vec::new();
                let mut left = len;
                while left > 0 {
                    let most = [1, 3, 9, 40, 140][numbers.below(5)];
                    let size = (1 + numbers.below(most)).min(left);
                    sizes.push(size);
                    left -= size;
                }
                sizes
            }
        }
    }
}

/// Everything there is to compare, made by the first test that asks and kept for later runs.
pub fn suite() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let given = given();
        let mut hasher = DefaultHasher::new();
        (REFERENCE, SUITE).hash(&mut hasher);
        for (name, bytes) in &given {
            (name.to_string(), bytes).hash(&mut hasher);
        }
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("logits-{:016x}", hasher.finish()));
        let suite = folder.join("suite.json");
        if !suite.exists() {
            std::fs::create_dir_all(&folder).unwrap();
            for (case, bytes) in &given {
                std::fs::write(folder.join(case["file"].as_str().unwrap()), bytes).unwrap();
            }
            let cases: Vec<&Value> = given.iter().map(|(case, _)| case).collect();
            std::fs::write(folder.join("given.json"), json!(cases).to_string()).unwrap();
            let spec = concat!(env!("CARGO_MANIFEST_DIR"), "/spec");
            run_python(SUITE, &[spec, folder.to_str().unwrap()]);
        }
        let cases: Value = serde_json::from_slice(&std::fs::read(suite).unwrap()).unwrap();
        cases.as_array().unwrap().iter().map(|case| read_case(&folder, case)).collect()
    })
}

pub fn read_case(folder: &Path, case: &Value) -> Case {
    let kind = case["kind"].as_str().unwrap().to_owned();
    let families = if kind.starts_with("toy") { &[TOY] } else { FAMILIES };
    let path = |name: &Value| -> PathBuf { folder.join(name.as_str().unwrap()) };
    let runs = case["runs"].as_array().unwrap().iter().map(|run| {
        let bytes = std::fs::read(path(&run["logits"])).unwrap();
        let logits = bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        Run { ring: run["ring"].as_u64().map(|n| n as usize), logits }
    });
    Case {
        name: case["name"].as_str().unwrap().to_owned(),
        kind,
        model: Arc::new(
            Model::of_families(Gguf::read(path(&case["file"])).unwrap(), families).unwrap(),
        ),
        tokens: case["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t.as_u64().unwrap() as u32)
            .collect(),
        runs: runs.collect(),
    }
}

/// Files that are made here: `reference.py` writes neither K types nor rotary factors.
pub fn given() -> Vec<(Value, Vec<u8>)> {
    let attamba = Sizes { d: 256, heads: 4, ffn: 512, inner: 256, window: 6, ..Sizes::default() };
    let llama = Sizes {
        architecture: "llama",
        d: 256,
        heads: 8,
        kv_heads: 2,
        ffn: 256,
        tied: true,
        ..Sizes::default()
    };
    // `kv_heads * head_dim` and with it the rows of the mixers' first matrix would be less than a
    // block with fewer key heads.
    let projected = Sizes { projected: true, carry: true, groups: 2, chunk: 7, ..attamba.clone() };
    let mut given = Vec::new();
    for (seed, (name, sizes)) in
        (1..).zip([("attamba", &attamba), ("llama", &llama), ("projected", &projected)])
    {
        let plain = Gguf::from_bytes(sizes.file(seed).bytes()).unwrap();
        for dtype in [DType::Q4_K, DType::Q5_K, DType::Q6_K] {
            let case = describe(&format!("{dtype}-{name}"), dtype.name(), seed, 40, sizes.vocab);
            given.push((case, converted(&plain, dtype, seed)));
        }
    }
    for (seed, architecture) in [(11, "attamba"), (12, "llama")] {
        let sizes = Sizes { architecture, ..Sizes::default() };
        let mut file = sizes.file(seed);
        let factors: Vec<f32> =
            (0..sizes.d / sizes.heads / 2).map(|j| [1.0, 1.7, 8.0, 0.5][j % 4]).collect();
        file.tensors.push(Tensor::of_floats("rope_freqs.weight", &[factors.len()], &factors));
        let name = format!("factors-{architecture}");
        given.push((describe(&name, "factors", seed, 120, sizes.vocab), file.bytes()));
    }
    given
}

pub fn describe(name: &str, kind: &str, seed: u64, length: usize, vocab: usize) -> Value {
    json!({
        "name": name,
        "file": format!("{name}.gguf"),
        "kind": kind,
        "tokens": Numbers::new(seed).tokens(length, vocab),
        "rings": [null, 3],
    })
}

/// `from` with every matrix but those of convolutions in another type.
pub fn converted(from: &Gguf, dtype: DType, seed: u64) -> Vec<u8> {
    let mut writer = Writer::with_metadata_of(from);
    let mut numbers = Numbers::new(seed);
    let mut data = Vec::new();
    for tensor in from.tensors() {
        let shape: Vec<usize> = tensor.dims().iter().rev().map(|&n| n as usize).collect();
        let matrix = shape.len() == 2 && !tensor.name().contains("conv1d");
        let plain = tensor.data();
        if !matrix {
            writer.tensor(tensor.name(), &shape, DType::F32).unwrap();
            data.push(plain.to_vec());
            continue;
        }
        writer.tensor(tensor.name(), &shape, dtype).unwrap();
        let mut values = vec![0.0; tensor.len() as usize];
        dequantise(DType::F32, plain, &mut values).unwrap();
        let mut blocks = vec![0; dtype.bytes_of(values.len()).unwrap()];
        if dtype.can_quantise() {
            quantise(dtype, &values, &mut blocks).unwrap();
        } else {
            assert_eq!(dtype, DType::Q5_K);
            let square: f32 = values.iter().map(|v| v * v).sum();
            let spread = (square / values.len() as f32).sqrt();
            blocks.chunks_mut(176).for_each(|block| random_q5_k(block, spread, &mut numbers));
        }
        data.push(blocks);
    }
    let mut out = Vec::new();
    writer.write(&mut out, |index, sink| sink.write_all(&data[index])).unwrap();
    out
}

/// A block of random values around zero. Scales and minima are equal, and `dmin` is `d` times the
/// middle of the quants.
pub fn random_q5_k(block: &mut [u8], spread: f32, numbers: &mut Numbers) {
    block.iter_mut().for_each(|byte| *byte = numbers.bits() as u8);
    // Root mean squares: of a scale in 0..64 about 36, of a quant in 0..32 about 9.2.
    let d = spread / (36.0 * 9.2);
    block[..2].copy_from_slice(&half::f16::from_f32(d).to_le_bytes());
    block[2..4].copy_from_slice(&half::f16::from_f32(15.5 * d).to_le_bytes());
    let (scales, rest) = block[4..].split_at_mut(4);
    rest[..4].copy_from_slice(scales);
    rest[4..8].iter_mut().for_each(|both| *both = (*both & 15) * 17);
}

/// How far `got` is from `want`: of all together, and of the token that is farthest off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Error {
    pub all: f64,
    pub worst_token: f64,
}

impl Error {
    pub fn of(got: &[f32], want: &[f32], vocab: usize) -> Error {
        assert_eq!(got.len(), want.len());
        let squares = |got: &[f32], want: &[f32]| {
            got.iter().zip(want).fold((0.0, 0.0), |(off, size), (&g, &w)| {
                let (g, w) = (f64::from(g), f64::from(w));
                (off + (g - w).powi(2), size + w.powi(2))
            })
        };
        let relative = |(off, size): (f64, f64)| (off / size).sqrt();
        let tokens = got.chunks(vocab).zip(want.chunks(vocab));
        Error {
            all: relative(squares(got, want)),
            // Not `max`, which would drop a NaN.
            worst_token: tokens
                .map(|(g, w)| relative(squares(g, w)))
                .fold(0.0, |most, e| if most > e { most } else { e }),
        }
    }

    pub fn within(self, bound: f64) -> bool {
        self.all <= bound && self.worst_token <= WORST_TOKEN * bound
    }
}

/// The logits of all `tokens`, fed in pieces.
pub fn feed(engine: &Arc<dyn Engine>, options: Options, tokens: &[u32], split: Split) -> Vec<f32> {
    let mut session = Session::open(Arc::clone(engine), options).unwrap();
    let mut logits = Vec::new();
    let mut rest = tokens;
    for size in split.sizes(tokens.len()) {
        let (piece, after) = rest.split_at(size);
        let mut next = 0;
        session
            .feed_each(piece, |index, row| {
                assert_eq!(index, next, "tokens come in order");
                next += 1;
                logits.extend_from_slice(row);
            })
            .unwrap();
        assert_eq!(next, size);
        assert!(logits.ends_with(session.logits().unwrap()));
        rest = after;
    }
    assert_eq!(session.position(), tokens.len() as u64);
    logits
}
