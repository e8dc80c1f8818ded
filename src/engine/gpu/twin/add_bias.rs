//! A bias is added to each token's row.

use super::super::params::AddBias;

pub(in super::super) fn add_bias(p: &AddBias, bias: &[f32], out: &mut [f32], tokens: usize) {
    for token in 0..tokens {
        let row = &mut out[token * p.stride as usize..][..p.width as usize];
        row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
    }
}
