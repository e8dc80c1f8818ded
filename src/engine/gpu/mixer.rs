//! The mixers of a layer: convolution, scan, gate and norm, for keys and values. For one token they
//! are a single kernel, unless they are so wide that it would take long.

use super::kernel::Kernel;
use super::model::{Batch, NormTo, Parts, Walk};
use super::params::{self, Finish};
use super::product::{Input, Product, Shape};
use super::recorder::Items;
use super::weights::{LayerWeights, MixerWeights};
use crate::model::Ssm;

/// Invocations of a mixer in the kernel for one token, and the most states that each of them updates. More
/// would take longer than three dispatches.
const INVOCATIONS: usize = 256;
const MOST_STATES: usize = 128;

/// Epsilon of the norm within a mixer, fixed by the architecture.
const MIXER_EPS: f32 = 1e-5;

impl<'a> Walk<'a> {
    /// Queries, and `kv_s = u + SSM_s(u)` for keys and values, where `u` is the normalized input or
    /// its projection.
    pub fn mix(
        &mut self,
        index: usize,
        layer: &'a LayerWeights,
        mixers: &'a MixerWeights,
        ssm: &Ssm,
    ) {
        let s = self.parts.scratch;
        let w = s.widths;
        match &mixers.w_in {
            Some(w_in) => {
                let x = self.normed(&s.h, layer.attn_norm.as_ref());
                self.product(Product {
                    shape: self.heads(index, &s.kv),
                    ..Product::whole(&layer.first, x, &s.q, Finish::Store)
                });
                self.add_biases(index, layer);
                let x = Input::plain(&s.kv);
                self.product(Product {
                    shape: Shape::Sides { rows: w.projected, x_step: w.kv },
                    ..Product::whole(w_in, x, &s.projected, Finish::Store)
                });
            }
            None => {
                // The mixers' input is the normalized one, and is added to their output later.
                // Without a norm there is no kernel that copies it: see `supports.rs`.
                if let Some(gain) = &layer.attn_norm {
                    self.norm(&s.h, gain, &s.x, NormTo::Copies);
                }
                let x = Input::plain(&s.x);
                self.product(Product {
                    shape: self.heads(index, &s.projected),
                    ..Product::whole(&layer.first, x, &s.q, Finish::Store)
                });
                self.add_biases(index, layer);
            }
        }
        let p = self.mixer_params(index, ssm);
        match self.batch {
            Batch::Token if ssm.inner * ssm.state <= INVOCATIONS * MOST_STATES => {
                self.step(index, mixers, &p);
            }
            _ => self.scan(index, mixers, &p),
        }
        self.product(Product {
            shape: Shape::Sides { rows: w.kv, x_step: w.inner },
            kept: Some(index),
            ..Product::whole(&mixers.w_out, Input::plain(&s.gated), &s.kv, Finish::Add)
        });
    }

    /// One token through both mixers.
    fn step(&mut self, index: usize, mixers: &'a MixerWeights, p: &params::Mixer) {
        let Parts { scratch: s, memory, .. } = self.parts;
        let (constants, Some(state)) = (&mixers.constants, memory.mixer(index)) else { return };
        self.record.add(
            Kernel::MixerStep,
            p,
            [constants, &s.projected, &state.conv, &state.scan, &s.mixed, &s.gated, self.arena],
            Items::fixed([2, 1, 1]),
        );
    }

    /// Any number of tokens through both mixers, each head of them in a workgroup of its own.
    fn scan(&mut self, index: usize, mixers: &'a MixerWeights, p: &params::Mixer) {
        let Parts { scratch: s, memory, .. } = self.parts;
        let (constants, Some(state)) = (&mixers.constants, memory.mixer(index)) else { return };
        self.record.add(
            Kernel::Conv,
            p,
            [constants, &s.projected, &state.conv, &s.mixed, self.arena],
            Items::tokens([p.channels, 1, 2], 1),
        );
        if p.taps > 1 {
            self.record.add(
                Kernel::Remember,
                p,
                [constants, &s.projected, &state.conv, self.arena],
                Items::fixed([p.channels, 2, 1]),
            );
        }
        self.record.add(
            Kernel::Scan,
            p,
            [constants, &s.projected, &s.mixed, &state.scan, &s.y, self.arena],
            Items::fixed([p.heads, 2, 1]),
        );
        self.record.add(
            Kernel::GateNorm,
            p,
            [constants, &s.projected, &s.y, &s.gated, self.arena],
            Items::tokens([1, 2, 1], 0),
        );
    }

    fn mixer_params(&self, index: usize, ssm: &Ssm) -> params::Mixer {
        let s = self.parts.scratch;
        let channels = ssm.channels();
        params::Mixer {
            inner: ssm.inner as u32,
            state: ssm.state as u32,
            groups: ssm.groups as u32,
            heads: ssm.heads as u32,
            taps: ssm.conv as u32,
            channels: channels as u32,
            projected: s.widths.projected,
            token_stride: s.projected.stride,
            gated: s.widths.inner,
            constants: ((ssm.conv + 1) * channels + 3 * ssm.heads + ssm.inner) as u32,
            scan_at: 0,
            conv_at: 0,
            schedule: self.parts.schedules[index] as u32,
            eps: MIXER_EPS,
        }
    }
}
