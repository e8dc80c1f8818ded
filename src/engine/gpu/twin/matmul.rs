//! A block of tokens times a stack of matrices.

use super::super::params::{Finish, Matmul};
use super::{gelu_tanh, silu};

/// `weights` is `[rows][columns]`.
pub(in super::super) fn matmul(
    p: &Matmul,
    finish: Finish,
    weights: &[f32],
    columns: usize,
    x: &[f32],
    out: &mut [f32],
    tokens: usize,
) {
    for token in 0..tokens {
        let x = &x[4 * (p.x_at as usize + token * p.x_stride as usize)..][..columns];
        let product = |row: usize| -> f32 {
            let w = &weights[(p.row as usize + row) * columns..][..columns];
            w.iter().zip(x).map(|(w, x)| w * x).sum()
        };
        let out = &mut out[p.out_at as usize + token * p.out_stride as usize..];
        for row in 0..p.rows as usize {
            match finish {
                Finish::Add => out[row] += product(row),
                Finish::SwiGlu if row % 2 == 0 => {
                    out[row / 2] = silu(product(row)) * product(row + 1);
                }
                Finish::GeGlu if row % 2 == 0 => {
                    out[row / 2] = gelu_tanh(product(row)) * product(row + 1);
                }
                Finish::SwiGlu | Finish::GeGlu => {}
                Finish::Store | Finish::Rope | Finish::Split => out[row] = product(row),
            }
        }
    }
}
