//! A block of tokens times a stack of matrices.

use super::super::format::PIECE;
use super::super::params::{Finish, Matmul, MatmulJoin};
use super::matmul_join::finish_rows;

/// Part `part` of the sums, or all of them and what becomes of them. `weights` is `[rows][columns]`.
pub(in super::super) fn matmul(
    p: &Matmul,
    (finish, part): (Finish, usize),
    weights: &[f32],
    columns: usize,
    x: &[f32],
    [out, behind]: [&mut [f32]; 2],
    tokens: usize,
) {
    let width = p.part_pieces as usize * PIECE;
    let of_part = (part * width).min(columns)..((part + 1) * width).min(columns);
    let out = &mut out[part * p.part_step as usize..];
    let of_rows = MatmulJoin {
        rows: p.rows,
        out_at: p.out_at,
        out_stride: p.out_stride,
        behind: p.behind,
        behind_stride: p.behind_stride,
        ..Default::default()
    };
    for token in 0..tokens {
        let x = &x[4 * (p.x_at as usize + token * p.x_stride as usize)..][of_part.clone()];
        let product = |row: usize| -> f32 {
            let w = &weights[(p.row as usize + row) * columns..][of_part.clone()];
            w.iter().zip(x).map(|(w, x)| w * x).sum()
        };
        finish_rows(&of_rows, finish, token, product, [out, behind]);
    }
}
