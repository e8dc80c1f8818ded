//! Every table compared with plain arithmetic in f64, and with the portable table: the results of a
//! kernel must not depend on the instruction set beyond f32 rounding.

use super::super::simd::{ACTIVATION_MAX, ACTIVATION_MAX_INT8, LANES, Simd};
use super::activations::BLOCK;
use super::scan::STRETCH;
use super::*;
use crate::cache::{self, Place};
use crate::quant::{dequantize, quantize};
use bytemuck::Zeroable;
use half::{bf16, f16};
use proptest::prelude::*;
use proptest::sample::select;
use std::f64::consts::PI;

mod isolation;
mod small;

/// A unit in the last place, relative to the number.
const ULP: f64 = f32::EPSILON as f64;

/// Maximum relative error of `exp`.
const EXP_ERROR: f64 = 2.0 * ULP;

/// Where `exp` is clamped: e^-87.
const CLAMPED: f64 = 1.65e-38;

/// Smaller numbers have fewer bits.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// Allowed error of a sum of `terms` products, relative to the sum of their magnitudes. An addition
/// is off by up to half an [`ULP`] of that, 0.3 in the root mean square, and the errors of many add
/// up like a random walk: 1.5 times the square root of their number is five standard deviations.
/// Three more are for the rounding of each term.
fn rounding(terms: usize) -> f64 {
    (3.0 + 1.5 * (terms as f64).sqrt()) * ULP
}

/// Filler where a kernel must not write.
const UNTOUCHED: f32 = 1e30;

/// Numbers that never change (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in 0..1.
    fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// Uniform in 0..n.
    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// Close enough to normal: the sum of four uniform numbers, with variance 1.
    fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.uniform() - 0.5).sum();
        sum * 3f32.sqrt()
    }

    fn normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.normal()).collect()
    }
}

#[track_caller]
fn assert_close(what: &str, got: f32, wanted: f64, tolerance: f64) {
    let error = (f64::from(got) - wanted).abs();
    let close = error <= tolerance + TINY;
    assert!(close, "{what}: {got} is {error:e} from {wanted}, beyond {tolerance:e}");
}

fn portable() -> &'static Kernels {
    available().last().unwrap()
}

/// All tables, each also with activations in 8 bits.
fn both_roundings() -> Vec<Kernels> {
    available().into_iter().flat_map(|k| [*k, k.with_int8_activations()]).collect()
}

/// The portable table that rounds activations as `k` does.
fn judge_of(k: &Kernels) -> Kernels {
    if k.products.most == ACTIVATION_MAX { *portable() } else { portable().with_int8_activations() }
}

#[test]
fn the_portable_table_is_the_last_of_all() {
    let names: Vec<_> = available().into_iter().map(|k| k.name).collect();
    // Shows what was tested.
    println!("instruction sets: {}", names.join(", "));
    assert_eq!(names.last(), Some(&PORTABLE.name));
    for (i, name) in names.iter().enumerate() {
        assert!(!names[..i].contains(name), "{names:?}");
    }
}

// The operations that kernels are built on.

/// Runs a check on every instruction set that this machine has.
macro_rules! on_every_simd {
    ($check:ident) => {
        $check::<simd::portable::Portable>("portable");
        #[cfg(target_arch = "x86_64")]
        {
            if simd::avx2::detected() {
                $check::<simd::avx2::Avx2<false>>("AVX2");
            }
            if simd::avx2::vnni_detected() {
                $check::<simd::avx2::Avx2<true>>("AVX2 VNNI");
            }
            if simd::avx512::detected() {
                $check::<simd::avx512::Avx512>("AVX-512 VNNI");
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            if simd::neon::detected() {
                $check::<simd::neon::Neon<simd::neon::Widening>>("NEON");
            }
            if simd::neon::dotprod_detected() {
                $check::<simd::neon::Neon<simd::neon::Bytes<false>>>("NEON dotprod");
            }
            if simd::neon::i8mm_detected() {
                $check::<simd::neon::Neon<simd::neon::Bytes<true>>>("NEON i8mm");
            }
        }
    };
}

#[test]
fn exp_is_right_to_two_units_in_the_last_place() {
    fn check<S: Simd>(name: &str) {
        const STEPS: usize = 200_000;
        for chunk in 0..=STEPS / LANES {
            let x: [f32; LANES] = std::array::from_fn(|i| {
                -87.0 + 174.0 * ((chunk * LANES + i).min(STEPS) as f32 / STEPS as f32)
            });
            // SAFETY: the instruction set was detected.
            let y = unsafe { exp_of::<S>(x) };
            for (x, y) in x.into_iter().zip(y) {
                let exact = f64::from(x).exp();
                assert_close(&format!("{name}: exp({x})"), y, exact, EXP_ERROR * exact);
            }
        }
        let x: [f32; LANES] = std::array::from_fn(|i| match i {
            0..4 => 87.0,
            4 => 87.1,
            5 => 1e30,
            6 => f32::MAX,
            7 => f32::INFINITY,
            8..12 => -87.0,
            12 => -87.1,
            13 => -1e30,
            14 => f32::MIN,
            _ => f32::NEG_INFINITY,
        });
        // SAFETY: as above.
        let y = unsafe { exp_of::<S>(x) };
        assert!(y[..8].iter().all(|&e| e == y[0]), "{name}: {y:?}");
        assert!(y[8..].iter().all(|&e| e == y[8]), "{name}: {y:?}");
        // SAFETY: as above.
        let zero = unsafe { exp_of::<S>([0.0; LANES]) };
        assert_eq!(zero, [1.0; LANES], "{name}");
    }

    unsafe fn exp_of<S: Simd>(x: [f32; LANES]) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        unsafe { S::store(out.as_mut_ptr(), S::exp(S::load(x.as_ptr()))) };
        out
    }

    on_every_simd!(check);
}

#[test]
fn f16_and_bf16_load_exactly() {
    fn check<S: Simd>(name: &str) {
        for start in (0..=u16::MAX).step_by(LANES) {
            let bits: [u16; LANES] = std::array::from_fn(|i| start + i as u16);
            let (mut halves, mut brains) = ([0f32; LANES], [0f32; LANES]);
            // SAFETY: the instruction set was detected, and there are 16 lanes.
            let [low, .., high] = unsafe {
                S::store(halves.as_mut_ptr(), S::load_f16(bits.as_ptr()));
                S::store(brains.as_mut_ptr(), S::load_bf16(bits.as_ptr()));
                S::f16x4([0, 3, 7, 15].map(|i| bits.as_ptr().add(i)))
            };
            for i in 0..LANES {
                let (half, brain) = (f16::from_bits(bits[i]), bf16::from_bits(bits[i]));
                assert!(same(halves[i], half.to_f32()), "{name}: {half} came as {}", halves[i]);
                assert!(same(brains[i], brain.to_f32()), "{name}: {brain} came as {}", brains[i]);
            }
            assert!(same(low, halves[0]) && same(high, halves[15]), "{name}: {low}, {high}");
        }
    }
    on_every_simd!(check);
}

/// Equal, or both NaN.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

// Activations.

/// Rows of `cols` activations, quantized by `k` for products of vectors.
fn activations(k: &Kernels, cols: usize, x: &[f32]) -> Activations {
    activations_by(|row| k.quantize(row), cols, x)
}

/// The same for products of matrices.
fn many_activations(k: &Kernels, cols: usize, x: &[f32]) -> Activations {
    activations_by(|row| k.quantize_many(row), cols, x)
}

fn activations_by(quantize: impl Fn(&mut RowMut), cols: usize, x: &[f32]) -> Activations {
    let rows = x.len() / cols;
    let mut a = Activations::new(rows, cols, true).unwrap();
    a.set_cols(cols);
    for (i, values) in x.chunks_exact(cols).enumerate() {
        // SAFETY: one thread, one row at a time.
        let mut row = unsafe { a.row_mut(i) };
        row.x.copy_from_slice(values);
        quantize(&mut row);
    }
    a
}

/// The values that the integers of a row represent.
struct Quantized {
    scale: Vec<f32>,
    sum: Vec<f32>,
    half_sums: Vec<i32>,
}

fn quantized(a: &Activations, row: usize) -> Quantized {
    let (row, blocks) = (a.row(row), a.cols().div_ceil(BLOCK));
    // SAFETY: a row has this many blocks.
    unsafe {
        Quantized {
            scale: std::slice::from_raw_parts(row.scale, blocks).to_vec(),
            sum: std::slice::from_raw_parts(row.sum, blocks).to_vec(),
            half_sums: std::slice::from_raw_parts(row.half_sums, 2 * blocks).to_vec(),
        }
    }
}

/// The integers of a row quantized by the portable table.
fn integers(a: &Activations, row: usize) -> Vec<i16> {
    let len = a.cols().next_multiple_of(BLOCK);
    // SAFETY: a row has whole blocks.
    unsafe { std::slice::from_raw_parts(a.row(row).q, len).to_vec() }
}

/// Values of realistic sizes: most close to one, some far from it, some blocks all zero.
fn inputs(numbers: &mut Numbers, n: usize) -> Vec<f32> {
    let mut x = numbers.normals(n);
    for block in x.chunks_mut(BLOCK) {
        match numbers.below(8) {
            0 => block.fill(0.0),
            1 => block.iter_mut().for_each(|x| *x *= 1e-12),
            2 => block[0] *= 1e3,
            _ => {}
        }
    }
    x
}

#[test]
fn activations_are_rounded_to_fourteen_bits_or_eight() {
    let mut numbers = Numbers(1);
    for cols in [1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 100, 256] {
        let x = inputs(&mut numbers, 8 * cols);
        for (portable, most) in [
            (*portable(), ACTIVATION_MAX),
            (portable().with_int8_activations(), ACTIVATION_MAX_INT8),
        ] {
            let judge = activations(&portable, cols, &x);
            for (i, x) in x.chunks_exact(cols).enumerate() {
                let (q, side) = (integers(&judge, i), quantized(&judge, i));
                for (j, &q) in q.iter().enumerate() {
                    assert!(i32::from(q).abs() <= most);
                    let x = x.get(j).copied().unwrap_or(0.0);
                    let scale = f64::from(side.scale[j / BLOCK]);
                    let error = (f64::from(x) - f64::from(q) * scale).abs();
                    // Half a step, and the rounding of `most` steps.
                    let step = scale * (0.5 + f64::from(most + 1) * rounding(1));
                    assert!(error <= step, "{cols} values: {x} became {q} times {scale}");
                }
                for (b, q) in q.chunks_exact(BLOCK).enumerate() {
                    let halves: Vec<i32> =
                        q.chunks_exact(16).map(|h| h.iter().map(|&q| i32::from(q)).sum()).collect();
                    assert_eq!(halves, side.half_sums[2 * b..2 * b + 2]);
                    assert_eq!(side.sum[b], side.scale[b] * (halves[0] + halves[1]) as f32);
                }
            }
            for k in both_roundings().iter().filter(|k| k.products.most == most) {
                let a = activations(k, cols, &x);
                for i in 0..8 {
                    assert_same_activations(k, &a, &judge, i);
                }
            }
        }
    }
}

/// Asserts that row `i` is the same in the order of `k` as in the portable one.
#[track_caller]
fn assert_same_activations(k: &Kernels, a: &Activations, judge: &Activations, i: usize) {
    let (own, side, q) = (quantized(a, i), quantized(judge, i), integers(judge, i));
    assert_eq!(own.scale, side.scale, "{}: scales of {} values", k.name, a.cols());
    assert_eq!(own.sum, side.sum, "{}: sums of {} values", k.name, a.cols());
    assert_eq!(own.half_sums, side.half_sums, "{}: half sums", k.name);
    // Rows of an identity matrix extract one integer each.
    let mut unit = vec![0u8; q.len() / BLOCK * DType::Q8_0.block_bytes()];
    for (j, &q) in q.iter().enumerate() {
        let block = &mut unit[j / BLOCK * 34..][..34];
        block[..2].copy_from_slice(&f16::ONE.to_le_bytes());
        block[2 + j % BLOCK] = 1;
        let mut out = [0.0];
        // SAFETY: the row is valid for its blocks.
        unsafe { k.matvec(DType::Q8_0, &unit, q_len(a), a.row(i), &mut out) };
        assert_eq!(out[0], f32::from(q) * side.scale[j / BLOCK], "{}: value {j}", k.name);
        unit[j / BLOCK * 34..][..34].fill(0);
    }
}

fn q_len(a: &Activations) -> usize {
    a.cols().next_multiple_of(BLOCK)
}

#[test]
fn nan_and_infinity_do_not_become_integers_out_of_range() {
    let mut numbers = Numbers(2);
    let clean = inputs(&mut numbers, 100);
    for odd in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN] {
        for at in [0, 15, 16, 31, 40, 96, 99] {
            for others in [0, 1, 31] {
                let mut x = clean.clone();
                x[at] = odd;
                let end = (at / BLOCK * BLOCK + others).min(100);
                x[at / BLOCK * BLOCK..end].fill(odd);
                for k in &both_roundings() {
                    let (a, expected) = (activations(k, 100, &x), activations(k, 100, &clean));
                    let (side, expected) = (quantized(&a, 0), quantized(&expected, 0));
                    for (b, sums) in side.half_sums.chunks_exact(2).enumerate() {
                        if b == at / BLOCK {
                            let limit = 16 * k.products.most;
                            assert!(sums.iter().all(|s| s.abs() <= limit), "{}: {sums:?}", k.name);
                        } else {
                            assert_eq!(side.scale[b], expected.scale[b], "{}", k.name);
                            assert_eq!(sums, &expected.half_sums[2 * b..2 * b + 2], "{}", k.name);
                        }
                    }
                }
                for k in [*portable(), portable().with_int8_activations()] {
                    let q = integers(&activations(&k, 100, &x), 0);
                    assert!(q.iter().all(|q| i32::from(*q).abs() <= k.products.most), "{q:?}");
                }
            }
        }
    }
}

// Products.

/// A matrix as stored in a file, and its values.
struct Weights {
    dtype: DType,
    cols: usize,
    bytes: Vec<u8>,
    values: Vec<f32>,
}

impl Weights {
    fn new(dtype: DType, cols: usize, bytes: Vec<u8>) -> Weights {
        let mut values = vec![0.0; bytes.len() / dtype.block_bytes() * dtype.block_len()];
        dequantize(dtype, &bytes, &mut values).unwrap();
        Weights { dtype, cols, bytes, values }
    }

    /// Any bits that a block may have, with scales of a usual size.
    fn random(dtype: DType, rows: usize, cols: usize, numbers: &mut Numbers) -> Weights {
        let mut bytes = vec![0; dtype.bytes_of(rows * cols).unwrap()];
        if dtype.is_quantized() {
            bytes.fill_with(|| numbers.bits() as u8);
            set_scales(dtype, &mut bytes, || 0.02 * numbers.normal());
        } else {
            quantize(dtype, &numbers.normals(rows * cols), &mut bytes).unwrap();
        }
        Weights::new(dtype, cols, bytes)
    }

    fn rows(&self) -> usize {
        self.values.len() / self.cols
    }

    /// The product of a row with `x`, and a bound on the magnitude of its terms: minima and offsets
    /// are added separately from the rest, so the largest weight is used for all.
    fn product(&self, row: usize, x: &[f64]) -> (f64, f64) {
        let w = &self.values[row * self.cols..][..self.cols];
        let greatest = w.iter().fold(0f32, |max, w| max.max(w.abs()));
        let sum = w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
        (sum, x.iter().map(|x| x.abs()).sum::<f64>() * f64::from(greatest))
    }
}

/// Overwrites the f16 numbers of all blocks.
fn set_scales(dtype: DType, bytes: &mut [u8], mut scale: impl FnMut() -> f32) {
    let places: &[usize] = match dtype {
        DType::F32 | DType::F16 | DType::BF16 => &[],
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS => &[0],
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q6_K => &[208],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::MXFP4 => &[],
    };
    for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
        for &place in places {
            let half = f16::from_f32(scale());
            block[place..place + 2].copy_from_slice(&half.to_le_bytes());
        }
        if dtype == DType::MXFP4 {
            // Its scale is an exponent.
            block[0] = 128u8.saturating_add_signed(scale().abs().log2() as i8);
        }
    }
}

/// Rows of activations as numbers: those of the integers if the weights are quantized, so that the
/// products differ only by rounding.
fn meaning(portable: &Kernels, dtype: DType, cols: usize, x: &[f32]) -> Vec<Vec<f64>> {
    let judge = activations(portable, cols, x);
    let rows = x.chunks_exact(cols).enumerate();
    rows.map(|(i, x)| {
        if !dtype.is_quantized() || dtype.is_rare() {
            return x.iter().map(|x| f64::from(*x)).collect();
        }
        let (q, side) = (integers(&judge, i), quantized(&judge, i));
        let value = |j: usize| f64::from(q[j]) * f64::from(side.scale[j / BLOCK]);
        (0..cols).map(value).collect()
    })
    .collect()
}

fn widths(dtype: DType) -> &'static [usize] {
    match dtype.block_len() {
        1 => &[1, 7, 15, 16, 17, 31, 32, 33, 48, 64, 96, 100, 256, 512],
        32 => &[32, 64, 96, 128, 160, 256, 512],
        _ => &[256, 512, 768],
    }
}

fn any_shape() -> impl Strategy<Value = (DType, usize)> {
    select(DType::ALL.to_vec()).prop_flat_map(|t| (Just(t), select(widths(t))))
}

/// Compares `matvec` and `matmul` of every table with f64, with the portable table and with each
/// other.
fn check_products(w: &Weights, x: &[f32], add: bool, gap: usize) {
    for most in [ACTIVATION_MAX, ACTIVATION_MAX_INT8] {
        // The portable table, the last, goes first.
        let tables = both_roundings().into_iter().rev().filter(|k| k.products.most == most);
        check_products_of(&tables.collect::<Vec<_>>(), w, x, add, gap);
    }
}

fn check_products_of(tables: &[Kernels], w: &Weights, x: &[f32], add: bool, gap: usize) {
    let (tokens, rows) = (x.len() / w.cols, w.rows());
    let meaning = meaning(&judge_of(&tables[0]), w.dtype, w.cols, x);
    let mut by_portable = vec![0.0; tokens * rows];
    for k in tables {
        let what = |way: &str, t: usize, r: usize| {
            let (dtype, cols, name, most) = (w.dtype, w.cols, k.name, k.products.most);
            format!("{name}, {most}: {way} {dtype}, row {r} of {rows}, {cols} values, token {t}")
        };
        let a = activations(k, w.cols, x);
        let mut vectors = vec![0.0; tokens * rows];
        for (t, out) in vectors.chunks_exact_mut(rows).enumerate() {
            // SAFETY: row t of the activations is complete.
            unsafe { k.matvec(w.dtype, &w.bytes, w.cols, a.row(t), out) };
        }
        let stride = rows + gap;
        let mut matrix = vec![UNTOUCHED; tokens * stride];
        if add {
            matrix.chunks_exact_mut(stride).for_each(|t| t[..rows].fill(1.0));
        }
        if rows <= PANEL {
            let mut panel =
                Panel::new(w.cols, !w.dtype.is_quantized() || w.dtype.is_rare()).unwrap();
            let target = Target { out: matrix.as_mut_ptr(), stride, add };
            let a = many_activations(k, w.cols, x);
            // SAFETY: the target has room for all the tokens.
            unsafe { k.matmul(w.dtype, &w.bytes, &a, tokens, &mut panel, target) };
        }
        if k.name == portable().name {
            by_portable.copy_from_slice(&vectors);
        }
        for t in 0..tokens {
            for r in 0..rows {
                let (exact, magnitude) = w.product(r, &meaning[t]);
                let tolerance = rounding(w.cols) * magnitude;
                let vector = vectors[t * rows + r];
                assert_close(&what("matvec", t, r), vector, exact, tolerance);
                let judge = f64::from(by_portable[t * rows + r]);
                assert_close(&what("matvec, portable,", t, r), vector, judge, tolerance);
                if rows <= PANEL {
                    let before = f64::from(u8::from(add));
                    let tolerance = tolerance + before * ULP;
                    let product = matrix[t * stride + r];
                    assert_close(&what("matmul", t, r), product, exact + before, tolerance);
                    let vector = f64::from(vector) + before;
                    assert_close(&what("matmul, matvec,", t, r), product, vector, tolerance);
                }
            }
            let beyond = &matrix[t * stride..][rows..stride];
            assert!(beyond.iter().all(|&v| v == UNTOUCHED), "{}: {beyond:?}", k.name);
        }
    }
}

#[test]
fn matrix_times_vector() {
    let mut numbers = Numbers(3);
    for dtype in DType::ALL {
        for &cols in widths(dtype) {
            for rows in 1..=9 {
                let w = Weights::random(dtype, rows, cols, &mut numbers);
                check_products(&w, &inputs(&mut numbers, cols), false, 0);
            }
            let w = Weights::random(dtype, 50, cols, &mut numbers);
            check_products(&w, &inputs(&mut numbers, cols), false, 0);
        }
    }
}

/// No sum of integers may overflow, whatever the weights and the activations.
#[test]
fn products_at_the_ends_of_the_ranges() {
    for dtype in DType::ALL.into_iter().filter(|t| t.is_quantized()) {
        for fill in [0x00, 0x0f, 0x7f, 0x80, 0x88, 0xf0, 0xff] {
            for scales in [0x00, 0x7f, 0x80, 0xff] {
                let cols = 256;
                let mut bytes = vec![fill; dtype.bytes_of(5 * cols).unwrap()];
                for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
                    match dtype {
                        DType::Q6_K => block[192..208].fill(scales),
                        DType::Q4_K | DType::Q5_K => block[4..16].fill(scales),
                        _ => {}
                    }
                }
                set_scales(dtype, &mut bytes, || 1.0);
                let w = Weights::new(dtype, cols, bytes);
                for signs in [[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]] {
                    let x: Vec<f32> = (0..14 * cols).map(|i| 3.0 * signs[i % 2]).collect();
                    check_products(&w, &x, false, 0);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn matrix_times_matrix(
        (dtype, cols) in any_shape(),
        rows in 1..=PANEL,
        tokens in 1..=30usize,
        add: bool,
        gap in 0..5usize,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let w = Weights::random(dtype, rows, cols, &mut numbers);
        check_products(&w, &inputs(&mut numbers, tokens * cols), add, gap);
    }
}

/// The products of a panel, `[token][row]`.
fn panel_product(k: &Kernels, w: &Weights, x: &[f32]) -> Vec<f32> {
    let (rows, tokens) = (w.rows(), x.len() / w.cols);
    let a = many_activations(k, w.cols, x);
    let mut out = vec![0.0; tokens * rows];
    let mut panel = Panel::new(w.cols, !w.dtype.is_quantized() || w.dtype.is_rare()).unwrap();
    let target = Target { out: out.as_mut_ptr(), stride: rows, add: false };
    // SAFETY: the target has room for all the tokens.
    unsafe { k.matmul(w.dtype, &w.bytes, &a, tokens, &mut panel, target) };
    out
}

/// AMX computes the same integers as AVX-512, and adds them in the same order.
#[cfg(target_arch = "x86_64")]
#[test]
fn tiles_change_no_bit() {
    if !simd::amx::detected() {
        return;
    }
    let mut numbers = Numbers(6);
    for dtype in DType::ALL.into_iter().filter(|t| t.is_quantized()) {
        for tokens in [1, 4, 5, 8, 9, 15, 16, 17, 40] {
            let cols = widths(dtype)[numbers.below(widths(dtype).len())];
            let rows = 1 + numbers.below(PANEL);
            let w = Weights::random(dtype, rows, cols, &mut numbers);
            let x = inputs(&mut numbers, tokens * cols);
            for [tiles, judge] in
                [[AMX, AVX512], [AMX.with_int8_activations(), AVX512.with_int8_activations()]]
            {
                let [tiles, judge] = [tiles, judge].map(|k| panel_product(&k, &w, &x));
                assert_eq!(tiles, judge, "{dtype}, {rows} rows of {cols}, {tokens} tokens");
            }
        }
    }
}

/// Weights and activations need not be near 1, nor all of a size.
#[test]
fn floats_of_all_magnitudes() {
    let mut numbers = Numbers(7);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let (least, most) = if dtype == DType::F16 { (-24, 15) } else { (-40, 40) };
        for &cols in widths(dtype) {
            for tokens in [3, 4, 16, 33] {
                let mut any = |n: usize, least: i32, most: i32| -> Vec<f32> {
                    let exponents = (most - least) as usize + 1;
                    let mut one = || {
                        let exponent = least + numbers.below(exponents) as i32;
                        (2.0 * numbers.uniform() - 1.0) * 2f32.powi(exponent)
                    };
                    (0..n).map(|_| one()).collect()
                };
                let rows = 1 + cols % PANEL;
                let mut bytes = vec![0; dtype.bytes_of(rows * cols).unwrap()];
                quantize(dtype, &any(rows * cols, least, most), &mut bytes).unwrap();
                let x = any(tokens * cols, -40, 40);
                check_products(&Weights::new(dtype, cols, bytes), &x, false, 0);
            }
        }
    }
}

/// What is not finite stays so.
#[test]
fn infinite_activations() {
    let mut numbers = Numbers(8);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let w = Weights::random(dtype, 5, 40, &mut numbers);
        for infinite in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut x = inputs(&mut numbers, 20 * w.cols);
            x[3 * w.cols + 7] = infinite;
            for k in available() {
                let product = panel_product(k, &w, &x);
                for (t, rows) in product.chunks_exact(w.rows()).enumerate() {
                    let all = rows.iter().all(|y| y.is_finite() == (t != 3));
                    assert!(all, "{}: {dtype}, token {t}: {rows:?}", k.name);
                }
            }
        }
    }
}

/// A panel is reused for matrices of different kinds.
#[test]
fn a_panel_keeps_nothing_of_the_last_product() {
    let mut numbers = Numbers(4);
    for k in &both_roundings() {
        let mut panel = Panel::new(512, true).unwrap();
        for _ in 0..60 {
            let dtype = DType::ALL[numbers.below(DType::ALL.len())];
            let cols = widths(dtype)[numbers.below(widths(dtype).len())].min(512);
            let rows = 1 + numbers.below(PANEL);
            let w = Weights::random(dtype, rows, cols, &mut numbers);
            let a = many_activations(k, cols, &inputs(&mut numbers, 5 * cols));
            let mut fresh = Panel::new(cols, true).unwrap();
            let outs = [&mut panel, &mut fresh].map(|panel| {
                let mut out = vec![0.0; 5 * rows];
                let target = Target { out: out.as_mut_ptr(), stride: rows, add: false };
                // SAFETY: the target has room for all the tokens.
                unsafe { k.matmul(dtype, &w.bytes, &a, 5, panel, target) };
                out
            });
            assert_eq!(outs[0], outs[1], "{}: {dtype}, {rows} rows of {cols}", k.name);
        }
    }
}

// Norms and activations.

#[test]
fn norms_gates_and_the_cap() {
    let mut numbers = Numbers(5);
    for len in (1..=50).chain([64, 100, 576, 2048]) {
        let [x, weight] = [0, 1].map(|_| inputs(&mut numbers, len));
        // Where silu is nearly nothing, nearly linear, and where its exponential is clamped.
        let gate: Vec<f32> = x.iter().map(|x| 60.0 * x).collect();
        let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
        let root = (squares / len as f64 + 1e-5).sqrt();
        for k in available() {
            let mut out = vec![0.0; len];
            k.rms_norm(&x, &weight, 1e-5, &mut out);
            for i in 0..len {
                let exact = f64::from(x[i]) / root * f64::from(weight[i]);
                let what = format!("{}: rms_norm of {len}", k.name);
                assert_close(&what, out[i], exact, rounding(len) * exact.abs());
            }
            let mut in_place = x.clone();
            k.rms_norm_in_place(&mut in_place, &weight, 1e-5);
            assert_eq!(in_place, out, "{}: rms_norm of {len} in place", k.name);
            k.geglu(&gate, &weight, &mut out);
            for i in 0..len {
                let (gate, up) = (f64::from(gate[i]), f64::from(weight[i]));
                // 1 + tanh(y) without the cancellation at negative y.
                let twice = (8.0 / PI).sqrt() * (gate + 0.044715 * gate.powi(3));
                let exact = gate / (1.0 + (-twice).exp()) * up;
                // An exponential amplifies the rounding of its exponent by the exponent's size.
                let relative = rounding(1) * (1.0 + 4.0 * twice.abs().min(88.0)) + EXP_ERROR;
                let tolerance = relative * exact.abs() + CLAMPED * (gate * up).abs();
                assert_close(&format!("{}: geglu, gate {gate}", k.name), out[i], exact, tolerance);
            }
            let mut capped = gate.clone();
            k.cap(&mut capped, 30.0);
            for i in 0..len {
                let exact = 30.0 * (f64::from(gate[i]) / 30.0).tanh();
                let tolerance = 30.0 * (rounding(1) + EXP_ERROR);
                assert_close(
                    &format!("{}: {} capped", k.name, gate[i]),
                    capped[i],
                    exact,
                    tolerance,
                );
            }
            capped.fill(f32::NAN);
            k.cap(&mut capped, 30.0);
            assert!(capped.iter().all(|x| x.is_nan()), "{}: what is no number stays none", k.name);
            k.swiglu(&gate, &weight, &mut out);
            for i in 0..len {
                let (gate, up) = (f64::from(gate[i]), f64::from(weight[i]));
                let exact = gate / (1.0 + (-gate).exp()) * up;
                let tolerance =
                    (rounding(1) + EXP_ERROR) * exact.abs() + CLAMPED * (gate * up).abs();
                let what = format!("{}: swiglu, gate {gate}", k.name);
                assert_close(&what, out[i], exact, tolerance);
            }
        }
    }
}

// Convolution.

proptest! {
    #[test]
    fn convolution(
        taps in 1..=5usize,
        channels in 1..60usize,
        part in (0.0..1.0f64, 0.0..1.0f64),
        resets in proptest::collection::vec(proptest::bool::weighted(0.2), 1..30),
        since in 0..8u32,
        gap in 0..5usize,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let first = (part.0 * channels as f64) as usize;
        let width = 1 + (part.1 * (channels - first) as f64) as usize;
        let width = width.min(channels - first);
        let (tokens, stride) = (resets.len(), channels + gap);
        let weight = numbers.normals(taps * channels);
        let bias = numbers.normals(channels);
        let past = numbers.normals((taps - 1) * channels);
        let x = numbers.normals(tokens * stride);
        let mut fresh = Vec::new();
        for (t, &reset) in resets.iter().enumerate() {
            let before = if t == 0 { since } else { fresh[t - 1] + 1 };
            fresh.push(if reset { 0 } else { before });
        }
        let c = Conv { taps, weight: &weight, bias: &bias, past: &past, channels };
        for k in available() {
            let mut out = vec![UNTOUCHED; tokens * channels];
            let input = Strided { at: x.as_ptr(), stride };
            // SAFETY: inputs and outputs have all the tokens.
            unsafe { k.conv(&c, first, width, input, &fresh, out.as_mut_ptr()) };
            for (i, &out) in out.iter().enumerate() {
                let (t, channel) = (i / channels, i % channels);
                if !(first..first + width).contains(&channel) {
                    assert_eq!(out, UNTOUCHED, "{}", k.name);
                    continue;
                }
                let (mut sum, mut magnitude) = (f64::from(bias[channel]), 1.0);
                for back in (0..taps).filter(|&back| back <= fresh[t] as usize) {
                    let x = match t.checked_sub(back) {
                        Some(t) => x[t * stride + channel],
                        None => past[(taps - 1 + t - back) * channels + channel],
                    };
                    let w = weight[(taps - 1 - back) * channels + channel];
                    sum += f64::from(w) * f64::from(x);
                    magnitude += (f64::from(w) * f64::from(x)).abs();
                }
                let exact = sum / (1.0 + (-sum).exp());
                // The slope of silu is below 1.1.
                let tolerance = 1.1 * rounding(taps) * magnitude + EXP_ERROR * exact.abs();
                assert_close(&format!("{}: token {t}", k.name), out, exact, tolerance);
            }
        }
    }
}

// The scan.

/// A head's inputs, side by side in one matrix as in the engine.
struct ScanCase {
    width: usize,
    state: usize,
    a: f32,
    d: f32,
    dt: Vec<f32>,
    reset: Vec<bool>,
    /// `[tokens][stride]`: x, then B, then C.
    inputs: Vec<f32>,
    stride: usize,
    /// State before the first token.
    before: Vec<f32>,
}

impl ScanCase {
    fn new(width: usize, state: usize, reset: Vec<bool>, numbers: &mut Numbers) -> ScanCase {
        let tokens = reset.len();
        let stride = width + 2 * state + 3;
        ScanCase {
            width,
            state,
            a: -(2.0 * numbers.normal()).exp(),
            d: numbers.normal(),
            dt: (0..tokens).map(|_| 0.1 * numbers.normal().exp()).collect(),
            reset,
            inputs: numbers.normals(tokens * stride),
            stride,
            before: numbers.normals(width * state),
        }
    }

    /// Outputs and the state after the last token, computed in pieces that begin at `cuts`.
    fn run(&self, k: &Kernels, cuts: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let tokens = self.dt.len();
        let (mut s, y_stride) = (self.before.clone(), self.width + 1);
        let mut y = vec![UNTOUCHED; tokens * y_stride];
        let ends = cuts.iter().skip(1).copied().chain([tokens]);
        for (from, to) in cuts.iter().copied().zip(ends) {
            let part = |at: usize| Strided {
                at: self.inputs[from * self.stride + at..].as_ptr(),
                stride: self.stride,
            };
            let head = Head {
                width: self.width,
                state: self.state,
                a: self.a,
                d: self.d,
                dt: &self.dt[from..to],
                x: part(0),
                b: part(self.width),
                c: part(self.width + self.state),
                reset: &self.reset[from..to],
            };
            // SAFETY: inputs and outputs have these tokens.
            unsafe { k.scan(&head, &mut s, y.as_mut_ptr().add(from * y_stride), y_stride) };
        }
        let beyond = y.iter().skip(self.width).step_by(y_stride);
        assert!(beyond.copied().all(|y| y == UNTOUCHED), "{}", k.name);
        let y = y.chunks_exact(y_stride).flat_map(|y| y[..self.width].to_vec()).collect();
        (y, s)
    }

    /// Outputs and the last state from the recurrence in f64, each with the sum of its terms'
    /// magnitudes.
    #[allow(clippy::type_complexity, reason = "pairs of what the doc comment says")]
    fn exact(&self) -> (Vec<(f64, f64)>, Vec<(f64, f64)>) {
        let mut s: Vec<_> =
            self.before.iter().map(|s| (f64::from(*s), f64::from(s.abs()))).collect();
        let mut y = Vec::new();
        for (t, inputs) in self.inputs.chunks_exact(self.stride).enumerate() {
            let inputs: Vec<_> = inputs.iter().map(|v| f64::from(*v)).collect();
            let (x, rest) = inputs.split_at(self.width);
            let (b, c) = (&rest[..self.state], &rest[self.state..2 * self.state]);
            if self.reset[t] {
                s.fill((0.0, 0.0));
            }
            let dt = f64::from(self.dt[t]);
            let decay = (dt * f64::from(self.a)).exp();
            for (i, b) in b.iter().enumerate() {
                for (s, x) in s[i * self.width..].iter_mut().zip(x) {
                    let input = dt * x * b;
                    *s = (s.0 * decay + input, s.1 * decay + input.abs());
                }
            }
            for (j, x) in x.iter().enumerate() {
                let own = f64::from(self.d) * x;
                let sum = (0..self.state).fold((own, own.abs()), |sum, i| {
                    let s = s[i * self.width + j];
                    (sum.0 + s.0 * c[i], sum.1 + s.1 * c[i].abs())
                });
                y.push(sum);
            }
        }
        (y, s)
    }

    /// Maximum magnitude of an exponent in a stretch. The quadratic form takes differences of such
    /// exponents, so their rounding is a relative error of what it computes.
    fn greatest_exponent(&self) -> f64 {
        let windows = (0..self.dt.len()).map(|t| {
            let end = (t + STRETCH).min(self.dt.len());
            self.dt[t..end].iter().map(|dt| f64::from(*dt)).sum::<f64>()
        });
        windows.fold(0.0, f64::max) * f64::from(self.a.abs())
    }

    /// Checks every table: in one piece, cut at `cuts`, and token by token.
    fn check(&self, cuts: &[usize]) {
        let (y, s) = self.exact();
        let each: Vec<usize> = (0..self.dt.len()).collect();
        // A state is rounded at each token; an output sums over states and over a stretch.
        let sums = rounding(self.dt.len()) + rounding(self.state) + rounding(STRETCH);
        let relative = sums + ULP * self.greatest_exponent();
        for k in available() {
            for (way, cuts) in [("whole", &[0][..]), ("cut", cuts), ("by tokens", &each)] {
                let (own_y, own_s) = self.run(k, cuts);
                for (i, (own, y)) in own_y.into_iter().zip(&y).enumerate() {
                    let what = format!("{}: {way}, y[{}]", k.name, i / self.width);
                    assert_close(&what, own, y.0, relative * y.1);
                }
                for (own, s) in own_s.into_iter().zip(&s) {
                    let what = format!("{}: {way}, state", k.name);
                    assert_close(&what, own, s.0, relative * s.1);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn scan_in_any_pieces(
        width in select(&[1, 5, 16, 40, 64][..]),
        state in select(&[1, 16, 33, 64, 128][..]),
        tokens in 1..100usize,
        reset_share in select(&[0.0, 0.05, 0.2, 0.6][..]),
        pieces in 1..6usize,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let reset = (0..tokens).map(|_| numbers.uniform() < reset_share).collect();
        let mut cuts: Vec<usize> = (1..pieces).map(|_| numbers.below(tokens)).collect();
        cuts.push(0);
        cuts.sort_unstable();
        cuts.dedup();
        ScanCase::new(width, state, reset, &mut numbers).check(&cuts);
    }
}

/// Chunks of every length around that of a stretch, where the form changes.
#[test]
fn scan_of_chunks_around_the_stretch() {
    let mut numbers = Numbers(6);
    for chunk in [1, 2, 3, 8, 16, STRETCH - 1, STRETCH, STRETCH + 1, 2 * STRETCH + 1] {
        for offset in [0, 1, chunk - 1] {
            let tokens = 3 * chunk + 2;
            let reset = (0..tokens).map(|t| (t + offset).is_multiple_of(chunk)).collect();
            ScanCase::new(40, 64, reset, &mut numbers).check(&[0, tokens / 2]);
        }
    }
}

// Attention.

/// Rows in three places, in f32; queries; and runs over the rows.
#[derive(Clone)]
struct AttentionCase {
    heads: usize,
    head_dim: usize,
    q: Vec<f32>,
    /// Keys and values of ring, window and block.
    places: [[Vec<f32>; 2]; 3],
    runs: Vec<Run>,
}

/// Keys and values of an [`AttentionCase`] as they are stored.
struct StoredRows<K: Kept> {
    near: [[Vec<K::Near>; 2]; 3],
    ring: [(Vec<K::Ring>, Vec<f32>); 2],
}

impl<K: Kept> StoredRows<K> {
    fn places(&self) -> Places<K::Ring, K::Near> {
        let near = |index: usize| Rows {
            first: self.near[index].each_ref().map(|values| values.as_ptr()),
            scales: [std::ptr::null(); 2],
        };
        Places {
            ring: Rows {
                first: self.ring.each_ref().map(|(values, _)| values.as_ptr()),
                scales: self.ring.each_ref().map(|(_, scales)| scales.as_ptr()),
            },
            window: near(1),
            block: near(2),
        }
    }
}

impl AttentionCase {
    fn new(heads: usize, head_dim: usize, rows: usize, sharp: f32, numbers: &mut Numbers) -> Self {
        let (mut runs, mut left, mut sizes) = (Vec::new(), rows, [1; 3]);
        while left > 0 {
            let index = numbers.below(3);
            let run = Run {
                place: [Place::Ring, Place::Window, Place::Block][index],
                first: numbers.below(5) as u32,
                step: 1 + numbers.below(3) as u32,
                len: 1 + numbers.below(left.min(70)) as u32,
            };
            left -= run.len as usize;
            sizes[index] = sizes[index].max(run.row(run.len));
            runs.push(run);
        }
        // As the block tables list them.
        runs.sort_by_key(|run| run.place != Place::Ring);
        let q = numbers.normals(heads * head_dim).into_iter().map(|q| sharp * q).collect();
        let places = sizes.map(|size| [0, 1].map(|_| numbers.normals(size * head_dim)));
        AttentionCase { heads, head_dim, q, places, runs }
    }

    /// The key and value of every row of the runs.
    fn rows(&self) -> impl Iterator<Item = [&[f32]; 2]> {
        self.runs.iter().flat_map(move |run| {
            let index = match run.place {
                Place::Ring => 0,
                Place::Window => 1,
                Place::Block => 2,
            };
            (0..run.len).map(move |i| {
                let at = run.row(i) * self.head_dim;
                [0, 1].map(|side| &self.places[index][side][at..at + self.head_dim])
            })
        })
    }

    /// `[heads][head_dim]`: softmax(q k / sqrt(head_dim)) v, with the allowed error of each.
    fn exact(&self) -> Vec<(f64, f64)> {
        let mut out = Vec::new();
        for q in self.q.chunks_exact(self.head_dim) {
            let root = (self.head_dim as f64).sqrt();
            let terms = |k: &[f32]| -> Vec<f64> {
                k.iter().zip(q).map(|(k, q)| f64::from(*k) * f64::from(*q) / root).collect()
            };
            let scores: Vec<f64> = self.rows().map(|[k, _]| terms(k).iter().sum()).collect();
            // The error of a score is a relative error of its weight.
            let score_error = self.rows().fold(0.0, |max: f64, [k, _]| {
                max.max(terms(k).iter().map(|t| t.abs()).sum::<f64>() * rounding(self.head_dim))
            });
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|s| (s - max).exp()).sum();
            let relative = 2.0 * (score_error + EXP_ERROR + rounding(scores.len()));
            for c in 0..self.head_dim {
                let (mut sum, mut tolerance) = (0.0, 0.0);
                for (score, [_, v]) in scores.iter().zip(self.rows()) {
                    let (weight, v) = ((score - max).exp() / total, f64::from(v[c]));
                    sum += weight * v;
                    tolerance += (weight * relative + CLAMPED) * v.abs();
                }
                out.push((sum, tolerance));
            }
        }
        out
    }

    /// The rows as they are stored.
    fn stored<K: Kept>(&self, k: &Kernels) -> StoredRows<K> {
        let near: [[Vec<K::Near>; 2]; 3] = self.places.each_ref().map(|sides| {
            sides.each_ref().map(|values| {
                let mut stored = vec![K::Near::zeroed(); values.len()];
                k.convert::<K>(values, &mut stored);
                stored
            })
        });
        let ring = near[0].each_ref().map(|near| {
            let in_row = K::Ring::in_row(self.head_dim);
            let mut ring = vec![K::Ring::zeroed(); near.len() / self.head_dim * in_row];
            let rows = near.chunks(self.head_dim).zip(ring.chunks_mut(in_row));
            let scales = rows.map(|(near, ring)| K::keep(near, ring)).collect();
            (ring, scales)
        });
        StoredRows { near, ring }
    }

    /// The sums of `parts` parts of the runs, joined; or of one, divided.
    fn run<K: Kept>(&self, k: &Kernels, parts: usize) -> Vec<f32> {
        let stored = self.stored::<K>(k);
        let places = stored.places();
        let rows = cache::rows(&self.runs);
        let Self { heads, head_dim, .. } = *self;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let queries = Queries { q: self.q.as_ptr(), heads, head_dim, scale };
        let size = self.heads * self.head_dim;
        let mut out = vec![UNTOUCHED; parts * size];
        let [mut max, mut sum] = [0, 1].map(|_| vec![UNTOUCHED; parts * self.heads]);
        for part in 0..parts {
            let of_part = part * rows / parts..(part + 1) * rows / parts;
            let mut into = Partial {
                out: &mut out[part * size..][..size],
                max: &mut max[part * self.heads..][..self.heads],
                sum: &mut sum[part * self.heads..][..self.heads],
            };
            // SAFETY: the places hold every row of the runs.
            unsafe { k.attend::<K>(&queries, &places, &self.runs, of_part.clone(), &mut into) };
            if of_part.is_empty() {
                assert!(into.out.iter().chain(&*into.sum).all(|&v| v == 0.0), "{}", k.name);
                assert!(into.max.iter().all(|&v| v == f32::NEG_INFINITY), "{}", k.name);
            }
            if parts == 1 {
                k.divide(&mut into, self.head_dim);
                return out;
            }
        }
        let mut joined = vec![UNTOUCHED; size];
        k.join(&out, &max, &sum, self.head_dim, &mut joined);
        joined
    }

    /// The attention of all heads, which are those of `tokens` tokens, as that of a block.
    fn run_block<K: Kept>(&self, k: &Kernels, tokens: usize) -> Vec<f32> {
        let (heads, n) = (self.heads / tokens, self.head_dim);
        let stored = self.stored::<K>(k);
        let places = stored.places();
        let q = self.q.as_ptr();
        let scale = 1.0 / (n as f32).sqrt();
        let queries = QueryBlock { q, stride: heads * n, tokens, heads, head_dim: n, scale };
        // Whatever a block before it left behind.
        let mut buffers = BlockBuffers::new(heads + 1, n + 1).unwrap();
        // SAFETY: the places hold every row of the runs.
        unsafe { k.attend_block::<K>(&queries, &places, &self.runs, &mut buffers) };
        (0..tokens)
            .flat_map(|token| {
                buffers.take(&queries, token);
                let mut into = Partial {
                    out: &mut buffers.parts.as_mut_slice()[..heads * n],
                    max: &mut buffers.part_max.as_mut_slice()[..heads],
                    sum: &mut buffers.part_sum.as_mut_slice()[..heads],
                };
                k.divide(&mut into, n);
                into.out.to_vec()
            })
            .collect()
    }

    fn check<K: Kept>(&self, parts: usize) {
        self.check_against::<K>(&self.exact(), parts);
    }

    fn check_against<K: Kept>(&self, exact: &[(f64, f64)], parts: usize) {
        for k in available() {
            let ways = if self.runs.is_empty() { vec![] } else { vec![1, parts] };
            for parts in ways {
                for (own, exact) in self.run::<K>(k, parts).into_iter().zip(exact) {
                    let what = format!("{}: {parts} parts", k.name);
                    assert_close(&what, own, exact.0, exact.1);
                }
            }
            let divisors = (1..=self.heads).filter(|n| self.heads.is_multiple_of(*n));
            for tokens in divisors.filter(|_| !self.runs.is_empty()) {
                for (own, exact) in self.run_block::<K>(k, tokens).into_iter().zip(exact) {
                    let what = format!("{}: a block of {tokens} tokens", k.name);
                    assert_close(&what, own, exact.0, exact.1);
                }
            }
        }
    }

    /// With keys and values that f16 represents exactly.
    fn rounded(mut self) -> AttentionCase {
        for value in self.places.iter_mut().flatten().flatten() {
            *value = f16::from_f32(*value).to_f32();
        }
        self
    }

    /// With keys and values that a byte ring represents exactly: whole numbers up to 127, which
    /// each row reaches, times a power of two.
    fn in_bytes(self) -> AttentionCase {
        let mut case = self.rounded();
        for row in case.places[0].iter_mut().flat_map(|values| values.chunks_mut(case.head_dim)) {
            for value in row.iter_mut() {
                *value = (*value * 30.0).round().clamp(-127.0, 127.0) / 32.0;
            }
            row[0] = 127.0 / 32.0;
        }
        case
    }
}

impl AttentionCase {
    /// The same with what is left of the ring's rows in four bits.
    fn in_nibbles(&self) -> AttentionCase {
        let halves = |row: &[f32]| -> Vec<u16> {
            row.iter().map(|value| f16::from_f32(*value).to_bits()).collect()
        };
        let mut case = self.clone().rounded();
        for row in case.places[0].iter_mut().flat_map(|values| values.chunks_mut(self.head_dim)) {
            let mut stored = vec![0; Nibbles::in_row(self.head_dim)];
            nibbles::store(&halves(row), &mut stored);
            let (nibbles, scales) = stored.split_at(self.head_dim / 2);
            let scales: Vec<f16> =
                scales.chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
            row.copy_from_slice(&nibbles::loaded(nibbles, &scales));
        }
        case
    }
}

proptest! {
    #[test]
    fn attention_in_four_bits(
        heads in 1..=40usize,
        head_dim in select(&[32, 64, 128, 256][..]),
        rows in select(&[1, 2, 31, 32, 33, 64, 65, 200][..]),
        parts in 2..5usize,
        sharp in select(&[0.0, 1.0, 10.0][..]),
        seed: u64,
    ) {
        let case = AttentionCase::new(heads, head_dim, rows, sharp, &mut Numbers(seed)).rounded();
        let mut exact = case.in_nibbles().exact();
        // A rotation spreads the errors over the head.
        for of_head in exact.chunks_mut(head_dim) {
            let most = of_head.iter().fold(0.0, |most: f64, (_, tolerance)| most.max(*tolerance));
            of_head.iter_mut().for_each(|(_, tolerance)| *tolerance = most);
        }
        case.check_against::<Fours>(&exact, parts);
    }

    #[test]
    fn attention(
        heads in 1..=8usize,
        head_dim in select(&[2, 6, 16, 64, 80][..]),
        rows in select(&[1, 2, 31, 32, 33, 64, 65, 200][..]),
        parts in 2..5usize,
        sharp in select(&[0.0, 1.0, 10.0][..]),
        seed: u64,
    ) {
        let case = AttentionCase::new(heads, head_dim, rows, sharp, &mut Numbers(seed));
        case.check::<Single>(parts);
        case.rounded().check::<Half>(parts);
        AttentionCase::new(heads, head_dim, rows, sharp, &mut Numbers(seed))
            .in_bytes()
            .check::<Bytes>(parts);
    }
}

#[test]
fn attention_to_nothing_is_nothing() {
    for k in available() {
        let case = AttentionCase::new(3, 80, 0, 1.0, &mut Numbers(7));
        // Two empty parts are included; joining only these is meaningless.
        case.run::<Single>(k, 2);
        case.run::<Half>(k, 2);
        case.run::<Bytes>(k, 2);
    }
    for k in available() {
        AttentionCase::new(3, 64, 0, 1.0, &mut Numbers(7)).run::<Fours>(k, 2);
    }
}

/// A score much larger than those before it must not be lost to rounding, nor the others to it.
#[test]
fn attention_survives_scores_far_apart() {
    for head_dim in [2, 64] {
        for sharp in [1e2, 1e4] {
            let case = AttentionCase::new(2, head_dim, 200, sharp, &mut Numbers(8));
            let exact = case.exact();
            for k in available() {
                let out = case.run::<Single>(k, 1);
                assert!(out.iter().all(|v| v.is_finite()), "{}: {out:?}", k.name);
                for (own, exact) in out.into_iter().zip(&exact) {
                    assert_close(k.name, own, exact.0, exact.1);
                }
            }
        }
    }
}

#[test]
fn keys_and_values_are_stored_as_the_nearest_f16() {
    let mut numbers = Numbers(9);
    let mut x: Vec<f32> = (0..1 << 14).map(|_| f32::from_bits(numbers.bits() as u32)).collect();
    // Values that f16 represents, ties between two of them, and the ends of its range.
    x.extend((0..1 << 14).map(|_| numbers.normal() * (12.0 * numbers.normal()).exp2()));
    x.extend((0..1 << 12).map(|i| f16::from_bits(i * 8 + 5).to_f32() * (1.0 + 1.0 / 2048.0)));
    x.extend((0..1 << 10).map(|i| (i as f32 + 0.5) * 2f32.powi(-24)));
    x.extend([65504.0, 65519.99, 65520.0, -65520.0, 1e-8, -1e-8, 0.0, -0.0, f32::INFINITY]);
    for k in available() {
        let mut halves = vec![0u16; x.len()];
        k.convert::<Half>(&x, &mut halves);
        for (x, &bits) in x.iter().zip(&halves) {
            let (half, nearest) = (f16::from_bits(bits), f16::from_f32(*x));
            let same = if x.is_nan() { half.is_nan() } else { half.to_bits() == nearest.to_bits() };
            assert!(same, "{}: {x} became {half}, not {nearest}", k.name);
        }
        for n in 0..40 {
            let mut copy = vec![UNTOUCHED; n + 1];
            k.convert::<Single>(&x[20_000..20_000 + n], &mut copy[..n]);
            assert_eq!(copy[..n], x[20_000..20_000 + n], "{}", k.name);
            assert_eq!(copy[n], UNTOUCHED, "{}", k.name);
            let mut half = vec![0u16; n + 1];
            k.convert::<Half>(&x[20_000..20_000 + n], &mut half[..n]);
            assert_eq!(half[..n], halves[20_000..20_000 + n], "{}", k.name);
            assert_eq!(half[n], 0, "{}", k.name);
        }
    }
}
