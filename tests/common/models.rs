//! Random model files, made in memory; every entry can be changed before the bytes are written.

#![allow(dead_code, reason = "each test program uses a part of it")]

use attamba::gguf::Gguf;
use attamba::model::Model;
use attamba::quant::{DType, quantize};
use attamba::{Engine, EngineOptions};
use std::sync::Arc;

/// Numbers that never change (xorshift64*, Vigna 2016).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        // Neighboring seeds should give unrelated sequences, and zero is not a valid state.
        let mut numbers = Numbers((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            numbers.bits();
        }
        numbers
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (((self.bits() >> 32) * end as u64) >> 32) as usize
    }

    /// Uniform in 0..1, neither end included.
    pub fn uniform(&mut self) -> f32 {
        ((self.bits() >> 41) as f32 + 0.5) / (1 << 23) as f32
    }

    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }

    pub fn tokens(&mut self, count: usize, vocab: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(vocab) as u32).collect()
    }
}

/// A metadata value of the types that models use, and of those that they should not use.
#[derive(Clone, Debug)]
pub enum Meta {
    U32(u32),
    I32(i32),
    U64(u64),
    F32(f32),
    Bool(bool),
    Str(String),
    U32s(Vec<u32>),
    F32s(Vec<f32>),
}

impl Meta {
    fn write(&self, out: &mut Vec<u8>) {
        let mut put = |kind: u32, payload: &[u8]| {
            out.extend(kind.to_le_bytes());
            out.extend(payload);
        };
        match self {
            Meta::U32(x) => put(4, &x.to_le_bytes()),
            Meta::I32(x) => put(5, &x.to_le_bytes()),
            Meta::F32(x) => put(6, &x.to_le_bytes()),
            Meta::Bool(x) => put(7, &[u8::from(*x)]),
            Meta::U64(x) => put(10, &x.to_le_bytes()),
            Meta::Str(text) => {
                put(8, &(text.len() as u64).to_le_bytes());
                out.extend(text.as_bytes());
            }
            Meta::F32s(values) => {
                put(9, &6u32.to_le_bytes());
                out.extend((values.len() as u64).to_le_bytes());
                out.extend(values.iter().flat_map(|x| x.to_le_bytes()));
            }
            Meta::U32s(values) => {
                put(9, &4u32.to_le_bytes());
                out.extend((values.len() as u64).to_le_bytes());
                out.extend(values.iter().flat_map(|x| x.to_le_bytes()));
            }
        }
    }
}

/// A model with a profile that lists all KV heads, and random retention gates.
pub fn with_gates(sizes: &Sizes, seed: u64) -> File {
    let mut file = sizes.file(seed);
    let heads = sizes.layers * sizes.kv_heads;
    let key = |name: &str| format!("{}.memory.{name}", sizes.architecture);
    file.set(&key("far_heads"), Meta::U32s((0..heads as u32).rev().collect()));
    file.set(&key("near_window"), Meta::U32(6));
    let mut numbers = Numbers::new(seed);
    let gates = (0..heads * sizes.d).map(|_| numbers.normal()).collect();
    file.set(&key("retention_gates"), Meta::F32s(gates));
    file
}

/// A tensor as the table describes it; nothing keeps shape, type and data consistent.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    /// Rows first.
    pub shape: Vec<u64>,
    pub type_id: u32,
    pub data: Vec<u8>,
}

impl Tensor {
    pub fn of_floats(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
        Tensor {
            name: name.to_owned(),
            shape: shape.iter().map(|&n| n as u64).collect(),
            type_id: DType::F32 as u32,
            data: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

/// A model file before it is written.
#[derive(Clone, Debug)]
pub struct File {
    pub metadata: Vec<(String, Meta)>,
    pub tensors: Vec<Tensor>,
}

impl File {
    /// Sets a key, or adds it.
    pub fn set(&mut self, key: &str, value: Meta) {
        match self.metadata.iter_mut().find(|(k, _)| k == key) {
            Some(entry) => entry.1 = value,
            None => self.metadata.push((key.to_owned(), value)),
        }
    }

    pub fn remove(&mut self, key: &str) {
        let before = self.metadata.len();
        self.metadata.retain(|(k, _)| k != key);
        assert_eq!(self.metadata.len(), before - 1, "{key} is not there");
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        let found = self.tensors.iter_mut().find(|t| t.name == name);
        found.unwrap_or_else(|| panic!("no tensor {name}"))
    }

    /// The file. Data is aligned to 32 bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.tables();
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(&tensor.data);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out
    }

    /// What precedes the data: header, metadata and tensor table.
    pub fn tables(&self) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        };
        for (key, value) in &self.metadata {
            text(&mut out, key);
            value.write(&mut out);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            text(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            out.extend(tensor.shape.iter().rev().flat_map(|n| n.to_le_bytes()));
            out.extend(tensor.type_id.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (tensor.data.len() as u64).next_multiple_of(32);
        }
        out
    }
}

/// Sizes of a random model. Names as in `spec/reference.py`.
#[derive(Clone, Debug)]
pub struct Sizes {
    pub architecture: &'static str,
    pub vocab: usize,
    pub d: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub ffn: usize,
    pub context: usize,
    pub chunk: usize,
    pub window: usize,
    pub carry: bool,
    pub projected: bool,
    pub inner: usize,
    pub state: usize,
    pub groups: usize,
    pub ssm_heads: usize,
    pub conv: usize,
    pub tied: bool,
    /// Type of the matrices whose rows are whole blocks of it; others are F32.
    pub dtype: DType,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            architecture: "attamba",
            vocab: 48,
            d: 32,
            layers: 2,
            heads: 4,
            kv_heads: 4,
            ffn: 64,
            context: 512,
            chunk: 4,
            window: 5,
            carry: false,
            projected: false,
            inner: 32,
            state: 8,
            groups: 1,
            ssm_heads: 4,
            conv: 4,
            tied: false,
            dtype: DType::F32,
        }
    }
}

impl Sizes {
    /// A model with random weights of the spread that `spec/reference.py` gives them.
    pub fn file(&self, seed: u64) -> File {
        let head_dim = self.d / self.heads;
        let kv = self.kv_heads * head_dim;
        let mut file = File { metadata: Vec::new(), tensors: Vec::new() };
        file.set("general.architecture", Meta::Str(self.architecture.into()));
        let mut size = |key: &str, value: usize| {
            file.set(&format!("{}.{key}", self.architecture), Meta::U32(value as u32));
        };
        size("block_count", self.layers);
        size("context_length", self.context);
        size("embedding_length", self.d);
        size("feed_forward_length", self.ffn);
        size("vocab_size", self.vocab);
        size("attention.head_count", self.heads);
        size("attention.head_count_kv", self.kv_heads);
        size("attention.key_length", head_dim);
        size("rope.dimension_count", head_dim);
        let attamba = self.architecture == "attamba";
        if attamba {
            size("chunk.length", self.chunk);
            size("chunk.window", self.window);
            size("ssm.inner_size", self.inner);
            size("ssm.state_size", self.state);
            size("ssm.group_count", self.groups);
            size("ssm.time_step_rank", self.ssm_heads);
            size("ssm.conv_kernel", self.conv);
            file.set("attamba.attention.projected_kv", Meta::Bool(self.projected));
            file.set("attamba.chunk.carry_state", Meta::Bool(self.carry));
            let offsets = (0..self.layers).map(|l| (l * self.chunk / self.layers) as u32);
            file.set("attamba.chunk.offsets", Meta::U32s(offsets.collect()));
        }
        file.set(&format!("{}.rope.freq_base", self.architecture), Meta::F32(10000.0));
        file.set(
            &format!("{}.attention.layer_norm_rms_epsilon", self.architecture),
            Meta::F32(1e-5),
        );

        let mut add = Adder { file: &mut file, numbers: Numbers::new(seed), dtype: self.dtype };
        let (d, spread) = (self.d, (self.d as f32).powf(-0.5));
        add.matrix("token_embd.weight", self.vocab, d, 1.0);
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            add.vector(&name("attn_norm.weight"), &[d], 1.0, 0.1);
            add.matrix(&name("attn_q.weight"), self.heads * head_dim, d, 2.0 * spread);
            if !attamba || self.projected {
                add.matrix(&name("attn_k.weight"), kv, d, 2.0 * spread);
                add.matrix(&name("attn_v.weight"), kv, d, spread);
            }
            for side in ["k", "v"].iter().filter(|_| attamba) {
                let name = |part: &str| name(&format!("ssm_{side}_{part}"));
                let channels = self.inner + 2 * self.groups * self.state;
                let rows = self.inner + channels + self.ssm_heads;
                add.matrix(&name("in.weight"), rows, kv, (kv as f32).powf(-0.5));
                let taps = (self.conv as f32).powf(-0.5);
                add.vector(&name("conv1d.weight"), &[channels, self.conv], 0.0, taps);
                add.vector(&name("conv1d.bias"), &[channels], 0.0, 0.1);
                add.vector(&name("dt.bias"), &[self.ssm_heads], 0.0, 0.5);
                add.decays(&name("a"), self.ssm_heads);
                add.vector(&name("d"), &[self.ssm_heads], 1.0, 0.1);
                add.vector(&name("norm.weight"), &[self.inner], 1.0, 0.1);
                add.matrix(&name("out.weight"), kv, self.inner, (self.inner as f32).powf(-0.5));
            }
            add.matrix(&name("attn_output.weight"), d, self.heads * head_dim, spread);
            add.vector(&name("ffn_norm.weight"), &[d], 1.0, 0.1);
            add.matrix(&name("ffn_gate.weight"), self.ffn, d, spread);
            add.matrix(&name("ffn_up.weight"), self.ffn, d, spread);
            add.matrix(&name("ffn_down.weight"), d, self.ffn, (self.ffn as f32).powf(-0.5));
        }
        add.vector("output_norm.weight", &[d], 1.0, 0.1);
        if !self.tied {
            add.matrix("output.weight", self.vocab, d, 3.0 * spread);
        }
        file
    }

    /// The model, open.
    pub fn model(&self, seed: u64) -> Arc<Model> {
        Arc::new(open(self.file(seed).bytes()).expect("a sound file opens"))
    }

    /// The model on the CPU.
    pub fn engine(&self, seed: u64, threads: usize) -> Engine {
        Engine::cpu(self.model(seed), &EngineOptions::default().with_threads(threads))
            .expect("a sound model runs")
    }
}

/// Opens a model in memory.
pub fn open(bytes: Vec<u8>) -> attamba::Result<Model> {
    Model::from_gguf(Gguf::from_bytes(bytes)?)
}

struct Adder<'a> {
    file: &'a mut File,
    numbers: Numbers,
    dtype: DType,
}

impl Adder<'_> {
    fn vector(&mut self, name: &str, shape: &[usize], mean: f32, spread: f32) {
        let len = shape.iter().product();
        let values: Vec<f32> = (0..len).map(|_| mean + spread * self.numbers.normal()).collect();
        self.file.tensors.push(Tensor::of_floats(name, shape, &values));
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize, spread: f32) {
        self.vector(name, &[rows, cols], 0.0, spread);
        if !cols.is_multiple_of(self.dtype.block_len()) {
            return;
        }
        let tensor = self.file.tensor(name);
        let values: Vec<f32> =
            tensor.data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        tensor.data.resize(self.dtype.bytes_of(values.len()).expect("whole blocks"), 0);
        quantize(self.dtype, &values, &mut tensor.data).expect("a type that can be written");
        tensor.type_id = self.dtype as u32;
    }

    fn decays(&mut self, name: &str, heads: usize) {
        let values: Vec<f32> = (0..heads).map(|_| -0.01 - 2.0 * self.numbers.uniform()).collect();
        self.file.tensors.push(Tensor::of_floats(name, &[heads], &values));
    }
}
