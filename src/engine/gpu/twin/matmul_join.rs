//! The end of a product whose rows are summed up in parts.

use super::super::params::{Finish, MatmulJoin};
use super::{gelu_tanh, silu};

/// `sums` is `[part][token][row]`.
pub(in super::super) fn matmul_join(
    p: &MatmulJoin,
    finish: Finish,
    sums: &[f32],
    [out, behind]: [&mut [f32]; 2],
    tokens: usize,
) {
    for token in 0..tokens {
        let sum = |row: usize| -> f32 {
            let at = token * p.rows as usize + row;
            (0..p.parts as usize).map(|part| sums[part * p.part_step as usize + at]).sum()
        };
        finish_rows(p, finish, token, sum, [out, behind]);
    }
}

/// What becomes of the rows of a token, `row(r)`.
pub(super) fn finish_rows(
    p: &MatmulJoin,
    finish: Finish,
    token: usize,
    row: impl Fn(usize) -> f32,
    [out, behind]: [&mut [f32]; 2],
) {
    let out = &mut out[p.out_at as usize + token * p.out_stride as usize..];
    for r in 0..p.rows as usize {
        match finish {
            Finish::Add | Finish::AddAndPrepare => out[r] += row(r),
            Finish::SwiGlu if r % 2 == 0 => out[r / 2] = silu(row(r)) * row(r + 1),
            Finish::GeGlu if r % 2 == 0 => out[r / 2] = gelu_tanh(row(r)) * row(r + 1),
            Finish::SwiGlu | Finish::GeGlu => {}
            Finish::Split if p.out_at as usize + r >= p.behind as usize => {
                let at = p.out_at as usize + r - p.behind as usize;
                behind[token * p.behind_stride as usize + at] = row(r);
            }
            Finish::Store | Finish::Rope | Finish::Split => out[r] = row(r),
        }
    }
}
