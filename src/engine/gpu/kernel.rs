//! The kernels: what each computes, with everything that is fixed in its source, and its bindings.

use super::format::Format;
use super::params::{Finish, Norm};
use crate::engine::KvType;
use crate::model::Activation;

/// What a kernel computes, with everything that is fixed in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is a file in `shaders`, which says what it computes")]
pub enum Kernel {
    Matvec { format: Format, norm: Norm, finish: Finish, kv: KvType },
    Matmul { format: Format, finish: Finish, rounded: bool },
    MatmulJoin { finish: Finish },
    RmsNorm { add: bool },
    HeadNorm,
    AddBias,
    Rope { kv: KvType },
    Glu { activation: Activation },
    Conv,
    Remember,
    Scan,
    GateNorm,
    MixerStep,
    Attend { kv: KvType, heads: Heads, head_dim: u32 },
    AttendTile { kv: KvType, head_dim: u32 },
    AttendJoin,
    Commit { kv: KvType },
    CommitI8,
    CommitI4,
    SoftCap,
    TopK,
}

/// Number of query heads that attention processes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heads {
    /// One.
    One,
    /// Up to four that share a key head.
    Four,
}

/// How a kernel uses a binding. Binding 0 is always its parameters.
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
            Kernel::Matmul { .. } => &[Read, Read, Read, Write, Read, Write],
            Kernel::MatmulJoin { .. } => &[Read, Write, Write],
            Kernel::RmsNorm { .. } => &[Read, Read, Write, Write, Read],
            Kernel::HeadNorm => &[Write, Write, Read],
            Kernel::AddBias => &[Read, Write],
            Kernel::Rope { .. } => &[Write, Read, Read, Write],
            Kernel::Glu { .. } => &[Read, Write],
            Kernel::Conv => &[Read, Read, Read, Write, Read],
            Kernel::Remember => &[Read, Read, Write, Read],
            Kernel::Scan => &[Read, Read, Read, Write, Write, Read],
            Kernel::GateNorm => &[Read, Read, Read, Write, Read],
            Kernel::MixerStep => &[Read, Read, Write, Write, Write, Write, Read],
            Kernel::Attend { .. } => &[Read, Read, Read, Read, Read, Write, Write],
            Kernel::AttendTile { .. } => &[Read, Read, Read, Read, Read, Write],
            Kernel::AttendJoin => &[Read, Read, Write],
            Kernel::Commit { .. } | Kernel::CommitI8 | Kernel::CommitI4 => {
                &[Read, Read, Write, Write]
            }
            Kernel::SoftCap => &[Write],
            Kernel::TopK => &[Read, Write],
        }
    }

    /// Every kernel with every format, every finish and every type of keys and values, though not
    /// in all combinations.
    pub fn all() -> Vec<Kernel> {
        let mut all = vec![
            Kernel::RmsNorm { add: false },
            Kernel::RmsNorm { add: true },
            Kernel::HeadNorm,
            Kernel::AddBias,
            Kernel::Glu { activation: Activation::Silu },
            Kernel::Glu { activation: Activation::GeluTanh },
            Kernel::Conv,
            Kernel::Remember,
            Kernel::Scan,
            Kernel::GateNorm,
            Kernel::MixerStep,
            Kernel::AttendJoin,
            Kernel::SoftCap,
            Kernel::TopK,
        ];
        let matvec = |format, norm, finish, kv| Kernel::Matvec { format, norm, finish, kv };
        for format in Format::ALL {
            for rounded in [false, true] {
                all.push(Kernel::Matmul { format, finish: Finish::Store, rounded });
            }
            all.push(matvec(format, Norm::None, Finish::Store, KvType::F16));
            for norm in [Norm::Computed, Norm::Prepared] {
                all.push(matvec(format, norm, Finish::SwiGlu, KvType::F16));
                all.push(matvec(format, norm, Finish::Rope, KvType::F16));
            }
        }
        // How a product ends does not depend on the format: two formats suffice.
        for format in [Format::F32, Format::Q4_0] {
            all.push(Kernel::Matmul { format, finish: Finish::Split, rounded: false });
            for finish in [Finish::Add, Finish::SwiGlu, Finish::GeGlu] {
                all.push(Kernel::Matmul { format, finish, rounded: false });
                all.push(matvec(format, Norm::None, finish, KvType::F16));
            }
            all.push(matvec(format, Norm::None, Finish::AddAndPrepare, KvType::F16));
            for norm in [Norm::Computed, Norm::Prepared] {
                all.push(matvec(format, norm, Finish::Store, KvType::F16));
            }
            all.push(matvec(format, Norm::None, Finish::Rope, KvType::F16));
            all.push(matvec(format, Norm::None, Finish::Rope, KvType::F32));
            all.push(matvec(format, Norm::Computed, Finish::Split, KvType::F16));
            all.push(matvec(format, Norm::None, Finish::Split, KvType::F16));
            all.push(matvec(format, Norm::Computed, Finish::Rope, KvType::F32));
        }
        for finish in [Finish::Store, Finish::Add, Finish::SwiGlu, Finish::GeGlu, Finish::Split] {
            all.push(Kernel::MatmulJoin { finish });
        }
        for kv in [KvType::F16, KvType::F32] {
            all.extend([Kernel::Rope { kv }, Kernel::Commit { kv }]);
        }
        all.extend([Kernel::CommitI8, Kernel::CommitI4]);
        for kv in [KvType::F16, KvType::F32, KvType::I8] {
            for heads in [Heads::One, Heads::Four] {
                for head_dim in [64, 30, 160] {
                    all.push(Kernel::Attend { kv, heads, head_dim });
                }
            }
        }
        for kv in [KvType::F16, KvType::F32, KvType::I8] {
            for head_dim in [64, 30, 160] {
                all.push(Kernel::AttendTile { kv, head_dim });
            }
        }
        for heads in [Heads::One, Heads::Four] {
            for head_dim in [64, 32, 256] {
                all.push(Kernel::Attend { kv: KvType::I4, heads, head_dim });
            }
        }
        // With fewer eights than lanes that share a row.
        for kv in [KvType::F16, KvType::F32, KvType::I8] {
            all.push(Kernel::Attend { kv, heads: Heads::Four, head_dim: 18 });
        }
        all
    }
}

impl std::fmt::Display for Kernel {
    /// `matvec Q4_0 after a norm, SwiGlu`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kernel::Matvec { format, norm, finish, kv } => {
                let norm = match norm {
                    Norm::None => "",
                    Norm::Computed => " after a norm",
                    Norm::Prepared => " after a prepared norm",
                };
                write!(f, "matvec {format:?}{norm}, {finish:?}")?;
                if *finish == Finish::Rope { write!(f, " {kv:?}") } else { Ok(()) }
            }
            Kernel::Matmul { format, finish, rounded } => {
                let rounded = if *rounded { ", rounded" } else { "" };
                write!(f, "matmul {format:?}, {finish:?}{rounded}")
            }
            Kernel::MatmulJoin { finish } => write!(f, "matmul_join, {finish:?}"),
            Kernel::Rope { kv } => write!(f, "rope {kv:?}"),
            Kernel::Commit { kv } => write!(f, "commit {kv:?}"),
            Kernel::Attend { kv, heads, head_dim } => {
                write!(f, "attend {kv:?}, heads of {head_dim}, {heads:?} at a time")
            }
            Kernel::AttendTile { kv, head_dim } => {
                write!(f, "attend_tile {kv:?}, heads of {head_dim}")
            }
            Kernel::RmsNorm { add: false } => f.write_str("rms_norm"),
            Kernel::RmsNorm { add: true } => f.write_str("rms_norm, Add"),
            Kernel::HeadNorm => f.write_str("head_norm"),
            Kernel::AddBias => f.write_str("add_bias"),
            Kernel::Glu { activation } => write!(f, "glu {activation:?}"),
            Kernel::SoftCap => f.write_str("soft_cap"),
            Kernel::Conv => f.write_str("conv"),
            Kernel::Remember => f.write_str("remember"),
            Kernel::Scan => f.write_str("scan"),
            Kernel::GateNorm => f.write_str("gate_norm"),
            Kernel::MixerStep => f.write_str("mixer_step"),
            Kernel::AttendJoin => f.write_str("attend_join"),
            Kernel::CommitI8 => f.write_str("commit_i8"),
            Kernel::CommitI4 => f.write_str("commit_i4"),
            Kernel::TopK => f.write_str("top_k"),
        }
    }
}
