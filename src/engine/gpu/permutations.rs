//! Which files of `shaders` make up which kernel: the single table of permutations.

use super::format::Format;
use super::kernel::{Heads, Kernel};
use super::variants::Need;
use crate::engine::KvType;
use crate::model::Activation;

/// The ways to assemble a kernel.
pub(super) struct Permutations {
    /// Alternative files for the kernel, best first.
    pub files: &'static [&'static str],
    /// For each import in capitals the files that can be substituted for it, best first. Earlier
    /// choices matter more.
    pub choices: Vec<(&'static str, &'static [&'static str])>,
    /// Values of overrides.
    pub constants: Vec<(&'static str, f64)>,
}

/// What some files require of a device.
pub(super) const NEEDS: [(&str, Need); 7] = [
    ("reduce_subgroup", Need::Subgroups),
    ("half_builtin", Need::Halves),
    ("matrices_16", Need::Matrices(16)),
    ("matrices_8", Need::Matrices(8)),
    ("lanes_32", Need::Lanes(32)),
    ("lanes_64", Need::Lanes(64)),
    ("lanes_8", Need::Lanes(8)),
];

/// Kernels without bounds checks. Each file says under "In range:" why no index leaves its array.
pub(super) const IN_RANGE: [&str; 15] = [
    "matmul",
    "matmul_cooperative",
    "matmul_alone",
    "matmul_join",
    "matmul_small",
    "matvec",
    "attend",
    "attend_tile",
    "attend_join",
    "commit",
    "commit_i8",
    "commit_i4",
    "rms_norm",
    "head_norm",
    "gate_norm",
];

/// Files to try first on software drivers: barriers are slow there, and so is workgroup memory.
pub(super) const FIRST_ON_CPU: [&str; 2] = ["reduce_none", "matmul_alone"];

/// Files to try first where an invocation has few registers.
pub(super) const FIRST_WITH_FEW_REGISTERS: [&str; 2] = ["two_rows", "tile_two"];

/// Items in x and y per workgroup: rows, tokens, channels, whatever the kernel counts. For files
/// not listed it is one per lane.
const COVERS: [(&str, [u32; 2]); 16] = [
    ("matvec", [1, 1]),
    ("rms_norm", [1, 1]),
    ("head_norm", [1, 1]),
    ("gate_norm", [1, 1]),
    ("scan", [1, 1]),
    ("mixer_step", [1, 1]),
    ("attend", [1, 1]),
    ("attend_join", [1, 1]),
    ("attend_tile", [1, 1]),
    ("commit_i8", [1, 1]),
    ("commit_i4", [1, 1]),
    ("matmul", [64, 64]),
    ("matmul_cooperative", [64, 64]),
    ("matmul_small", [32, 32]),
    ("matmul_alone", [256, 4]),
    ("top_k", [1024, 1]),
];

/// Default number of lanes per workgroup.
const LANES: u32 = 64;

/// Rows that `attend_tile` takes at a time.
const ROWS_OF_TILE: u32 = 32;

const HALF: (&str, &[&str]) = ("HALF", &["half_builtin", "half_bits"]);
const REDUCE: (&str, &[&str]) = ("REDUCE", &["reduce_subgroup", "reduce_tree", "reduce_none"]);

impl Kernel {
    pub(super) fn permutations(self) -> Permutations {
        let of = |files, choices: &[_], constants: &[_]| Permutations {
            files,
            choices: choices.to_vec(),
            constants: constants.to_vec(),
        };
        match self {
            Kernel::Matvec { format, norm, finish, kv } => of(
                &["matvec"],
                &[
                    ("FORMAT", format_files(format)),
                    REDUCE,
                    HALF,
                    ("DIGITS", &["digits_halves", "digits_bytes"]),
                    ("KV", near_files(kv)),
                ],
                &[("NORM", f64::from(norm as u8)), ("FINISH", f64::from(finish as u8))],
            ),
            Kernel::Matmul { format, finish, rounded } => of(
                &["matmul_cooperative", "matmul", "matmul_small", "matmul_alone"],
                &[
                    ("FORMAT", format_files(format)),
                    HALF,
                    ("DIGITS", &["digits_bytes"]),
                    ("MATRICES", &["matrices_16", "matrices_8"]),
                    ("FACTORS", if rounded { &["factors_rounded"] } else { &["factors_split"] }),
                    // Software drivers have as few as eight.
                    ("LANES", &["lanes_32", "lanes_64", "lanes_8"]),
                ],
                &[("FINISH", f64::from(finish as u8))],
            ),
            Kernel::MatmulJoin { finish } => {
                of(&["matmul_join"], &[], &[("FINISH", f64::from(finish as u8))])
            }
            Kernel::Attend { kv, heads, head_dim } => {
                let heads: &[&str] = match heads {
                    Heads::One => &["heads_1"],
                    Heads::Four => &["heads_4"],
                };
                // A lane takes eight values of a row, and sums up the scores of another.
                let lanes = head_dim.div_ceil(8).max(4);
                let slots = LANES / lanes;
                let steps = if lanes < 8 { 4 } else { 8 };
                let constants = [
                    ("HEAD_DIM", head_dim),
                    ("LANES", lanes),
                    ("SLOTS", slots),
                    ("STEPS", steps),
                    ("TILE", 2 * steps * slots),
                    ("DIMS", 8 * lanes),
                ];
                of(
                    &["attend"],
                    &[
                        ("ROWS", row_files(kv, head_dim)),
                        HALF,
                        ("RING", ring_files(kv)),
                        ("HEADS", heads),
                        ("AT_ONCE", &["four_rows", "two_rows"]),
                    ],
                    &constants.map(|(name, value)| (name, f64::from(value))),
                )
            }
            Kernel::AttendTile { kv, head_dim } => {
                let constants = [
                    ("HEAD_DIM", head_dim),
                    ("LANES", head_dim.div_ceil(8)),
                    ("TILE", ROWS_OF_TILE),
                ];
                let shapes: &[&str] = match columns_of_tile(head_dim) {
                    64 => &["tile_four", "tile_two"],
                    _ => &["tile_wide"],
                };
                of(
                    &["attend_tile"],
                    &[
                        ("ROWS", row_files(kv, head_dim)),
                        HALF,
                        ("RING", ring_files(kv)),
                        ("SHAPE", shapes),
                    ],
                    &constants.map(|(name, value)| (name, f64::from(value))),
                )
            }
            Kernel::Rope { kv } => of(&["rope"], &[("KV", near_files(kv)), HALF], &[]),
            Kernel::Commit { kv } => of(&["commit"], &[("KV", near_files(kv)), HALF], &[]),
            Kernel::CommitI8 => of(&["commit_i8"], &[HALF], &[]),
            Kernel::CommitI4 => of(&["commit_i4"], &[HALF], &[]),
            Kernel::RmsNorm { add } => {
                of(&["rms_norm"], &[REDUCE], &[("ADD", f64::from(u8::from(add)))])
            }
            Kernel::HeadNorm => of(&["head_norm"], &[REDUCE], &[]),
            Kernel::AddBias => of(&["add_bias"], &[], &[]),
            Kernel::GateNorm => of(&["gate_norm"], &[REDUCE], &[]),
            Kernel::Glu { activation } => of(&["glu"], &[("GATE", gate_files(activation))], &[]),
            Kernel::Conv => of(&["conv"], &[], &[]),
            Kernel::Remember => of(&["remember"], &[], &[]),
            Kernel::Scan => of(&["scan"], &[], &[]),
            Kernel::MixerStep => of(&["mixer_step"], &[], &[]),
            Kernel::AttendJoin => of(&["attend_join"], &[], &[]),
            Kernel::SoftCap => of(&["soft_cap"], &[], &[]),
            Kernel::TopK => of(&["top_k"], &[], &[]),
        }
    }
}

/// What a workgroup of a variant covers, given the file of its kernel and its imports.
pub(super) fn covers(file: &str, imports: &[&str]) -> [u32; 2] {
    let found = COVERS.iter().find(|(name, _)| *name == file);
    match found {
        // Nothing is reduced over the workgroup: each lane handles one item.
        Some((_, [1, y])) if imports.contains(&"reduce_none") => [LANES, *y],
        // Half of what those of 16 by 16 do.
        Some((_, [x, y])) if imports.contains(&"matrices_8") => [x / 2, y / 2],
        Some((_, covers)) => *covers,
        None => [LANES, 1],
    }
}

/// The files that read weights of a format.
fn format_files(format: Format) -> &'static [&'static str] {
    match format {
        Format::F32 => &["format_f32"],
        Format::F16 => &["format_f16"],
        Format::BF16 => &["format_bf16"],
        Format::Q8_0 => &["format_q8_0"],
        Format::Q8_1 => &["format_q8_1"],
        Format::Q4_0 => &["format_q4_0"],
        Format::Q4_1 => &["format_q4_1"],
        Format::Q2_K => &["format_q2_k"],
        Format::Q4_K => &["format_q4_k"],
        Format::Q6_K => &["format_q6_k"],
    }
}

/// The file with the activation applied to gates.
fn gate_files(activation: Activation) -> &'static [&'static str] {
    match activation {
        Activation::Silu => &["gate_silu"],
        Activation::GeluTanh => &["gate_gelu_tanh"],
    }
}

/// The file that reads and writes a pair of a key or value in window or block.
fn near_files(kv: KvType) -> &'static [&'static str] {
    match kv {
        KvType::F16 | KvType::I8 | KvType::I4 => &["kv_f16"],
        KvType::F32 => &["kv_f32"],
    }
}

/// The file that reads rows of a ring.
fn ring_files(kv: KvType) -> &'static [&'static str] {
    match kv {
        KvType::I8 => &["ring_i8"],
        KvType::I4 => &["ring_i4"],
        KvType::F16 | KvType::F32 => &["ring_near"],
    }
}

/// The columns of a head's output that a workgroup of `attend_tile` computes, as many as it has lanes.
pub(super) fn columns_of_tile(head_dim: u32) -> u32 {
    if head_dim <= 64 { 64 } else { 128 }
}

/// The file that reads rows of them, of this width. At least four lanes read a row, eight values each.
fn row_files(kv: KvType, head_dim: u32) -> &'static [&'static str] {
    match kv {
        KvType::F32 => &["rows_f32"],
        _ if head_dim.is_multiple_of(8) && head_dim >= 32 => &["rows_f16"],
        _ => &["rows_f16_odd"],
    }
}
