//! Every kernel and its variants: the one table that says which shader text a pipeline is made of.
//!
//! A kernel has variants where something may be missing, wrong or slow on a device: conversions of
//! half precision, subgroups, fast workgroup memory, products of four bytes at a time. They are
//! ordered; the first that computes what its twin does is taken.
//!
//! Products in integers (`dot`) and half precision as a type of the language (`native`) come last.
//! On an H200 the first gain an eighth and the second nothing (`benches/NOTES.md`); but where a GPU
//! lacks the instruction, which wgpu does not tell, products in integers are slow. The variable
//! `ATTAMBA_KERNELS` puts the variants first that have most of its words in their names, so that
//! somebody with another GPU can find out.

use super::format::Format;
use super::params::Finish;
use super::shaders;
use crate::engine::KvType;

/// Invocations of a workgroup of `attend`.
const ATTEND_TILE: u32 = 64;

/// What a kernel computes, with all that is fixed in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is a file in `shaders`, which says what it computes")]
pub enum Kernel {
    Matvec { format: Format, norm: bool, finish: Finish, kv: KvType },
    Matmul { format: Format, finish: Finish },
    RmsNorm,
    Rope { kv: KvType },
    SwiGlu,
    Conv,
    Remember,
    Scan,
    GateNorm,
    MixerStep,
    Attend { kv: KvType, heads: Heads, head_dim: u32 },
    AttendJoin,
    Commit { kv: KvType },
    CommitI8,
    TopK,
}

/// Query heads that attention takes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heads {
    /// One.
    One,
    /// Up to four that share a key head.
    Four,
}

/// One way to write a kernel.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The file and the choices that matter: `matvec format_q4_0 reduce_tree half_builtin`.
    pub name: String,
    /// The whole text, in WGSL.
    pub text: String,
    /// Values of its overrides.
    pub constants: Vec<(&'static str, f64)>,
    /// Whether it needs subgroups.
    pub subgroups: bool,
    /// Whether it needs the language's conversions of half precision.
    pub halves: bool,
    /// Whether it needs half precision as a type of the language.
    pub native_halves: bool,
    /// Whether it takes products in integers, and so rounds its input.
    pub integers: bool,
    /// Items in x and y that a workgroup does: rows, tokens, channels, whatever the kernel counts.
    pub covers: [u32; 2],
}

/// What a device can do, as far as kernels are chosen by it.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// Subgroup operations.
    pub subgroups: bool,
    /// `unpack2x16float` and `pack2x16float`.
    pub halves: bool,
    /// The type `f16`.
    pub native_halves: bool,
    /// The driver computes on the CPU: barriers are slow, and so is workgroup memory.
    pub software: bool,
}

/// What a binding is to a kernel. Binding 0 is always its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

use Access::{Read, Write};

impl Kernel {
    /// How the kernel uses its bindings from 1 on.
    pub(super) fn bindings(self) -> &'static [Access] {
        match self {
            Kernel::Matvec { .. } => &[Read, Read, Read, Read, Write, Read, Write],
            Kernel::Matmul { .. } => &[Read, Read, Read, Write, Read],
            Kernel::RmsNorm => &[Read, Read, Write, Write, Read],
            Kernel::Rope { .. } => &[Write, Read, Read, Write],
            Kernel::SwiGlu => &[Read, Write],
            Kernel::Conv => &[Read, Read, Read, Write, Read],
            Kernel::Remember => &[Read, Read, Write, Read],
            Kernel::Scan => &[Read, Read, Read, Write, Write, Read],
            Kernel::GateNorm => &[Read, Read, Read, Write, Read],
            Kernel::MixerStep => &[Read, Read, Write, Write, Write, Write, Read],
            Kernel::Attend { .. } => &[Read, Read, Read, Read, Read, Write, Write],
            Kernel::AttendJoin => &[Read, Read, Write],
            Kernel::Commit { .. } | Kernel::CommitI8 => &[Read, Read, Write, Write],
            Kernel::TopK => &[Read, Write],
        }
    }

    /// The ways to write it that a device can run, the best first.
    pub fn variants(self, device: Abilities) -> Vec<Variant> {
        const HALVES: [&str; 2] = ["half_builtin", "half_bits"];
        let reductions = match device.software {
            true => ["reduce_none", "reduce_tree", "reduce_subgroup"],
            false => ["reduce_subgroup", "reduce_tree", "reduce_none"],
        };
        let matmuls = match device.software {
            true => ["matmul_alone", "matmul", "matmul_dot"],
            false => ["matmul", "matmul_alone", "matmul_dot"],
        };
        const PRODUCTS: [&str; 2] = ["product_float", "product_dot"];
        // The last of either takes products in integers.
        let able = |format: Format, all: usize| if format.is_of_integers() { all } else { all - 1 };
        let mut all = Vec::new();
        match self {
            Kernel::Matvec { format, norm, finish, kv } => {
                let constants =
                    [("NORM", f64::from(u8::from(norm))), ("FINISH", f64::from(finish as u8))];
                for product in &PRODUCTS[..able(format, PRODUCTS.len())] {
                    for file in format.files() {
                        for (reduce, half) in pairs(&reductions, &HALVES) {
                            let choices = [
                                ("FORMAT", *file),
                                ("PRODUCT", product),
                                ("REDUCE", reduce),
                                ("HALF", half),
                                ("KV", kv_files(kv)[0]),
                            ];
                            all.push(Variant::new("matvec", &choices, &constants));
                        }
                    }
                }
            }
            Kernel::Matmul { format, finish } => {
                for matmul in &matmuls[..able(format, matmuls.len())] {
                    for (file, half) in pairs(format.files(), &HALVES) {
                        let choices = [("FORMAT", file), ("HALF", half)];
                        let constants = [("FINISH", f64::from(finish as u8))];
                        all.push(Variant::new(matmul, &choices, &constants));
                    }
                }
            }
            Kernel::RmsNorm | Kernel::GateNorm => {
                let file = if self == Kernel::RmsNorm { "rms_norm" } else { "gate_norm" };
                let variant = |reduce| Variant::new(file, &[("REDUCE", reduce)], &[]);
                all.extend(reductions.map(variant));
            }
            Kernel::Rope { kv } | Kernel::Commit { kv } => {
                let file = if matches!(self, Kernel::Rope { .. }) { "rope" } else { "commit" };
                for half in HALVES {
                    let choices = [("KV", kv_files(kv)[0]), ("HALF", half)];
                    all.push(Variant::new(file, &choices, &[]));
                }
            }
            Kernel::Attend { kv, heads, head_dim } => {
                let heads = match heads {
                    Heads::One => "heads_1",
                    Heads::Four => "heads_4",
                };
                let ring = if kv == KvType::I8 { "ring_i8" } else { "ring_near" };
                for (near, half) in pairs(kv_files(kv), &HALVES) {
                    let choices = [("KV", near), ("RING", ring), ("HEADS", heads), ("HALF", half)];
                    let groups = (ATTEND_TILE / (head_dim / 2)).max(1);
                    let constants = [
                        ("HEAD_DIM", f64::from(head_dim)),
                        ("GROUPS", f64::from(groups)),
                        ("SUMS", f64::from(groups * head_dim)),
                    ];
                    all.push(Variant::new("attend", &choices, &constants));
                }
            }
            Kernel::CommitI8 => {
                all.extend(HALVES.map(|half| Variant::new("commit_i8", &[("HALF", half)], &[])));
            }
            Kernel::SwiGlu => all.push(Variant::new("swiglu", &[], &[])),
            Kernel::Conv => all.push(Variant::new("conv", &[], &[])),
            Kernel::Remember => all.push(Variant::new("remember", &[], &[])),
            Kernel::Scan => all.push(Variant::new("scan", &[], &[])),
            Kernel::MixerStep => all.push(Variant::new("mixer_step", &[], &[])),
            Kernel::AttendJoin => all.push(Variant::new("attend_join", &[], &[])),
            Kernel::TopK => all.push(Variant::new("top_k", &[], &[])),
        }
        // A choice that makes no difference to the text makes no variant.
        all.dedup_by(|a, b| a.name == b.name);
        all.retain(|v| {
            (device.subgroups || !v.subgroups)
                && (device.halves || !v.halves)
                && (device.native_halves || !v.native_halves)
        });
        all
    }

    /// Every kernel with every format, every finish and every type of keys and values, if not in all
    /// combinations.
    pub fn all() -> Vec<Kernel> {
        let mut all = vec![
            Kernel::RmsNorm,
            Kernel::SwiGlu,
            Kernel::Conv,
            Kernel::Remember,
            Kernel::Scan,
            Kernel::GateNorm,
            Kernel::MixerStep,
            Kernel::AttendJoin,
            Kernel::TopK,
        ];
        let matvec = |format, norm, finish, kv| Kernel::Matvec { format, norm, finish, kv };
        for format in Format::ALL {
            all.push(Kernel::Matmul { format, finish: Finish::Store });
            all.push(matvec(format, false, Finish::Store, KvType::F16));
            all.push(matvec(format, true, Finish::SwiGlu, KvType::F16));
            all.push(matvec(format, true, Finish::Rope, KvType::F16));
        }
        // How a product ends does not depend on the format: two stand for all.
        for format in [Format::F32, Format::Q4_0] {
            for finish in [Finish::Add, Finish::SwiGlu] {
                all.push(Kernel::Matmul { format, finish });
                all.push(matvec(format, false, finish, KvType::F16));
            }
            all.push(matvec(format, true, Finish::Store, KvType::F16));
            all.push(matvec(format, false, Finish::Rope, KvType::F16));
            all.push(matvec(format, false, Finish::Rope, KvType::F32));
            all.push(matvec(format, true, Finish::Rope, KvType::F32));
        }
        for kv in [KvType::F16, KvType::F32] {
            all.extend([Kernel::Rope { kv }, Kernel::Commit { kv }]);
        }
        all.push(Kernel::CommitI8);
        for kv in [KvType::F16, KvType::F32, KvType::I8] {
            for heads in [Heads::One, Heads::Four] {
                for head_dim in [64, 30, 160] {
                    all.push(Kernel::Attend { kv, heads, head_dim });
                }
            }
        }
        all
    }
}

impl std::fmt::Display for Kernel {
    /// `matvec Q4_0 after a norm, SwiGlu`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kernel::Matvec { format, norm, finish, kv } => {
                let norm = if *norm { " after a norm" } else { "" };
                write!(f, "matvec {format:?}{norm}, {finish:?}")?;
                if *finish == Finish::Rope { write!(f, " {kv:?}") } else { Ok(()) }
            }
            Kernel::Matmul { format, finish } => write!(f, "matmul {format:?}, {finish:?}"),
            Kernel::Rope { kv } => write!(f, "rope {kv:?}"),
            Kernel::Commit { kv } => write!(f, "commit {kv:?}"),
            Kernel::Attend { kv, heads, head_dim } => {
                write!(f, "attend {kv:?}, heads of {head_dim}, {heads:?} at a time")
            }
            Kernel::RmsNorm => f.write_str("rms_norm"),
            Kernel::SwiGlu => f.write_str("swiglu"),
            Kernel::Conv => f.write_str("conv"),
            Kernel::Remember => f.write_str("remember"),
            Kernel::Scan => f.write_str("scan"),
            Kernel::GateNorm => f.write_str("gate_norm"),
            Kernel::MixerStep => f.write_str("mixer_step"),
            Kernel::AttendJoin => f.write_str("attend_join"),
            Kernel::CommitI8 => f.write_str("commit_i8"),
            Kernel::TopK => f.write_str("top_k"),
        }
    }
}

impl Variant {
    fn new(
        file: &'static str,
        choices: &[(&str, &'static str)],
        constants: &[(&'static str, f64)],
    ) -> Variant {
        let text = shaders::text(file, choices);
        // A choice that the text has no use for is no part of its name.
        let halves = text.contains("unpack2x16float");
        let integers = text.contains("dot4I8Packed");
        let native_halves = text.contains("enable f16;");
        let mut name = file.to_owned();
        for (choice, chosen) in choices {
            if *choice != "HALF" || text.contains("fn halves(") {
                name = name + " " + chosen;
            }
        }
        let subgroups = choices.contains(&("REDUCE", "reduce_subgroup"));
        let alone = choices.contains(&("REDUCE", "reduce_none"));
        let covers = match file {
            "matvec" | "rms_norm" | "gate_norm" => [if alone { 64 } else { 1 }, 1],
            "matmul" | "matmul_dot" => [64, 64],
            "matmul_alone" => [256, 4],
            "scan" | "mixer_step" | "attend" | "commit_i8" => [1, 1],
            "top_k" => [1024, 1],
            _ => [64, 1],
        };
        let constants = constants.to_vec();
        Variant { name, text, constants, subgroups, halves, native_halves, integers, covers }
    }
}

/// The files that read keys and values; the first writes them too.
fn kv_files(kv: KvType) -> &'static [&'static str] {
    match kv {
        KvType::F16 | KvType::I8 => &["kv_f16", "kv_f16_native"],
        KvType::F32 => &["kv_f32"],
    }
}

/// All pairs, those of the first `a` first.
fn pairs<'a>(
    a: &'a [&'static str],
    b: &'a [&'static str],
) -> impl Iterator<Item = (&'static str, &'static str)> {
    a.iter().flat_map(move |&a| b.iter().map(move |&b| (a, b)))
}
