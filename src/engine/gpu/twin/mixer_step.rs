//! One token through the two mixers: the kernels for many tokens, applied to one.

use super::super::params::Mixer;
use super::{conv, gate_norm, remember, scan};

pub(in super::super) fn mixer_step(
    p: &Mixer,
    constants: &[f32],
    projected: &[f32],
    past: &mut [f32],
    states: &mut [f32],
    out: &mut [f32],
    since: u32,
) {
    let mut mixed = vec![0.0; 2 * p.channels as usize];
    let mut y = vec![0.0; 2 * p.inner as usize];
    conv(p, constants, projected, past, &mut mixed, &[since]);
    remember(p, projected, past, 1);
    scan(p, constants, projected, &mixed, states, &mut y, &[since]);
    gate_norm(p, constants, projected, &y, out, 1);
}
