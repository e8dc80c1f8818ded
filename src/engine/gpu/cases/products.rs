//! Matrix products.

use super::numbers::{Numbers, turns};
use super::{Case, arena, arena_with, bits, floats, kept};
use crate::engine::KvType;
use crate::engine::gpu::format::{Format, PIECE, Row};
use crate::engine::gpu::params::{self, Behind, Finish, Norm};
use crate::engine::gpu::plan::TURNS;
use crate::engine::gpu::twin;
use crate::quant::{DType, dequantize, quantize};
use half::f16;

/// Weights of a random matrix: in the GPU layout, and plain, `[rows][columns]`.
struct Weights {
    quants: Vec<u32>,
    scales: Vec<u32>,
    plain: Vec<f32>,
    pieces: usize,
    columns: usize,
}

fn weights(numbers: &mut Numbers, format: Format, rows: usize) -> Weights {
    let types: Vec<DType> = DType::ALL.into_iter().filter(|&t| Format::of(t) == format).collect();
    let dtype = numbers.one_of(&types);
    let blocks = 1 + numbers.below(if dtype.block_len() == 256 { 2 } else { 5 }) as usize;
    let columns = match dtype.block_len() {
        1 => 1 + numbers.below(100) as usize,
        len => len * blocks,
    };
    let pieces = columns.div_ceil(PIECE);
    let mut quants = vec![0; rows * format.quant_words(pieces)];
    let mut scales = vec![0; rows * format.scale_words(pieces)];
    let mut plain = vec![0.0; rows * columns];
    let mut bytes = vec![0; columns / dtype.block_len() * dtype.block_bytes()];
    let mut laid_out = Row::default();
    for row in 0..rows {
        let plain = &mut plain[row * columns..][..columns];
        // So small that scales are subnormal in half precision, which some drivers flush to zero.
        let spread = if row < 8 && dtype.is_quantized() { 1e-4 } else { 1.0 };
        plain.fill_with(|| spread * numbers.uniform());
        if quantize(dtype, plain, &mut bytes).is_err() {
            random_blocks(numbers, dtype, spread, &mut bytes);
        }
        if dequantize(dtype, &bytes, plain).is_err() {
            plain.fill(f32::NAN);
        }
        laid_out.read(dtype, &bytes, pieces);
        laid_out.put(row, &mut quants, &mut scales);
    }
    Weights { quants, scales, plain, pieces, columns }
}

/// Blocks of a type that can only be read.
fn random_blocks(numbers: &mut Numbers, dtype: DType, spread: f32, bytes: &mut [u8]) {
    for block in bytes.chunks_mut(dtype.block_bytes()) {
        block.iter_mut().for_each(|byte| *byte = numbers.bits() as u8);
        let scale = |x: f32| f16::from_f32(x).to_le_bytes();
        let mut put = |at: usize, x: f32| block[at..at + 2].copy_from_slice(&scale(x));
        match dtype {
            DType::Q5_1 | DType::Q5_K => {
                put(0, spread / 16.0);
                put(2, spread / 2.0);
            }
            DType::Q2_K => {
                put(80, spread / 16.0);
                put(82, spread / 16.0);
            }
            DType::Q3_K => put(108, spread / 64.0),
            DType::IQ4_XS => put(0, spread / 2048.0),
            DType::IQ4_NL => put(0, spread / 64.0),
            // Its scale is an exponent.
            DType::MXFP4 => block[0] = if spread < 1.0 { 112 } else { 125 },
            _ => put(0, spread / 16.0),
        }
    }
}

/// Initial contents of an output: zero where weights are tiny, so that their product shows.
fn before(numbers: &mut Numbers, len: usize) -> Vec<f32> {
    let mut values = numbers.floats(len, 1.0);
    let tiny = values.len().min(8);
    values[..tiny].fill(0.0);
    values
}

pub(super) fn matvec(
    numbers: &mut Numbers,
    format: Format,
    norm: Norm,
    finish: Finish,
    kv: KvType,
) -> Case {
    let rows = 16 + 4 * numbers.below(20) as usize;
    let w = weights(numbers, format, rows);
    let stride = w.pieces * PIECE;
    // Of an input with its squares, whether they are read or not.
    let x_stride = stride + 4 * w.pieces;
    let head_dim = 2 * (1 + numbers.below(4));
    let heads = 1 + numbers.below(3);
    let kv_dim = head_dim * heads;
    let keep = numbers.one_of(&[Behind::Pass, Behind::Keep, Behind::AddAndKeep]);
    let first = 4 * numbers.below(3);
    let segments = 1 + numbers.below(2) as usize;
    let total = first as usize + rows;
    let segment = (total.div_ceil(segments)).next_multiple_of(4);
    let mut p = params::Matvec {
        rows: rows as u32,
        pieces: w.pieces as u32,
        first,
        segment: segment as u32,
        x_at: 4,
        x_step: (x_stride / 4) as u32,
        out_at: 4 * numbers.below(3),
        cols: w.columns as f32,
        eps: 1e-5,
        kv_dim,
        head_dim,
        ..Default::default()
    };
    let keep_rows = (total as u32).max(2 * kv_dim.next_multiple_of(4));
    let two_outputs = matches!(finish, Finish::Rope | Finish::Split | Finish::AddAndPrepare);
    if finish == Finish::AddAndPrepare {
        p.kept_at = p.out_at + total as u32;
    } else if two_outputs {
        p.keys = 4 * numbers.below(1 + total as u32 / 8);
        p.values = p.keys + kv_dim.next_multiple_of(4);
        p.kept_at = 2;
        p.store = keep as u32;
    }
    let mut x = vec![0.0; 16 + segments * x_stride];
    for s in 0..segments {
        let values = numbers.floats(w.columns, 1.0);
        let x = &mut x[16 + s * x_stride..];
        x[..w.columns].copy_from_slice(&values);
        x[stride..x_stride].fill_with(|| numbers.uniform().abs());
    }
    let gain = numbers.floats(stride.max(p.out_at as usize + total + 4), 1.0);
    let mut out = before(numbers, p.out_at as usize + total + 4);
    let out_before = bits(&out);
    let turns = turns(numbers, head_dim as usize / 2);
    let passes = finish != Finish::Rope || keep == Behind::Pass;
    // Whole vectors, in values.
    let mut kept_values = vec![0.0; 2 * (keep_rows as usize + 8)];
    twin::matvec(
        &p,
        (norm, finish),
        &w.plain,
        w.columns,
        &x,
        &gain,
        &mut out,
        &turns,
        &mut kept_values,
    );
    let arena = arena_with(1, TURNS, bits(&turns));
    let kept_words = vec![0; kept_values.len()];
    let mut expected = vec![floats(4, out)];
    if two_outputs {
        // Keys and values of rows outside this part are not written, and so are zero.
        let kv = if passes { KvType::F32 } else { kv };
        expected.push(kept(6, kv, kept_values));
    }
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![w.quants, w.scales, bits(&x), bits(&gain), out_before, arena, kept_words],
        items: [rows as u32 / 4, 1, 1],
        expected,
    }
}

pub(super) fn matmul(numbers: &mut Numbers, format: Format, finish: Finish) -> Case {
    let rows = 16 + 4 * numbers.below(20) as usize;
    let row = 4 * numbers.below(3) as usize;
    let w = weights(numbers, format, row + rows);
    let stride = w.pieces * PIECE;
    let tokens = 1 + numbers.below(70) as usize;
    let part_pieces = match finish {
        Finish::Store => 2 * (1 + numbers.below(w.pieces.div_ceil(2) as u32)),
        _ => w.pieces as u32,
    };
    let parts = w.pieces.div_ceil(part_pieces as usize);
    let p = params::Matmul {
        rows: rows as u32,
        pieces: w.pieces as u32,
        row: row as u32,
        x_at: 4,
        x_stride: (stride / 4) as u32,
        out_at: 4,
        out_stride: rows as u32 + 4,
        behind: behind_of(numbers, rows),
        behind_stride: rows as u32 + 8,
        part_pieces,
        part_step: (tokens * (rows + 4)) as u32,
    };
    let mut x = vec![0.0; 16 + tokens * stride];
    for t in 0..tokens {
        let values = numbers.floats(w.columns, 1.0);
        x[16 + t * stride..][..w.columns].copy_from_slice(&values);
    }
    let mut out = vec![0.0; 4 + parts * tokens * (rows + 4)];
    let mut behind = vec![0.0; tokens * (rows + 8)];
    let before = [bits(&out), bits(&behind)];
    for part in 0..parts {
        let outputs = [&mut *out, &mut *behind];
        twin::matmul(&p, (finish, part), &w.plain, w.columns, &x, outputs, tokens);
    }
    let [out_before, behind_before] = before;
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![
            w.quants,
            w.scales,
            bits(&x),
            out_before,
            arena(tokens as u32).words().to_vec(),
            behind_before,
        ],
        items: [rows as u32, tokens as u32, parts as u32],
        expected: vec![floats(3, out), floats(5, behind)],
    }
}

/// Which row goes to the second output, as they are counted in the first: one of them, the first or none.
fn behind_of(numbers: &mut Numbers, rows: usize) -> u32 {
    4 * numbers.below(rows as u32 / 4 + 3)
}

pub(super) fn matmul_join(numbers: &mut Numbers, finish: Finish) -> Case {
    let rows = 4 * (1 + numbers.below(40) as usize);
    let tokens = 1 + numbers.below(9) as usize;
    let parts = 1 + numbers.below(8) as usize;
    let step = rows * (tokens + numbers.below(3) as usize);
    let p = params::MatmulJoin {
        rows: rows as u32,
        parts: parts as u32,
        part_step: step as u32,
        out_at: 4,
        out_stride: rows as u32 + 4,
        behind: behind_of(numbers, rows),
        behind_stride: rows as u32 + 8,
    };
    let sums = numbers.floats(parts * step, 1.0);
    let mut out = numbers.floats(4 + tokens * (rows + 4), 1.0);
    let mut behind = vec![0.0; tokens * (rows + 8)];
    let (out_before, behind_before) = (bits(&out), bits(&behind));
    twin::matmul_join(&p, finish, &sums, [&mut out, &mut behind], tokens);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![bits(&sums), out_before, behind_before],
        items: [rows as u32 / 4, tokens as u32, 1],
        expected: vec![floats(1, out), floats(2, behind)],
    }
}
