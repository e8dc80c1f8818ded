//! Twins: CPU reference implementations of the kernels, as plain as possible, which drivers are
//! validated against. One file per kernel, with the same name and the same parameters.

mod add_bias;
mod attend;
mod attend_join;
mod commit;
mod commit_i4;
mod commit_i8;
mod conv;
mod gate_norm;
mod glu;
mod head_norm;
mod matmul;
mod matmul_join;
mod matvec;
mod mixer_step;
mod remember;
mod rms_norm;
mod rope;
mod scan;
mod soft_cap;
mod top_k;

pub(super) use add_bias::add_bias;
pub(super) use attend::attend_part;
pub(super) use attend_join::attend_join;
pub(super) use commit::commit;
pub(super) use commit_i4::commit_i4;
pub(super) use commit_i8::commit_i8;
pub(super) use conv::conv;
pub(super) use gate_norm::gate_norm;
pub(super) use glu::glu;
pub(super) use head_norm::head_norm;
pub(super) use matmul::matmul;
pub(super) use matmul_join::matmul_join;
pub(super) use matvec::matvec;
pub(super) use mixer_step::mixer_step;
pub(super) use remember::remember;
pub(super) use rms_norm::rms_norm;
pub(super) use rope::rope;
pub(super) use scan::scan;
pub(super) use soft_cap::soft_cap;
pub(super) use top_k::top_k;

use super::params::Mixer;
use crate::model::Activation;

/// The constants of the mixers, by name.
struct Constants<'a> {
    p: &'a Mixer,
    all: &'a [f32],
}

impl Constants<'_> {
    fn at(&self, side: usize, index: usize) -> f32 {
        self.all[side * self.p.constants as usize + index]
    }

    fn conv_weight(&self, side: usize, tap: usize, channel: usize) -> f32 {
        self.at(side, tap * self.p.channels as usize + channel)
    }

    fn conv_bias(&self, side: usize, channel: usize) -> f32 {
        self.conv_weight(side, self.p.taps as usize, channel)
    }

    /// Bias of the step sizes (0), decay rate (1) or input weight (2) of a head.
    fn of_head(&self, side: usize, which: usize, head: usize) -> f32 {
        let start = (self.p.taps + 1) * self.p.channels + which as u32 * self.p.heads;
        self.at(side, start as usize + head)
    }

    fn norm_weight(&self, side: usize, channel: usize) -> f32 {
        self.of_head(side, 3, channel)
    }
}

fn silu(x: f32) -> f32 {
    x / (1.0 + (-x).exp())
}

/// GELU in its tanh approximation.
fn gelu_tanh(x: f32) -> f32 {
    // In double precision: `1 + tanh` is a small difference where `x` is negative.
    let x = f64::from(x);
    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    (0.5 * x * (1.0 + u.tanh())) as f32
}

/// The activation applied to a gate.
fn activated(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Silu => silu(x),
        Activation::GeluTanh => gelu_tanh(x),
    }
}

fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

/// Rotates a pair by an angle given as cosine and sine.
fn turned(pair: [f32; 2], turn: &[f32]) -> [f32; 2] {
    [pair[0] * turn[0] - pair[1] * turn[1], pair[0] * turn[1] + pair[1] * turn[0]]
}
