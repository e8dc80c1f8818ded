//! `silu(gate) * up`.

use super::super::params::SwiGlu;
use super::silu;

pub(in super::super) fn swiglu(p: &SwiGlu, gate_up: &[f32], out: &mut [f32], tokens: usize) {
    for token in 0..tokens {
        for i in 0..p.width as usize {
            let at = token * p.stride as usize + i;
            out[token * p.out_stride as usize + i] =
                silu(gate_up[at]) * gate_up[at + p.up_at as usize];
        }
    }
}
