//! The parameters of each kernel; names and order are those of the shaders.

use bytemuck::{Pod, Zeroable};

/// How a product kernel finishes: what happens to its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// They are written out.
    Store = 0,
    /// They are accumulated.
    Add = 1,
    /// They are alternating gates and ups: `silu(gate) * up` is written out.
    SwiGlu = 2,
    /// They are queries, which are rotated, and keys and values.
    Rope = 3,
    /// As [`Finish::SwiGlu`], with GELU in its tanh approximation.
    GeGlu = 4,
    /// They are queries, and keys and values, which go to the second output; nothing is rotated.
    Split = 5,
    /// As [`Finish::Add`], and what [`Norm::Prepared`] reads goes to the second output.
    AddAndPrepare = 6,
}

/// Whether a product of one token multiplies `RMSNorm(x) * gain` instead of `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Norm {
    /// It does not.
    None = 0,
    /// It computes the norm.
    Computed = 1,
    /// Its input has been multiplied by the gain, and is followed by sums of squares of four values
    /// each: see [`Finish::AddAndPrepare`].
    Prepared = 2,
}

impl Finish {
    /// Whether rows are alternating gates and ups, so that there are half as many outputs.
    pub(super) fn is_gated(self) -> bool {
        matches!(self, Finish::SwiGlu | Finish::GeGlu)
    }
}

/// What `matvec` with [`Finish::Rope`] does with the rows after the queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// They go to the second output unchanged.
    Pass = 0,
    /// They go to the block, with keys rotated.
    Keep = 1,
    /// The existing contents of the output are added first.
    AddAndKeep = 2,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Matvec {
    pub rows: u32,
    pub pieces: u32,
    pub first: u32,
    pub segment: u32,
    pub x_at: u32,
    pub x_step: u32,
    pub out_at: u32,
    pub cols: f32,
    pub eps: f32,
    pub role: u32,
    pub keys: u32,
    pub values: u32,
    pub kv_dim: u32,
    pub head_dim: u32,
    pub kept_at: u32,
    pub store: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Matmul {
    pub rows: u32,
    pub pieces: u32,
    pub row: u32,
    pub x_at: u32,
    pub x_stride: u32,
    pub out_at: u32,
    pub out_stride: u32,
    pub behind: u32,
    pub behind_stride: u32,
    pub part_pieces: u32,
    pub part_step: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct MatmulJoin {
    pub rows: u32,
    pub parts: u32,
    pub part_step: u32,
    pub out_at: u32,
    pub out_stride: u32,
    pub behind: u32,
    pub behind_stride: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct RmsNorm {
    pub cols: u32,
    pub eps: f32,
    pub h_stride: u32,
    pub x_stride: u32,
    pub token: u32,
    pub copies: u32,
    pub copy_at: u32,
    pub copy_step: u32,
    pub copy_stride: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Rope {
    pub q_dim: u32,
    pub kv_dim: u32,
    pub head_dim: u32,
    pub q_stride: u32,
    pub kv_stride: u32,
    pub rows: u32,
    pub block_at: u32,
    pub width: u32,
    pub apart: u32,
    pub table: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct HeadNorm {
    pub queries: u32,
    pub heads: u32,
    pub head_dim: u32,
    pub eps: f32,
    pub q_stride: u32,
    pub k_stride: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct AddBias {
    pub width: u32,
    pub stride: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct SoftCap {
    pub width: u32,
    pub stride: u32,
    pub cap: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Glu {
    pub width: u32,
    pub up_at: u32,
    pub stride: u32,
    pub out_stride: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Mixer {
    pub inner: u32,
    pub state: u32,
    pub groups: u32,
    pub heads: u32,
    pub taps: u32,
    pub channels: u32,
    pub projected: u32,
    pub token_stride: u32,
    pub gated: u32,
    pub constants: u32,
    pub scan_at: u32,
    pub conv_at: u32,
    pub schedule: u32,
    pub eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Attend {
    pub heads: u32,
    pub shared_by: u32,
    pub kv_heads: u32,
    pub q_stride: u32,
    pub out_stride: u32,
    pub first_head: u32,
    pub kind: u32,
    pub window_at: u32,
    pub block_at: u32,
    pub window_rows: u32,
    pub block_rows: u32,
    pub scale: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct AttendJoin {
    pub heads: u32,
    pub head_dim: u32,
    pub shared_by: u32,
    pub first_head: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Commit {
    pub layer: u32,
    pub pairs: u32,
    pub columns: u32,
    pub kind: u32,
    pub window_rows: u32,
    pub block_rows: u32,
    pub window_at: u32,
    pub window_step: u32,
    pub block_at: u32,
    pub block_step: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct TopK {
    pub count: u32,
    pub bare: u32,
    pub source: u32,
    pub results: u32,
}
