//! `activation(gate) * up`.

use super::super::params::Glu;
use super::activated;
use crate::model::Activation;

pub(in super::super) fn glu(
    p: &Glu,
    activation: Activation,
    gate_up: &[f32],
    out: &mut [f32],
    tokens: usize,
) {
    for token in 0..tokens {
        for i in 0..p.width as usize {
            let at = token * p.stride as usize + i;
            out[token * p.out_stride as usize + i] =
                activated(activation, gate_up[at]) * gate_up[at + p.up_at as usize];
        }
    }
}
