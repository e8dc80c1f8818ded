//! Operations on rows of activations between products.

use super::numbers::{Numbers, turns};
use super::{Case, arena, arena_with, bits, floats, kept};
use crate::engine::KvType;
use crate::engine::gpu::params;
use crate::engine::gpu::plan::TURNS;
use crate::engine::gpu::twin;
use crate::model::Activation;

pub(super) fn rms_norm(numbers: &mut Numbers, add: bool) -> Case {
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
    let mut x = numbers.floats((tokens * p.x_stride) as usize, 1.0);
    let mut copy = vec![0.0; (tokens * p.copy_stride) as usize + 8];
    let (x_before, copy_before) = (bits(&x), bits(&copy));
    twin::rms_norm(&p, add, &h, &gain, &mut x, &mut copy, tokens as usize);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![
            bits(&h),
            bits(&gain),
            x_before,
            copy_before,
            arena(tokens).words().to_vec(),
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
    // All of a head, nothing, or a part.
    let part = 2 * (1 + numbers.below(head_dim / 2));
    let width = numbers.one_of(&[head_dim, part, 0]);
    let p = params::Rope {
        q_dim,
        kv_dim,
        head_dim,
        q_stride: q_dim + 4,
        kv_stride: kv_dim + 2,
        rows: tokens + 1,
        block_at: numbers.below(3),
        width,
        apart: numbers.one_of(&[1, width.max(2) / 2]),
        table: numbers.below(2),
    };
    let mut q = numbers.floats((tokens * p.q_stride) as usize, 1.0);
    let q_before = bits(&q);
    let kv_values = numbers.floats((2 * tokens * p.kv_stride) as usize, 1.0);
    // From two tables.
    let turns = turns(numbers, (tokens * width) as usize);
    let mut block = vec![0.0; (2 * p.block_at + 2 * kv_dim * p.rows) as usize];
    let own = &turns[(p.table * tokens * width) as usize..];
    twin::rope(&p, &mut q, &kv_values, own, &mut block, tokens as usize);
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

pub(super) fn glu(numbers: &mut Numbers, activation: Activation) -> Case {
    let width = 1 + numbers.below(150);
    let tokens = 1 + numbers.below(5);
    let p = params::Glu { width, up_at: width + 1, stride: 2 * width + 3, out_stride: width + 2 };
    let mut gate_up = numbers.floats((tokens * p.stride) as usize, 4.0);
    // Where an exponential overflows.
    gate_up[0] = -200.0;
    let mut out = vec![0.0; (tokens * p.out_stride) as usize];
    let out_before = bits(&out);
    twin::glu(&p, activation, &gate_up, &mut out, tokens as usize);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![bits(&gate_up), out_before],
        items: [width, tokens, 1],
        expected: vec![floats(1, out)],
    }
}

pub(super) fn head_norm(numbers: &mut Numbers) -> Case {
    let head_dim = 2 * (1 + numbers.below(80));
    let (queries, keys) = (1 + numbers.below(9), 1 + numbers.below(4));
    let tokens = 1 + numbers.below(5);
    let p = params::HeadNorm {
        queries,
        heads: queries + keys,
        head_dim,
        eps: 1e-5,
        q_stride: queries * head_dim + 4,
        k_stride: 2 * (keys * head_dim + 2),
    };
    let mut q = numbers.floats((tokens * p.q_stride) as usize, 2.0);
    let mut k = numbers.floats((tokens * p.k_stride) as usize, 2.0);
    let gain = numbers.floats(2 * head_dim as usize, 1.0);
    let before = [bits(&q), bits(&k)];
    twin::head_norm(&p, &mut q, &mut k, &gain, tokens as usize);
    let [q_before, k_before] = before;
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![q_before, k_before, bits(&gain)],
        items: [p.heads, tokens, 1],
        expected: vec![floats(0, q), floats(1, k)],
    }
}

pub(super) fn add_bias(numbers: &mut Numbers) -> Case {
    let (width, tokens) = (1 + numbers.below(150), 1 + numbers.below(5));
    let p = params::AddBias { width, stride: width + numbers.below(9) };
    let bias = numbers.floats(width as usize, 1.0);
    let mut out = numbers.floats((tokens * p.stride) as usize, 1.0);
    let before = bits(&out);
    twin::add_bias(&p, &bias, &mut out, tokens as usize);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![bits(&bias), before],
        items: [width, tokens, 1],
        expected: vec![floats(1, out)],
    }
}

pub(super) fn soft_cap(numbers: &mut Numbers) -> Case {
    let (width, tokens) = (1 + numbers.below(150), 1 + numbers.below(5));
    let p = params::SoftCap { width, stride: width + numbers.below(9), cap: 30.0 };
    let mut logits = numbers.floats((tokens * p.stride) as usize, 60.0);
    // Where an exponential overflows.
    logits[0] = 4000.0;
    let before = bits(&logits);
    twin::soft_cap(&p, &mut logits, tokens as usize);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![before],
        items: [width, tokens, 1],
        expected: vec![floats(0, logits)],
    }
}
