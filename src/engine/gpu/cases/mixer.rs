//! The mixers.

use super::numbers::Numbers;
use super::{Case, arena_with, bits, floats};
use crate::engine::gpu::kernel::Kernel;
use crate::engine::gpu::params;
use crate::engine::gpu::plan::SINCE;
use crate::engine::gpu::twin;

pub(super) fn mixer(numbers: &mut Numbers, kernel: Kernel) -> Case {
    let groups = numbers.one_of(&[1, 2]);
    let heads = groups * (1 + numbers.below(3));
    let inner = heads * (1 + numbers.below(90));
    let state = 1 + numbers.below(20);
    let taps = 1 + numbers.below(5);
    let channels = inner + 2 * groups * state;
    let projected = (inner + channels + heads).next_multiple_of(16);
    let tokens = if kernel == Kernel::MixerStep { 1 } else { 1 + numbers.below(80) };
    let p = params::Mixer {
        inner,
        state,
        groups,
        heads,
        taps,
        channels,
        projected,
        token_stride: 2 * projected,
        gated: inner.next_multiple_of(16),
        constants: (taps + 1) * channels + 3 * heads + inner,
        scan_at: numbers.below(4),
        conv_at: numbers.below(4),
        schedule: 1,
        eps: 1e-5,
    };
    let mut constants = numbers.floats(2 * p.constants as usize, 0.7);
    for side in 0..2 {
        let decays = side * p.constants + (taps + 1) * channels + heads;
        for decay in &mut constants[decays as usize..][..heads as usize] {
            *decay = -1.5 * decay.abs() - 0.01;
        }
    }
    let values = numbers.floats((tokens * p.token_stride) as usize, 1.0);
    let mut past = numbers.floats((p.conv_at + 2 * (taps - 1) * channels) as usize, 1.0);
    let mut states = numbers.floats((p.scan_at + 2 * inner * state) as usize, 1.0);
    let chunk = numbers.one_of(&[1, 2, 5, 8, 40, 1000]);
    let start = numbers.below(chunk);
    let since: Vec<u32> = (start..start + tokens).map(|t| t % chunk).collect();
    // The one of another schedule comes first.
    let words = vec![7; tokens as usize].into_iter().chain(since.iter().copied()).collect();
    let arena = arena_with(tokens, SINCE, words);
    let mixed = numbers.floats((2 * tokens * channels) as usize, 1.0);
    let y = numbers.floats((2 * tokens * inner) as usize, 1.0);
    let mut gated = vec![0.0; (2 * tokens * p.gated) as usize];
    let n = tokens as usize;
    let [c, v, m, y_bits] = [&constants, &values, &mixed, &y].map(|values| bits(values));
    let (past_before, states_before) = (bits(&past), bits(&states));
    let zeros = |len: u32| vec![0; len as usize];
    let (bindings, items, expected) = match kernel {
        Kernel::Conv => {
            let mut out = vec![0.0; mixed.len()];
            twin::conv(&p, &constants, &values, &past, &mut out, &since);
            let bindings = vec![c, v, past_before, zeros(2 * tokens * channels), arena];
            (bindings, [channels, tokens, 2], vec![floats(3, out)])
        }
        Kernel::Remember => {
            twin::remember(&p, &values, &mut past, n);
            (vec![c, v, past_before, arena], [channels, 2, 1], vec![floats(2, past)])
        }
        Kernel::Scan => {
            let mut out = vec![0.0; y.len()];
            twin::scan(&p, &constants, &values, &mixed, &mut states, &mut out, &since);
            let bindings = vec![c, v, m, states_before, zeros(2 * tokens * inner), arena];
            (bindings, [heads, 2, 1], vec![floats(3, states), floats(4, out)])
        }
        Kernel::GateNorm => {
            twin::gate_norm(&p, &constants, &values, &y, &mut gated, n);
            let bindings = vec![c, v, y_bits, zeros(2 * tokens * p.gated), arena];
            (bindings, [tokens, 2, 1], vec![floats(3, gated)])
        }
        _ => {
            let first = since.first().copied().unwrap_or(0);
            twin::mixer_step(&p, &constants, &values, &mut past, &mut states, &mut gated, first);
            let bindings = vec![
                c,
                v,
                past_before,
                states_before,
                zeros(2 * channels),
                zeros(2 * p.gated),
                arena,
            ];
            let expected = vec![floats(2, past), floats(3, states), floats(5, gated)];
            (bindings, [2, 1, 1], expected)
        }
    };
    Case { params: bytemuck::bytes_of(&p).to_vec(), bindings, items, expected }
}
