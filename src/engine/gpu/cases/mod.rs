//! Small inputs for every kernel, with the outputs of its twin. The seed picks awkward sizes: the
//! validation at load uses one seed, the tests use many.

mod attention;
mod commit;
mod mixer;
mod numbers;
mod products;
mod rows;
mod top_k;

use super::kernel::Kernel;
use super::plan::{Arena, Split};
use crate::engine::KvType;
use half::f16;
use numbers::Numbers;

/// One run of a kernel.
pub(super) struct Case {
    pub params: Vec<u8>,
    /// The words of the bindings from 1 on.
    pub bindings: Vec<Vec<u32>>,
    /// Items in each dimension.
    pub items: [u32; 3],
    pub expected: Vec<Expected>,
}

/// Expected contents of a binding afterwards.
pub(super) struct Expected {
    /// Index in [`Case::bindings`].
    pub binding: usize,
    pub values: Values,
}

pub(super) enum Values {
    Floats(Vec<f32>),
    /// Two per word.
    Halves(Vec<f32>),
    Words(Vec<u32>),
    /// Words of four integers, each of which may be off by one from rounding, and of floats, whose
    /// last bits may differ.
    Integers(Vec<u32>),
    /// Words of eight integers, each of which may be off by one from rounding, and of two halves,
    /// whose last bits may differ.
    Nibbles(Vec<u32>),
}

/// The case of a kernel for a seed.
pub(super) fn case(kernel: Kernel, seed: u64) -> Case {
    let numbers = &mut Numbers::new(seed);
    match kernel {
        Kernel::Matvec { format, norm, finish, kv } => {
            products::matvec(numbers, format, norm, finish, kv)
        }
        Kernel::Matmul { format, finish, .. } => products::matmul(numbers, format, finish),
        Kernel::MatmulJoin { finish } => products::matmul_join(numbers, finish),
        Kernel::RmsNorm { add } => rows::rms_norm(numbers, add),
        Kernel::HeadNorm => rows::head_norm(numbers),
        Kernel::AddBias => rows::add_bias(numbers),
        Kernel::SoftCap => rows::soft_cap(numbers),
        Kernel::Rope { kv } => rows::rope(numbers, kv),
        Kernel::Glu { activation } => rows::glu(numbers, activation),
        Kernel::Conv | Kernel::Remember | Kernel::Scan | Kernel::GateNorm | Kernel::MixerStep => {
            mixer::mixer(numbers, kernel)
        }
        Kernel::Attend { kv, head_dim, .. } | Kernel::AttendTile { kv, head_dim } => {
            attention::attend(numbers, kernel, kv, head_dim)
        }
        Kernel::AttendJoin => attention::attend_join(numbers),
        Kernel::Commit { kv } => commit::commit(numbers, kv),
        Kernel::CommitI8 => commit::commit(numbers, KvType::I8),
        Kernel::CommitI4 => commit::commit(numbers, KvType::I4),
        Kernel::TopK => top_k::top_k(numbers),
    }
}

#[inline(never)]
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn floats(binding: usize, values: Vec<f32>) -> Expected {
    Expected { binding, values: Values::Floats(values) }
}

fn arena(tokens: u32) -> Arena {
    split_arena(tokens, Split::WHOLE)
}

/// For attention that is split.
#[inline(never)]
fn split_arena(tokens: u32, split: Split) -> Arena {
    let mut arena = Arena::new(Vec::new());
    arena.begin(tokens as usize, split);
    arena
}

#[inline(never)]
fn arena_with(tokens: u32, list: usize, words: Vec<u32>) -> Vec<u32> {
    let mut arena = arena(tokens);
    arena.list(list);
    arena.push(words);
    arena.words().to_vec()
}

/// Values in the form they are stored in.
#[inline(never)]
fn stored(kv: KvType, values: &[f32]) -> Vec<u32> {
    match kv {
        KvType::F32 => bits(values),
        _ => values
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| {
                let [a, b] = pair.map(|x| u32::from(f16::from_f32(x).to_bits()));
                a | b << 16
            })
            .collect(),
    }
}

fn kept(binding: usize, kv: KvType, values: Vec<f32>) -> Expected {
    let values = match kv {
        KvType::F32 => Values::Floats(values),
        _ => Values::Halves(values),
    };
    Expected { binding, values }
}
