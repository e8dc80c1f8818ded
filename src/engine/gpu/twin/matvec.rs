//! One token's product with a stack of matrices.

use super::super::format::PIECE;
use super::super::params::{Behind, Finish, Matvec, Norm};
use super::{gelu_tanh, silu, turned};

/// `weights` is `[rows][columns]`. If keys and values are stored, their values go to `kept` one by
/// one, without rounding to their type.
#[allow(clippy::too_many_arguments, reason = "the bindings of the kernel")]
pub(in super::super) fn matvec(
    p: &Matvec,
    (norm, finish): (Norm, Finish),
    weights: &[f32],
    columns: usize,
    x: &[f32],
    gain: &[f32],
    out: &mut [f32],
    turns: &[f32],
    kept: &mut [f32],
) {
    let product = |row: usize| {
        let segment = (p.first as usize + row) / p.segment as usize;
        let input = &x[4 * (p.x_at as usize + segment * p.x_step as usize)..];
        let (x, w) = (&input[..columns], &weights[row * columns..][..columns]);
        let factor = |square: f32| 1.0 / (square / p.cols + p.eps).sqrt();
        let pieces = p.pieces as usize;
        let scale = match norm {
            Norm::None => 1.0,
            Norm::Computed => factor(x.iter().map(|v| v * v).sum()),
            Norm::Prepared => factor(input[pieces * PIECE..][..4 * pieces].iter().sum()),
        };
        let gained = norm == Norm::Computed;
        let v = x.iter().zip(gain).map(|(x, g)| if gained { x * g } else { *x });
        scale * w.iter().zip(v).map(|(w, v)| w * v).sum::<f32>()
    };
    for row in (0..p.rows as usize).step_by(2) {
        let pair = [product(row), product(row + 1)];
        let row = p.first as usize + row;
        let at = p.out_at as usize + row;
        match finish {
            Finish::Store => out[at..at + 2].copy_from_slice(&pair),
            Finish::Add => out[at..at + 2].iter_mut().zip(pair).for_each(|(o, y)| *o += y),
            Finish::AddAndPrepare => {
                for (at, y) in (at..).zip(pair) {
                    out[at] += y;
                    kept[at] = out[at] * gain[at];
                    kept[p.kept_at as usize + at / 4] += out[at] * out[at];
                }
            }
            Finish::SwiGlu => out[p.out_at as usize + row / 2] = silu(pair[0]) * pair[1],
            Finish::GeGlu => out[p.out_at as usize + row / 2] = gelu_tanh(pair[0]) * pair[1],
            Finish::Split => {
                let role = row + p.role as usize;
                match role.checked_sub(p.keys as usize) {
                    None => out[at..at + 2].copy_from_slice(&pair),
                    Some(i) => kept[p.kept_at as usize + i..][..2].copy_from_slice(&pair),
                }
            }
            Finish::Rope => {
                let role = row + p.role as usize;
                let (keys, values) = (p.keys as usize, p.values as usize);
                let turn = |i: usize| &turns[i % p.head_dim as usize..][..2];
                if role < keys {
                    out[at..at + 2].copy_from_slice(&turned(pair, turn(role)));
                } else if p.store == Behind::Pass as u32 {
                    kept[p.kept_at as usize + role - keys..][..2].copy_from_slice(&pair);
                } else {
                    let mut value = pair;
                    if p.store == Behind::AddAndKeep as u32 {
                        value = [value[0] + out[at], value[1] + out[at + 1]];
                    }
                    let (i, first, value) = match role < values {
                        true => (role - keys, 0, turned(value, turn(role - keys))),
                        false => (role - values, p.kv_dim as usize, value),
                    };
                    if i < p.kv_dim as usize {
                        kept[2 * p.kept_at as usize + first + i..][..2].copy_from_slice(&value);
                    }
                }
            }
        }
    }
}
