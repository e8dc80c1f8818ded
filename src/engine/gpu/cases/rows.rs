//! What is done to rows of activations between products.

use super::numbers::{Numbers, turns};
use super::{Case, arena, arena_with, bits, floats, kept};
use crate::engine::KvType;
use crate::engine::gpu::params;
use crate::engine::gpu::plan::TURNS;
use crate::engine::gpu::twin;

pub(super) fn rms_norm(numbers: &mut Numbers) -> Case {
    let cols = 1 + numbers.below(200);
    let tokens = 2 + numbers.below(70);
    let copies = numbers.below(3);
    let p = params::RmsNorm {
        cols,
        eps: 1e-5,
        h_stride: cols + 3,
        x_stride: cols + 1,
        token: numbers.below(2),
        copies,
        copy_at: 2,
        copy_step: cols,
        copy_stride: 2 * cols + 5,
    };
    let h = numbers.floats((tokens * p.h_stride) as usize, 2.0);
    let gain = numbers.floats(cols as usize, 1.0);
    let mut x = vec![0.0; (tokens * p.x_stride) as usize];
    let mut copy = vec![0.0; (tokens * p.copy_stride) as usize + 8];
    let (x_before, copy_before) = (bits(&x), bits(&copy));
    twin::rms_norm(&p, &h, &gain, &mut x, &mut copy, tokens as usize);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![
            bits(&h),
            bits(&gain),
            x_before,
            copy_before,
            arena(tokens, 1).words().to_vec(),
        ],
        items: [tokens, 1, 1],
        expected: vec![floats(2, x), floats(3, copy)],
    }
}

pub(super) fn rope(numbers: &mut Numbers, kv: KvType) -> Case {
    let head_dim = 2 * (1 + numbers.below(40));
    let kv_heads = 1 + numbers.below(3);
    let tokens = 1 + numbers.below(9);
    let q_dim = head_dim * kv_heads * (1 + numbers.below(3));
    let kv_dim = head_dim * kv_heads;
    let p = params::Rope {
        q_dim,
        kv_dim,
        head_dim,
        q_stride: q_dim + 4,
        kv_stride: kv_dim + 2,
        rows: tokens + 1,
    };
    let mut q = numbers.floats((tokens * p.q_stride) as usize, 1.0);
    let q_before = bits(&q);
    let kv_values = numbers.floats((2 * tokens * p.kv_stride) as usize, 1.0);
    let turns = turns(numbers, (tokens * head_dim / 2) as usize);
    let mut block = vec![0.0; (2 * kv_dim * p.rows) as usize];
    twin::rope(&p, &mut q, &kv_values, &turns, &mut block, tokens as usize);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![
            q_before,
            bits(&kv_values),
            arena_with(tokens, TURNS, bits(&turns)),
            vec![0; block.len()],
        ],
        items: [q_dim / 2 + kv_dim, tokens, 1],
        expected: vec![floats(0, q), kept(3, kv, block)],
    }
}

pub(super) fn swiglu(numbers: &mut Numbers) -> Case {
    let width = 1 + numbers.below(150);
    let tokens = 1 + numbers.below(5);
    let p =
        params::SwiGlu { width, up_at: width + 1, stride: 2 * width + 3, out_stride: width + 2 };
    let mut gate_up = numbers.floats((tokens * p.stride) as usize, 4.0);
    // Where an exponential overflows.
    gate_up[0] = -200.0;
    let mut out = vec![0.0; (tokens * p.out_stride) as usize];
    let out_before = bits(&out);
    twin::swiglu(&p, &gate_up, &mut out, tokens as usize);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![bits(&gate_up), out_before],
        items: [width, tokens, 1],
        expected: vec![floats(1, out)],
    }
}
