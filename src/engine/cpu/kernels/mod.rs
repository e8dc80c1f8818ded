//! The kernels, each written once over [`Simd`](super::simd::Simd), and the table that holds them
//! compiled for each instruction set. The best one for the machine is chosen at run time.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "kernels are unsafe functions over raw rows; the contract of each stands at its head, and its body hands it on"
)]

mod activations;
mod attention;
mod attention_block;
mod conv;
mod elementwise;
mod formats;
mod matmul;
#[cfg(target_arch = "x86_64")]
mod matmul_amx;
#[cfg(target_arch = "x86_64")]
mod matmul_amx_bf16;
#[cfg(target_arch = "aarch64")]
mod matmul_neon;
mod matvec;
#[cfg(target_arch = "aarch64")]
mod matvec_neon;
mod rare;
mod scan;
#[cfg(target_arch = "aarch64")]
mod unpack_neon;

pub(super) use activations::{Activations, Row, RowMut};
use attention::Plain;
pub(super) use attention::{Nibbles, Partial, Places, Queries, Rows, Stored};
pub(super) use attention_block::{BlockBuffers, QueryBlock, tokens_of_block};
pub(super) use conv::{Conv, Strided};
pub(super) use matmul::{PANEL, Panel, Target};
pub(super) use scan::Head;

use crate::cache::Run;
use crate::engine::nibbles;
use crate::quant::DType;
use half::f16;
use std::ops::Range;

/// [`attention::attend`] of some elements.
type Attend<R, E> = unsafe fn(&Queries, &Places<R, E>, &[Run], Range<usize>, &mut Partial);

/// [`attention_block::attend_block`] of some elements.
type AttendBlock<R, E> = unsafe fn(&QueryBlock, &Places<R, E>, &[Run], &mut BlockBuffers);

/// The kernels that depend on how activations are rounded.
#[derive(Clone, Copy)]
#[allow(clippy::type_complexity, reason = "a table of functions; each type is written once")]
struct ByRounding {
    /// Largest magnitude of a rounded activation.
    most: i32,
    /// Whether `matmul` reads activations as bf16 terms where weights are F16 or BF16.
    terms: bool,
    quantize: unsafe fn(&mut RowMut, f32),
    /// The same integers in the order that `matmul` wants, where that is not the order of `matvec`.
    quantize_many: unsafe fn(&mut RowMut, f32),
    matvec: unsafe fn(DType, *const u8, usize, Row, &mut [f32]),
    matmul: unsafe fn(DType, *const u8, usize, &Activations, usize, &mut Panel, Target),
}

/// The kernels for one instruction set. What they compute, and their contracts, are documented with
/// the functions of the same names in this module's files.
#[allow(clippy::type_complexity, reason = "a table of functions; each type is written once")]
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// Name of the instruction set.
    pub name: &'static str,
    products: ByRounding,
    /// [`Kernels::products`] of activations in 8 bits.
    int8: ByRounding,
    rms_norm: unsafe fn(*const f32, &[f32], f32, *mut f32),
    swiglu: unsafe fn(&[f32], &[f32], &mut [f32]),
    geglu: unsafe fn(&[f32], &[f32], &mut [f32]),
    cap: unsafe fn(&mut [f32], f32),
    conv: unsafe fn(&Conv, usize, usize, Strided, &[u32], *mut f32),
    scan: unsafe fn(&Head, &mut [f32], *mut f32, usize),
    attend_f32: Attend<f32, f32>,
    attend_f16: Attend<u16, u16>,
    attend_i8: Attend<i8, u16>,
    attend_i4: Attend<Nibbles, u16>,
    attend_block_f32: AttendBlock<f32, f32>,
    attend_block_f16: AttendBlock<u16, u16>,
    attend_block_i8: AttendBlock<i8, u16>,
    attend_block_i4: AttendBlock<Nibbles, u16>,
    divide: unsafe fn(&mut Partial, usize),
    join: unsafe fn(&[f32], &[f32], &[f32], usize, &mut [f32]),
    convert_f32: unsafe fn(&[f32], &mut [f32]),
    convert_f16: unsafe fn(&[f32], &mut [u16]),
}

/// Compiles the kernels of [`ByRounding`] for one instruction set.
macro_rules! products_for {
    ($module:ident, $simd:ty, $most:expr, $matvec:expr, $matmul:expr $(, $features:literal)?) => {
        mod $module {
            use super::*;

            $(#[target_feature(enable = $features)])?
            unsafe fn quantize(row: &mut RowMut, most: f32) {
                unsafe { activations::quantize::<$simd>(row, most) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn matvec(t: DType, w: *const u8, cols: usize, x: Row, out: &mut [f32]) {
                unsafe { $matvec(t, w, cols, x, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn matmul(
                t: DType,
                w: *const u8,
                rows: usize,
                x: &Activations,
                tokens: usize,
                panel: &mut Panel,
                target: Target,
            ) {
                unsafe { $matmul(t, w, rows, x, tokens, panel, target) }
            }

            pub(super) static TABLE: ByRounding =
                ByRounding { most: $most, terms: false, quantize, quantize_many: quantize, matvec, matmul };
        }
    };
}

/// The same for activations in 8 bits: with kernels of their own, or with those that there are, which
/// then multiply smaller numbers.
macro_rules! int8_for {
    (shared $(, $features:literal)?) => {
        mod int8 {
            use super::*;

            pub(super) static TABLE: ByRounding =
                ByRounding { most: ACTIVATION_MAX_INT8, ..products::TABLE };
        }
    };
    (($own:ty, $matvec:expr, $matmul:expr) $(, $features:literal)?) => {
        products_for!(int8, $own, ACTIVATION_MAX_INT8, $matvec, $matmul $(, $features)?);
    };
}

/// Compiles every kernel for one instruction set.
macro_rules! kernels_for {
    (
        $table:ident, $module:ident, $simd:ty, $matvec:expr, $matmul:expr,
        int8: $int8:tt,
        $name:literal $(, $features:literal)?
    ) => {
        mod $module {
            use super::*;

            products_for!(products, $simd, ACTIVATION_MAX, $matvec, $matmul $(, $features)?);
            int8_for!($int8 $(, $features)?);
            $(#[target_feature(enable = $features)])?
            unsafe fn rms_norm(x: *const f32, weight: &[f32], eps: f32, out: *mut f32) {
                unsafe { elementwise::rms_norm::<$simd>(x, weight, eps, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
                unsafe { elementwise::swiglu::<$simd>(gate, up, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn geglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
                unsafe { elementwise::geglu::<$simd>(gate, up, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn cap(x: &mut [f32], cap: f32) {
                unsafe { elementwise::cap::<$simd>(x, cap) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn conv(
                c: &Conv,
                first: usize,
                width: usize,
                input: Strided,
                fresh: &[u32],
                out: *mut f32,
            ) {
                unsafe { conv::conv::<$simd>(c, first, width, input, fresh, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn scan(head: &Head, s: &mut [f32], y: *mut f32, stride: usize) {
                unsafe { scan::scan::<$simd>(head, s, y, stride) }
            }
            $(#[target_feature(enable = $features)])?
            #[inline(never)]
            unsafe fn add_rows(
                q: &Queries,
                unpacked: [*const f32; 2],
                rows: usize,
                into: &mut Partial,
            ) {
                unsafe { attention::add_rows::<$simd>(q, unpacked, rows, into) }
            }
            $(#[target_feature(enable = $features)])?
            #[inline(never)]
            unsafe fn add_to_block(block: &mut attention_block::Block, rows: usize) {
                unsafe { block.add_rows::<$simd>(rows) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn attend_f32(
                q: &Queries,
                places: &Places<f32, f32>,
                runs: &[Run],
                part: Range<usize>,
                into: &mut Partial,
            ) {
                unsafe { attention::attend::<$simd, f32, f32>(q, places, runs, part, into, add_rows) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn attend_f16(
                q: &Queries,
                places: &Places<u16, u16>,
                runs: &[Run],
                part: Range<usize>,
                into: &mut Partial,
            ) {
                unsafe { attention::attend::<$simd, u16, u16>(q, places, runs, part, into, add_rows) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn attend_i8(
                q: &Queries,
                places: &Places<i8, u16>,
                runs: &[Run],
                part: Range<usize>,
                into: &mut Partial,
            ) {
                unsafe { attention::attend::<$simd, i8, u16>(q, places, runs, part, into, add_rows) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn attend_i4(
                q: &Queries,
                places: &Places<Nibbles, u16>,
                runs: &[Run],
                part: Range<usize>,
                into: &mut Partial,
            ) {
                unsafe { attention::attend::<$simd, Nibbles, u16>(q, places, runs, part, into, add_rows) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn attend_block_f32(
                q: &QueryBlock,
                places: &Places<f32, f32>,
                runs: &[Run],
                into: &mut BlockBuffers,
            ) {
                unsafe { attention_block::attend_block::<$simd, f32, f32>(q, places, runs, into, add_to_block) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn attend_block_f16(
                q: &QueryBlock,
                places: &Places<u16, u16>,
                runs: &[Run],
                into: &mut BlockBuffers,
            ) {
                unsafe { attention_block::attend_block::<$simd, u16, u16>(q, places, runs, into, add_to_block) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn attend_block_i8(
                q: &QueryBlock,
                places: &Places<i8, u16>,
                runs: &[Run],
                into: &mut BlockBuffers,
            ) {
                unsafe { attention_block::attend_block::<$simd, i8, u16>(q, places, runs, into, add_to_block) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn attend_block_i4(
                q: &QueryBlock,
                places: &Places<Nibbles, u16>,
                runs: &[Run],
                into: &mut BlockBuffers,
            ) {
                unsafe { attention_block::attend_block::<$simd, Nibbles, u16>(q, places, runs, into, add_to_block) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn divide(into: &mut Partial, head_dim: usize) {
                unsafe { attention::divide::<$simd>(into, head_dim) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn join(outs: &[f32], max: &[f32], sum: &[f32], n: usize, out: &mut [f32]) {
                unsafe { attention::join::<$simd>(outs, max, sum, n, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn convert_f32(from: &[f32], to: &mut [f32]) {
                unsafe { attention::convert::<$simd, f32>(from, to) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn convert_f16(from: &[f32], to: &mut [u16]) {
                unsafe { attention::convert::<$simd, u16>(from, to) }
            }

            pub(super) static TABLE: Kernels = Kernels {
                name: $name,
                products: products::TABLE,
                int8: int8::TABLE,
                rms_norm,
                swiglu,
                geglu,
                cap,
                conv,
                scan,
                attend_f32,
                attend_f16,
                attend_i8,
                attend_i4,
                attend_block_f32,
                attend_block_f16,
                attend_block_i8,
                attend_block_i4,
                divide,
                join,
                convert_f32,
                convert_f16,
            };
        }
        use $module::TABLE as $table;
    };
}

/// Compiles for further instructions the kernels that gain by them, those of products; the others are
/// the base's.
macro_rules! products_beyond {
    (
        $base:ident, $table:ident, $module:ident, $simd:ty, $matvec:expr, $matmul:expr,
        int8: $int8:tt,
        $name:literal, $features:literal
    ) => {
        mod $module {
            use super::*;

            products_for!(products, $simd, ACTIVATION_MAX, $matvec, $matmul, $features);
            int8_for!($int8, $features);

            pub(super) static TABLE: Kernels =
                Kernels { name: $name, products: products::TABLE, int8: int8::TABLE, ..$base };
        }
        use $module::TABLE as $table;
    };
}

use super::simd::{self, ACTIVATION_MAX, ACTIVATION_MAX_INT8};

// Every 64-bit ARM processor has NEON: there the portable kernels are only what tests compare with.
#[cfg(any(not(target_arch = "aarch64"), test, feature = "internals"))]
kernels_for!(
    PORTABLE,
    portable,
    simd::portable::Portable,
    matvec::matvec::<simd::portable::Portable>,
    matmul::matmul::<simd::portable::Portable>,
    int8: shared,
    "portable"
);
#[cfg(target_arch = "x86_64")]
kernels_for!(
    AVX2,
    avx2,
    simd::avx2::Avx2<false>,
    matvec::matvec::<simd::avx2::Avx2<false>>,
    matmul::matmul::<simd::avx2::Avx2<false>>,
    int8: shared,
    "AVX2",
    "avx2,fma,f16c"
);
#[cfg(target_arch = "x86_64")]
products_beyond!(
    AVX2,
    AVX2_VNNI,
    avx2_vnni,
    simd::avx2::Avx2<true>,
    matvec::matvec::<simd::avx2::Avx2<true>>,
    matmul::matmul::<simd::avx2::Avx2<true>>,
    int8: (
        simd::avx2::Avx2Int8,
        matvec::matvec::<simd::avx2::Avx2Int8>,
        matmul::matmul::<simd::avx2::Avx2Int8>
    ),
    "AVX2 VNNI",
    "avx2,fma,f16c,avxvnni"
);
#[cfg(target_arch = "x86_64")]
kernels_for!(
    AVX512,
    avx512,
    simd::avx512::Avx512,
    matvec::matvec::<simd::avx512::Avx512>,
    matmul::matmul::<simd::avx512::Avx512>,
    int8: (
        simd::avx512::Avx512Int8,
        matvec::matvec::<simd::avx512::Avx512Int8>,
        matmul::matmul::<simd::avx512::Avx512Int8>
    ),
    "AVX-512 VNNI",
    "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c"
);
/// AVX-512 for single tokens, and for all that is no product.
#[cfg(target_arch = "x86_64")]
static AMX: Kernels = Kernels {
    name: "AMX",
    products: ByRounding {
        terms: true,
        quantize_many: matmul_amx::quantize::<2>,
        matmul: matmul_amx::matmul::<2>,
        ..AVX512.products
    },
    int8: ByRounding {
        terms: true,
        quantize_many: matmul_amx::quantize::<1>,
        matmul: matmul_amx::matmul::<1>,
        ..AVX512.int8
    },
    ..AVX512
};
#[cfg(target_arch = "aarch64")]
kernels_for!(
    NEON,
    neon,
    simd::neon::Neon<simd::neon::Widening>,
    matvec::matvec::<simd::neon::Neon<simd::neon::Widening>>,
    matmul::matmul::<simd::neon::Neon<simd::neon::Widening>>,
    int8: shared,
    "NEON",
    "neon"
);
#[cfg(target_arch = "aarch64")]
products_beyond!(
    NEON,
    NEON_DOTPROD,
    neon_dotprod,
    simd::neon::Neon<simd::neon::Bytes<false>>,
    matvec_neon::matvec::<simd::neon::Bytes<false>>,
    matmul_neon::matmul::<simd::neon::Bytes<false>>,
    int8: (
        simd::neon::Neon<simd::neon::OneByte<false>>,
        matvec_neon::matvec::<simd::neon::OneByte<false>>,
        matmul_neon::matmul::<simd::neon::OneByte<false>>
    ),
    "NEON dotprod",
    "neon,dotprod"
);
#[cfg(target_arch = "aarch64")]
products_beyond!(
    NEON,
    NEON_I8MM,
    neon_i8mm,
    simd::neon::Neon<simd::neon::Bytes<true>>,
    matvec_neon::matvec::<simd::neon::Bytes<true>>,
    matmul_neon::matmul::<simd::neon::Bytes<true>>,
    int8: (
        simd::neon::Neon<simd::neon::OneByte<true>>,
        matvec_neon::matvec::<simd::neon::OneByte<true>>,
        matmul_neon::matmul::<simd::neon::OneByte<true>>
    ),
    "NEON i8mm",
    "neon,dotprod,i8mm"
);

/// The tables that this machine can run, best first. The last is the portable one, where it is built.
pub(super) fn available() -> Vec<&'static Kernels> {
    let mut tables = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if simd::amx::detected() {
            tables.push(&AMX);
        }
        if simd::avx512::detected() {
            tables.push(&AVX512);
        }
        if simd::avx2::vnni_detected() {
            tables.push(&AVX2_VNNI);
        }
        if simd::avx2::detected() {
            tables.push(&AVX2);
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        if simd::neon::i8mm_detected() {
            tables.push(&NEON_I8MM);
        }
        if simd::neon::dotprod_detected() {
            tables.push(&NEON_DOTPROD);
        }
        tables.push(&NEON);
    }
    #[cfg(any(not(target_arch = "aarch64"), test, feature = "internals"))]
    tables.push(&PORTABLE);
    tables
}

/// Safe entry points to the table. The instruction sets were detected by [`available`]; the checks
/// here compare the lengths of the slices with each other.
impl Kernels {
    /// These, with activations in 8 bits.
    pub fn with_int8_activations(&self) -> Kernels {
        Kernels { products: self.int8, ..*self }
    }

    /// Whether products of many tokens with weights in this format read activations as bf16 terms.
    pub fn reads_terms(&self, dtype: DType) -> bool {
        self.products.terms && matches!(dtype, DType::F16 | DType::BF16)
    }

    /// [`activations::quantize`], for [`Kernels::matvec`].
    pub fn quantize(&self, row: &mut RowMut) {
        // SAFETY: a `RowMut` is consistent by construction.
        unsafe { (self.products.quantize)(row, self.products.most as f32) }
    }

    /// [`activations::quantize`], for [`Kernels::matmul`].
    pub fn quantize_many(&self, row: &mut RowMut) {
        // SAFETY: as above.
        unsafe { (self.products.quantize_many)(row, self.products.most as f32) }
    }

    /// [`matvec::matvec`]
    ///
    /// # Safety
    /// `x` must be a live row of `cols` values, quantized by [`Kernels::quantize`].
    pub unsafe fn matvec(&self, dtype: DType, w: &[u8], cols: usize, x: Row, out: &mut [f32]) {
        let row_bytes = cols / dtype.block_len() * dtype.block_bytes();
        assert!(w.len() == out.len() * row_bytes, "{} rows in {} bytes", out.len(), w.len());
        // SAFETY: the weights are as long as the rows; `x` by contract.
        unsafe { (self.products.matvec)(dtype, w.as_ptr(), cols, x, out) }
    }

    /// [`matmul::matmul`]
    ///
    /// # Safety
    /// `x` must be quantized by [`Kernels::quantize_many`]; `target` must be valid for `tokens`
    /// tokens, and nobody else may touch it.
    pub unsafe fn matmul(
        &self,
        dtype: DType,
        w: &[u8],
        x: &Activations,
        tokens: usize,
        panel: &mut Panel,
        target: Target,
    ) {
        let row_bytes = x.cols() / dtype.block_len() * dtype.block_bytes();
        let rows = w.len() / row_bytes.max(1);
        assert!(rows <= PANEL && w.len() == rows * row_bytes);
        assert!(!self.reads_terms(dtype) || x.has_terms(), "activations without bf16 terms");
        // SAFETY: the weights are as long as the rows; `target` by contract.
        unsafe { (self.products.matmul)(dtype, w.as_ptr(), rows, x, tokens, panel, target) }
    }

    /// [`elementwise::rms_norm`]
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        assert!(x.len() == weight.len() && x.len() == out.len());
        // SAFETY: both are as long as the weights.
        unsafe { (self.rms_norm)(x.as_ptr(), weight, eps, out.as_mut_ptr()) }
    }

    /// [`elementwise::rms_norm`] in place.
    pub fn rms_norm_in_place(&self, x: &mut [f32], weight: &[f32], eps: f32) {
        assert!(x.len() == weight.len());
        // SAFETY: it is as long as the weights; both pointers are made from one.
        unsafe {
            let x = x.as_mut_ptr();
            (self.rms_norm)(x, weight, eps, x);
        }
    }

    /// [`elementwise::swiglu`]
    pub fn swiglu(&self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        // SAFETY: lengths are checked by the kernel.
        unsafe { (self.swiglu)(gate, up, out) }
    }

    /// [`elementwise::geglu`]
    pub fn geglu(&self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        // SAFETY: lengths are checked by the kernel.
        unsafe { (self.geglu)(gate, up, out) }
    }

    /// [`elementwise::cap`]
    pub fn cap(&self, x: &mut [f32], cap: f32) {
        // SAFETY: one slice, and nothing else.
        unsafe { (self.cap)(x, cap) }
    }

    /// [`conv::conv`]
    ///
    /// # Safety
    /// As there.
    pub unsafe fn conv(
        &self,
        c: &Conv,
        first: usize,
        width: usize,
        input: Strided,
        fresh: &[u32],
        out: *mut f32,
    ) {
        assert!(first + width <= c.channels && c.bias.len() == c.channels);
        assert!(c.weight.len() == c.taps * c.channels);
        assert!(c.past.len() == (c.taps - 1) * c.channels);
        // SAFETY: passed on.
        unsafe { (self.conv)(c, first, width, input, fresh, out) }
    }

    /// [`scan::scan`]
    ///
    /// # Safety
    /// As there.
    pub unsafe fn scan(&self, head: &Head, s: &mut [f32], y: *mut f32, stride: usize) {
        assert!(s.len() == head.state * head.width && head.reset.len() == head.dt.len());
        // SAFETY: passed on.
        unsafe { (self.scan)(head, s, y, stride) }
    }

    /// [`attention::attend`]
    ///
    /// # Safety
    /// As there.
    pub unsafe fn attend<K: Kept>(
        &self,
        q: &Queries,
        places: &Places<K::Ring, K::Near>,
        runs: &[Run],
        part: Range<usize>,
        into: &mut Partial,
    ) {
        assert!(into.out.len() == q.heads * q.head_dim);
        assert!(into.max.len() == q.heads && into.sum.len() == q.heads);
        // SAFETY: passed on.
        unsafe { K::attend_of(self)(q, places, runs, part, into) }
    }

    /// [`attention_block::attend_block`]
    ///
    /// # Safety
    /// As there.
    pub unsafe fn attend_block<K: Kept>(
        &self,
        queries: &QueryBlock,
        places: &Places<K::Ring, K::Near>,
        runs: &[Run],
        into: &mut BlockBuffers,
    ) {
        // SAFETY: passed on.
        unsafe { K::attend_block_of(self)(queries, places, runs, into) }
    }

    /// [`attention::divide`]
    pub fn divide(&self, into: &mut Partial, head_dim: usize) {
        assert!(into.out.len() == into.sum.len() * head_dim);
        // SAFETY: lengths were checked.
        unsafe { (self.divide)(into, head_dim) }
    }

    /// [`attention::join`]
    pub fn join(&self, outs: &[f32], max: &[f32], sum: &[f32], head_dim: usize, out: &mut [f32]) {
        assert!(max.len() == sum.len() && outs.len() == max.len() * head_dim);
        assert!(max.len().is_multiple_of(out.len() / head_dim));
        // SAFETY: lengths were checked.
        unsafe { (self.join)(outs, max, sum, head_dim, out) }
    }

    /// [`attention::convert`]
    pub fn convert<K: Kept>(&self, from: &[f32], to: &mut [K::Near]) {
        // SAFETY: lengths are checked by the kernel.
        unsafe { K::convert_of(self)(from, to) }
    }
}

/// A storage type for keys and values, with the entries of the table that depend on it.
pub(super) trait Kept: 'static {
    /// What the ring's rows are made of.
    type Ring: Stored;
    /// Storage type of the values of window and block.
    type Near: Plain;

    fn attend_of(k: &Kernels) -> Attend<Self::Ring, Self::Near>;
    fn attend_block_of(k: &Kernels) -> AttendBlock<Self::Ring, Self::Near>;
    fn convert_of(k: &Kernels) -> unsafe fn(&[f32], &mut [Self::Near]);
    /// Copies a row of the window or of the block to the ring; returns its scale.
    fn keep(near: &[Self::Near], ring: &mut [Self::Ring]) -> f32;
}

/// The precision of window and block. A ring has the same, or is in integers of 8 or 4 bits.
pub(super) trait Precision: 'static {
    /// Storage type of the values of window and block.
    type Near: Plain;
    /// Keys and values of classes whose ring has the same type.
    type Plain: Kept<Near = Self::Near>;
    /// Keys and values of classes whose ring is in 8-bit integers; not used in single precision.
    type Short: Kept<Near = Self::Near>;
    /// The same for integers of four bits.
    type Nibbles: Kept<Near = Self::Near>;
}

impl Precision for Single {
    type Near = f32;
    type Plain = Single;
    type Short = Single;
    type Nibbles = Single;
}

impl Precision for Half {
    type Near = u16;
    type Plain = Half;
    type Short = Bytes;
    type Nibbles = Fours;
}

/// All in single precision.
pub(super) enum Single {}

impl Kept for Single {
    type Ring = f32;
    type Near = f32;

    fn attend_of(k: &Kernels) -> Attend<f32, f32> {
        k.attend_f32
    }
    fn attend_block_of(k: &Kernels) -> AttendBlock<f32, f32> {
        k.attend_block_f32
    }
    fn convert_of(k: &Kernels) -> unsafe fn(&[f32], &mut [f32]) {
        k.convert_f32
    }
    fn keep(near: &[f32], ring: &mut [f32]) -> f32 {
        ring.copy_from_slice(near);
        1.0
    }
}

/// All in half precision.
pub(super) enum Half {}

impl Kept for Half {
    type Ring = u16;
    type Near = u16;

    fn attend_of(k: &Kernels) -> Attend<u16, u16> {
        k.attend_f16
    }
    fn attend_block_of(k: &Kernels) -> AttendBlock<u16, u16> {
        k.attend_block_f16
    }
    fn convert_of(k: &Kernels) -> unsafe fn(&[f32], &mut [u16]) {
        k.convert_f16
    }
    fn keep(near: &[u16], ring: &mut [u16]) -> f32 {
        ring.copy_from_slice(near);
        1.0
    }
}

/// The ring in 8-bit integers with a scale per row, the rest in half precision.
pub(super) enum Bytes {}

impl Kept for Bytes {
    type Ring = i8;
    type Near = u16;

    fn attend_of(k: &Kernels) -> Attend<i8, u16> {
        k.attend_i8
    }
    fn attend_block_of(k: &Kernels) -> AttendBlock<i8, u16> {
        k.attend_block_i8
    }
    fn convert_of(k: &Kernels) -> unsafe fn(&[f32], &mut [u16]) {
        k.convert_f16
    }
    fn keep(near: &[u16], ring: &mut [i8]) -> f32 {
        let value = |bits: &u16| f16::from_bits(*bits).to_f32();
        let greatest = near.iter().map(|bits| value(bits).abs()).fold(0.0, f32::max);
        let scale = greatest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        for (bits, q) in near.iter().zip(ring) {
            *q = (value(bits) * inverse).round_ties_even() as i8;
        }
        scale
    }
}

/// The ring in rotated 4-bit integers, the rest in half precision.
pub(super) enum Fours {}

impl Kept for Fours {
    type Ring = Nibbles;
    type Near = u16;

    fn attend_of(k: &Kernels) -> Attend<Nibbles, u16> {
        k.attend_i4
    }
    fn attend_block_of(k: &Kernels) -> AttendBlock<Nibbles, u16> {
        k.attend_block_i4
    }
    fn convert_of(k: &Kernels) -> unsafe fn(&[f32], &mut [u16]) {
        k.convert_f16
    }
    fn keep(near: &[u16], ring: &mut [Nibbles]) -> f32 {
        nibbles::store(near, bytemuck::cast_slice_mut(ring));
        1.0
    }
}

#[cfg(test)]
mod tests;
