//! A product of weights and activations without a model or threads, for counting its instructions.

use super::kernels::{self, Activations, PANEL, Panel, Target};
use crate::error::{Error, Result};
use crate::quant::DType;

/// Multiplies a matrix of `[rows, cols]` weights in format `dtype` with `tokens` rows of
/// activations, `rounds` times on the instruction set `name`: as decode does with one token, as
/// prefill does with more; with activations in 8 bits if `, int8` follows the name. Returns the last
/// product.
pub fn product(
    name: &str,
    dtype: DType,
    [rows, cols]: [usize; 2],
    tokens: usize,
    rounds: usize,
) -> Result<f32> {
    let (set, int8) = name.strip_suffix(", int8").map_or((name, false), |set| (set, true));
    let found = kernels::available().into_iter().find(|k| k.name == set);
    let kernels =
        found.ok_or_else(|| Error::argument(format!("instruction set {set:?}"), "is not there"))?;
    let kernels = if int8 { kernels.with_int8_activations() } else { *kernels };
    if !cols.is_multiple_of(dtype.block_len()) || !rows.is_multiple_of(PANEL) {
        return Err(Error::argument(
            format!("a matrix of {rows} rows of {cols} values"),
            format!("can't be {}", dtype.name()),
        ));
    }
    let row_bytes = cols / dtype.block_len() * dtype.block_bytes();
    // Neither zeros, whose products would be exact, nor exponents of infinities.
    let weights: Vec<u8> = (0..rows * row_bytes).map(|i| (i * 37 % 113) as u8).collect();
    let x = Activations::new(tokens, cols, kernels.reads_terms(dtype))?;
    let mut panel = Panel::new(cols, true)?;
    for t in 0..tokens {
        // SAFETY: one thread, one row at a time.
        let mut row = unsafe { x.row_mut(t) };
        row.x.iter_mut().enumerate().for_each(|(i, x)| *x = ((i + t) % 17) as f32 - 8.0);
        match tokens {
            1 => kernels.quantize(&mut row),
            _ => kernels.quantize_many(&mut row),
        }
    }
    let mut out = vec![0f32; tokens * rows];
    for _ in 0..rounds {
        for (i, weights) in weights.chunks(PANEL * row_bytes).enumerate() {
            let target = Target { out: out[i * PANEL..].as_mut_ptr(), stride: rows, add: false };
            // SAFETY: the activations are a live row of `cols` values each, and the product has
            // room for every token's rows.
            unsafe {
                match tokens {
                    1 => {
                        let out = &mut out[i * PANEL..][..PANEL];
                        kernels.matvec(dtype, weights, cols, x.row(0), out);
                    }
                    _ => kernels.matmul(dtype, weights, &x, tokens, &mut panel, target),
                }
            }
        }
    }
    Ok(out.last().copied().unwrap_or(0.0))
}
