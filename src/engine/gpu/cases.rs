//! Small inputs for every kernel, with what its twin makes of them. The sizes are as awkward as a
//! seed makes them: the proof at load takes one seed, the tests take many.

use super::format::{Format, PIECE, repack};
use super::params::{self, Behind, Finish};
use super::plan::{Arena, MOVES, SEEN, SINCE, TURNS, place};
use super::twin;
use super::variants::Kernel;
use crate::chunk::{Place, Run};
use crate::engine::KvType;
use crate::quant::{DType, dequantise, quantise};
use half::f16;

/// One run of a kernel.
pub(super) struct Case {
    pub params: Vec<u8>,
    /// The words of the bindings from 1 on.
    pub bindings: Vec<Vec<u32>>,
    /// Items in each dimension.
    pub items: [u32; 3],
    pub expected: Vec<Expected>,
}

/// What a binding must hold afterwards.
pub(super) struct Expected {
    /// Index in [`Case::bindings`].
    pub binding: usize,
    pub values: Values,
}

pub(super) enum Values {
    Floats(Vec<f32>),
    /// Two to a word.
    Halves(Vec<f32>),
    Words(Vec<u32>),
    /// Words of four integers, each of which may be rounded to its neighbour, and of floats, whose
    /// last bits may differ.
    Integers(Vec<u32>),
}

/// xorshift64* (Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Numbers {
        let mut numbers = Numbers((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| {
            numbers.bits();
        });
        numbers
    }

    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(end)) >> 32) as u32
    }

    /// Uniform in -1..1.
    fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn floats(&mut self, len: usize, spread: f32) -> Vec<f32> {
        (0..len).map(|_| spread * self.uniform()).collect()
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn floats(binding: usize, values: Vec<f32>) -> Expected {
    Expected { binding, values: Values::Floats(values) }
}

/// Cosines and sines of random angles.
fn turns(numbers: &mut Numbers, pairs: usize) -> Vec<f32> {
    (0..pairs)
        .flat_map(|_| {
            let (sin, cos) = (3.0 * numbers.uniform()).sin_cos();
            [cos, sin]
        })
        .collect()
}

fn arena(tokens: u32, parts: u32) -> Arena {
    let mut arena = Arena::with_capacity(64);
    arena.begin(tokens as usize, parts as usize);
    arena
}

fn arena_with(tokens: u32, list: usize, words: Vec<u32>) -> Vec<u32> {
    let mut arena = arena(tokens, 1);
    arena.list(list);
    arena.push(words);
    arena.words().to_vec()
}

/// Values in the form they are kept in.
fn stored(kv: KvType, values: &[f32]) -> Vec<u32> {
    match kv {
        KvType::F32 => bits(values),
        _ => values
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| {
                let [a, b] = pair.map(|x| u32::from(f16::from_f32(x).to_bits()));
                a | b << 16
            })
            .collect(),
    }
}

fn kept(binding: usize, kv: KvType, values: Vec<f32>) -> Expected {
    let values = match kv {
        KvType::F32 => Values::Floats(values),
        _ => Values::Halves(values),
    };
    Expected { binding, values }
}

/// The case of a kernel for a seed, of a variant that takes products in integers or in floats.
pub(super) fn case(kernel: Kernel, integers: bool, seed: u64) -> Case {
    let numbers = &mut Numbers::new(seed);
    match kernel {
        Kernel::Matvec { format, norm, finish, kv } => {
            matvec(numbers, (format, integers), norm, finish, kv)
        }
        Kernel::Matmul { format, finish } => matmul(numbers, (format, integers), finish),
        Kernel::RmsNorm => rms_norm(numbers),
        Kernel::Rope { kv } => rope(numbers, kv),
        Kernel::SwiGlu => swiglu(numbers),
        Kernel::Conv | Kernel::Remember | Kernel::Scan | Kernel::GateNorm | Kernel::MixerStep => {
            mixer(numbers, kernel)
        }
        Kernel::Attend { kv, head_dim, .. } => attend(numbers, kernel, kv, head_dim),
        Kernel::AttendJoin => attend_join(numbers),
        Kernel::Commit { kv } => commit(numbers, Some(kv)),
        Kernel::CommitI8 => commit(numbers, None),
        Kernel::TopK => top_k(numbers),
    }
}

/// Weights of a random matrix: as the GPU has them, and plain, `[rows][columns]`.
struct Weights {
    quants: Vec<u32>,
    scales: Vec<u32>,
    plain: Vec<f32>,
    pieces: usize,
    columns: usize,
}

fn weights(numbers: &mut Numbers, format: Format, rows: usize) -> Weights {
    let types: Vec<DType> = DType::ALL.into_iter().filter(|&t| Format::of(t) == format).collect();
    let dtype = numbers.one_of(&types);
    let blocks = 1 + numbers.below(if dtype.block_len() == 256 { 2 } else { 5 }) as usize;
    let columns = match dtype.block_len() {
        1 => 1 + numbers.below(100) as usize,
        len => len * blocks,
    };
    let pieces = columns.div_ceil(PIECE);
    let mut quants = vec![0; rows * format.quant_words(pieces)];
    let mut scales = vec![0; rows * format.scale_words(pieces)];
    let mut plain = vec![0.0; rows * columns];
    let mut bytes = vec![0; columns / dtype.block_len() * dtype.block_bytes()];
    for row in 0..rows {
        let plain = &mut plain[row * columns..][..columns];
        // So small that scales are subnormal in half precision, which some drivers take for zero.
        let spread = if row < 8 && dtype.is_quantised() { 1e-4 } else { 1.0 };
        plain.fill_with(|| spread * numbers.uniform());
        if quantise(dtype, plain, &mut bytes).is_err() {
            random_blocks(numbers, dtype, spread, &mut bytes);
        }
        if dequantise(dtype, &bytes, plain).is_err() {
            plain.fill(f32::NAN);
        }
        let (q, s) = (format.quant_words(pieces), format.scale_words(pieces));
        repack(dtype, &bytes, &mut quants[row * q..][..q], &mut scales[row * s..][..s]);
    }
    Weights { quants, scales, plain, pieces, columns }
}

/// Blocks of a type that can only be read.
fn random_blocks(numbers: &mut Numbers, dtype: DType, spread: f32, bytes: &mut [u8]) {
    for block in bytes.chunks_mut(dtype.block_bytes()) {
        block.iter_mut().for_each(|byte| *byte = numbers.bits() as u8);
        let scale = |x: f32| f16::from_f32(x).to_le_bytes();
        block[..2].copy_from_slice(&scale(spread / 16.0));
        if matches!(dtype, DType::Q5_1 | DType::Q5_K) {
            block[2..4].copy_from_slice(&scale(spread / 2.0));
        }
    }
}

/// What is in an output before: zero where weights are tiny, so that their product shows.
fn before(numbers: &mut Numbers, len: usize) -> Vec<f32> {
    let mut values = numbers.floats(len, 1.0);
    let tiny = values.len().min(8);
    values[..tiny].fill(0.0);
    values
}

fn matvec(
    numbers: &mut Numbers,
    (format, integers): (Format, bool),
    norm: bool,
    finish: Finish,
    kv: KvType,
) -> Case {
    let rows = 16 + 4 * numbers.below(20) as usize;
    let w = weights(numbers, format, rows);
    let stride = w.pieces * PIECE;
    let head_dim = 2 * (1 + numbers.below(4));
    let heads = 1 + numbers.below(3);
    let kv_dim = head_dim * heads;
    let keep = numbers.one_of(&[Behind::Pass, Behind::Keep, Behind::AddAndKeep]);
    let first = 4 * numbers.below(3);
    let segments = 1 + numbers.below(2) as usize;
    let total = first as usize + rows;
    let segment = (total.div_ceil(segments)).next_multiple_of(4);
    let mut p = params::Matvec {
        rows: rows as u32,
        pieces: w.pieces as u32,
        first,
        segment: segment as u32,
        x_at: 4,
        x_step: (stride / 4) as u32,
        out_at: 4 * numbers.below(3),
        cols: w.columns as f32,
        eps: 1e-5,
        kv_dim,
        head_dim,
        ..Default::default()
    };
    let keep_rows = (total as u32).max(2 * kv_dim.next_multiple_of(4));
    if finish == Finish::Rope {
        p.keys = 4 * numbers.below(1 + total as u32 / 8);
        p.values = p.keys + kv_dim.next_multiple_of(4);
        p.kept_at = 2;
        p.store = keep as u32;
    }
    let mut x = vec![0.0; 16 + segments * stride];
    for s in 0..segments {
        let values = numbers.floats(w.columns, 1.0);
        x[16 + s * stride..][..w.columns].copy_from_slice(&values);
    }
    let gain = numbers.floats(stride, 1.0);
    let mut out = before(numbers, p.out_at as usize + total + 4);
    let out_before = bits(&out);
    let turns = turns(numbers, head_dim as usize / 2);
    let passes = finish == Finish::Rope && keep == Behind::Pass;
    // Whole vectors, in values.
    let mut kept_values = vec![0.0; 2 * (keep_rows as usize + 8)];
    twin::matvec(
        &p,
        (norm, finish),
        integers,
        &w.plain,
        w.columns,
        &x,
        &gain,
        &mut out,
        &turns,
        &mut kept_values,
    );
    let arena = arena_with(1, TURNS, bits(&turns));
    let kept_words = vec![0; kept_values.len()];
    let mut expected = vec![floats(4, out)];
    if finish == Finish::Rope {
        // Keys and values of rows that are not of this part are left alone, and so are zero.
        let kv = if passes { KvType::F32 } else { kv };
        expected.push(kept(6, kv, kept_values));
    }
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![w.quants, w.scales, bits(&x), bits(&gain), out_before, arena, kept_words],
        items: [rows as u32 / 4, 1, 1],
        expected,
    }
}

fn matmul(numbers: &mut Numbers, (format, integers): (Format, bool), finish: Finish) -> Case {
    let rows = 16 + 4 * numbers.below(20) as usize;
    let row = 4 * numbers.below(3) as usize;
    let w = weights(numbers, format, row + rows);
    let stride = w.pieces * PIECE;
    let tokens = 1 + numbers.below(70) as usize;
    let p = params::Matmul {
        rows: rows as u32,
        pieces: w.pieces as u32,
        row: row as u32,
        x_at: 4,
        x_stride: (stride / 4) as u32,
        out_at: 4,
        out_stride: rows as u32 + 4,
        unused: 0,
    };
    let mut x = vec![0.0; 16 + tokens * stride];
    for t in 0..tokens {
        let values = numbers.floats(w.columns, 1.0);
        x[16 + t * stride..][..w.columns].copy_from_slice(&values);
    }
    let mut out = vec![0.0; 4 + tokens * (rows + 4)];
    let out_before = bits(&out);
    twin::matmul(&p, (finish, integers), &w.plain, w.columns, &x, &mut out, tokens);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![
            w.quants,
            w.scales,
            bits(&x),
            out_before,
            arena(tokens as u32, 1).words().to_vec(),
        ],
        items: [rows as u32, tokens as u32, 1],
        expected: vec![floats(3, out)],
    }
}

fn rms_norm(numbers: &mut Numbers) -> Case {
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

fn rope(numbers: &mut Numbers, kv: KvType) -> Case {
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

fn swiglu(numbers: &mut Numbers) -> Case {
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

fn mixer(numbers: &mut Numbers, kernel: Kernel) -> Case {
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
    // That of another schedule comes before.
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

/// Some runs over the three places, and the words that tell them.
fn runs(numbers: &mut Numbers, rows: [u32; 3]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (place, rows) in [Place::Ring, Place::Window, Place::Block].into_iter().zip(rows) {
        for _ in 0..2 {
            let first = numbers.below(rows);
            let step = 1 + numbers.below(3);
            let most = (rows - first).div_ceil(step);
            let len = if place == Place::Block { most } else { numbers.below(most + 1) };
            if len > 0 {
                runs.push(Run { place, first, step, len });
            }
        }
    }
    runs
}

/// Rows of integers with a scale each.
struct Integers {
    rows: Vec<(Vec<i8>, f32)>,
}

impl Integers {
    fn new(numbers: &mut Numbers, rows: usize, head_dim: usize) -> Integers {
        let mut row = || {
            let q = (0..head_dim).map(|_| numbers.bits() as i8).collect();
            (q, 0.02 + 0.01 * numbers.uniform())
        };
        Integers { rows: (0..rows).map(|_| row()).collect() }
    }

    fn values(&self) -> Vec<f32> {
        let rows = self.rows.iter();
        rows.flat_map(|(q, scale)| q.iter().map(move |q| scale * f32::from(*q))).collect()
    }

    /// As the ring holds them, behind what is of other layers.
    fn words(&self, p: &params::Attend, head_dim: u32) -> Vec<u32> {
        let mut words = vec![0; p.ring_at as usize / 2];
        for (q, _) in &self.rows {
            let mut bytes: Vec<u8> = q.iter().map(|q| *q as u8).collect();
            bytes.resize(head_dim.next_multiple_of(4) as usize, 0);
            words.extend(bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)));
        }
        words.extend(self.rows.iter().map(|(_, scale)| scale.to_bits()));
        words
    }
}

fn attend(numbers: &mut Numbers, kernel: Kernel, kv: KvType, head_dim: u32) -> Case {
    let group = match kernel {
        Kernel::Attend { heads: super::variants::Heads::One, .. } => 1,
        _ => 2 + numbers.below(4),
    };
    let quads = match kernel {
        Kernel::Attend { heads: super::variants::Heads::One, .. } => group,
        _ => group.div_ceil(4),
    };
    let kv_heads = 1 + numbers.below(3);
    let heads = group * kv_heads;
    let split = numbers.one_of(&[1, 1, 3]);
    let tokens = if split == 1 { 1 + numbers.below(3) } else { 1 };
    let rows = [1 + numbers.below(200), 1 + numbers.below(20), tokens];
    let n = head_dim as usize;
    let p = params::Attend {
        heads,
        shared_by: group,
        kv_heads,
        q_stride: heads * head_dim + 4,
        out_stride: heads * head_dim + 2,
        schedule: 1,
        ring_at: 2,
        window_at: 1,
        block_at: 2,
        ring_rows: rows[0],
        window_rows: rows[1],
        block_rows: rows[2],
        scale: 1.0 / (n as f32).sqrt(),
    };
    let q = numbers.floats((tokens * p.q_stride) as usize, 3.0);
    let starts = [p.ring_at, p.window_at, p.block_at];
    let rows_of_ring = (2 * kv_heads * rows[0]) as usize;
    let integers = Integers::new(numbers, rows_of_ring, n);
    let mut places: Vec<Vec<f32>> = starts
        .into_iter()
        .zip(rows)
        .map(|(at, rows)| {
            let len = 2 * at + 2 * kv_heads * rows * head_dim;
            let values = numbers.floats(len as usize, 1.5);
            match kv {
                KvType::F32 => values,
                _ => values.into_iter().map(|v| f16::from_f32(v).to_f32()).collect(),
            }
        })
        .collect();
    if kv == KvType::I8 {
        let start = 2 * p.ring_at as usize;
        places[0][start..].copy_from_slice(&integers.values());
    }
    let mut arena = arena(tokens, split);
    arena.list(SEEN);
    // Of another schedule, then of this one; the lists follow.
    let mut at = arena.len() + 8 * tokens as usize;
    let lists: Vec<Vec<Run>> = (0..tokens).map(|_| runs(numbers, rows)).collect();
    arena.push(vec![0; 4 * tokens as usize]);
    for list in &lists {
        let seen = crate::chunk::rows(list);
        arena.push([at, list.len(), seen, 0].map(|n| n as u32));
        at += 4 * list.len();
    }
    for run in lists.iter().flatten() {
        arena.push([place(run.place), run.first, run.step, run.len]);
    }

    let mut out = vec![0.0; (tokens * p.out_stride) as usize];
    let mut parts = vec![0.0; (split * heads * (head_dim + 2)) as usize];
    let (out_before, parts_before) = (bits(&out), bits(&parts));
    let of_places = [&places[0][..], &places[1][..], &places[2][..]];
    for (token, list) in lists.iter().enumerate() {
        let q = &q[token * p.q_stride as usize..];
        if split == 1 {
            let out = &mut out[token * p.out_stride as usize..];
            twin::attend(&p, n, q, of_places, list, out);
            continue;
        }
        let seen: Vec<Run> = list
            .iter()
            .flat_map(|r| (0..r.len).map(|i| Run { first: r.first + i * r.step, len: 1, ..*r }))
            .collect();
        for part in 0..split as usize {
            let bounds = [part, part + 1].map(|i| i * seen.len() / split as usize);
            let seen = &seen[bounds[0]..bounds[1]];
            for head in 0..heads as usize {
                let (sum, most, weight) =
                    twin::attend_part(&p, n, &q[head * n..][..n], of_places, seen, head);
                let at = (part * heads as usize + head) * (n + 2);
                parts[at..at + n].copy_from_slice(&sum);
                parts[at + n] = most.max(-3.0e38);
                parts[at + n + 1] = weight;
            }
        }
    }
    let [ring, window, block] = of_places.map(|values| stored(kv, values));
    let ring = match kv {
        KvType::I8 => integers.words(&p, head_dim),
        _ => ring,
    };
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![
            arena.words().to_vec(),
            bits(&q),
            ring,
            window,
            block,
            out_before,
            parts_before,
        ],
        items: [kv_heads * quads, tokens, split],
        expected: vec![floats(5, out), floats(6, parts)],
    }
}

fn attend_join(numbers: &mut Numbers) -> Case {
    let (heads, head_dim) = (1 + numbers.below(9), 2 * (1 + numbers.below(40)));
    let count = 2 + numbers.below(6);
    let p = params::AttendJoin { heads, head_dim };
    let mut parts = numbers.floats((count * heads * (head_dim + 2)) as usize, 2.0);
    for part in parts.chunks_mut(head_dim as usize + 2) {
        part[head_dim as usize + 1] = part[head_dim as usize + 1].abs() + 0.5;
    }
    // A part that saw no row.
    let empty = &mut parts[..head_dim as usize + 2];
    empty.fill(0.0);
    empty[head_dim as usize] = -3.0e38;
    let mut out = vec![0.0; (heads * head_dim) as usize];
    let out_before = bits(&out);
    twin::attend_join(&p, &parts, count as usize, &mut out);
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![arena(1, count).words().to_vec(), bits(&parts), out_before],
        items: [heads * head_dim, 1, 1],
        expected: vec![floats(2, out)],
    }
}

/// With keys and values of a type, or with a ring of integers.
fn commit(numbers: &mut Numbers, kv: Option<KvType>) -> Case {
    let words = if kv == Some(KvType::F32) { 2 } else { 1 };
    let (pairs, kv_heads, layers) =
        (1 + numbers.below(40), 1 + numbers.below(3), 1 + numbers.below(3));
    let rows = [1 + numbers.below(9), 1 + numbers.below(9), 1 + numbers.below(9)];
    let columns = 2 * kv_heads * pairs;
    let layer = numbers.below(3);
    // A word of the ring of integers counts as two pairs; a row has a scale beside its words.
    let ring_step = match kv {
        Some(_) => columns * rows[0],
        None => 2 * 2 * kv_heads * rows[0] * (pairs.div_ceil(2) + 1),
    };
    let p = params::Commit {
        layer,
        pairs,
        columns,
        ring_rows: rows[0],
        window_rows: rows[1],
        block_rows: rows[2],
        ring_at: 2,
        ring_step,
        window_at: 2,
        window_step: columns * rows[1] + 1,
        block_at: 0,
        block_step: columns * rows[2],
    };
    let moves: Vec<Vec<[u32; 4]>> = (0..layers)
        .map(|_| {
            let count = numbers.below(12);
            (0..count)
                .map(|_| {
                    let source = numbers.below(3);
                    // Only what is in the block goes to the window.
                    let goal = if source == 2 { numbers.below(2) } else { 0 };
                    let from = numbers.below(rows[source as usize]);
                    [source, from, goal, numbers.below(rows[goal as usize])]
                })
                .collect()
        })
        .collect();
    let len = |at: u32, step: u32| (at + layers * step) as usize * words;
    // Halves that are numbers, so that integers can be made of them.
    let mut some = |len: usize| -> Vec<u32> {
        (0..len).map(|_| stored(KvType::F16, &[numbers.uniform(), numbers.uniform()])[0]).collect()
    };
    let block = some(len(p.block_at, p.block_step));
    let mut window = some(len(p.window_at, p.window_step));
    let in_ring = len(p.ring_at, p.ring_step);
    let mut ring = some(if kv.is_some() { in_ring } else { in_ring / 2 });
    let (window_before, ring_before) = (window.clone(), ring.clone());
    match kv {
        Some(_) => twin::commit(&p, words, &moves, &block, &mut window, &mut ring),
        None => twin::commit_i8(&p, &moves, &block, &mut window, &mut ring),
    }
    let mut arena = arena(1, 1);
    arena.list(MOVES);
    arena.push(vec![0; 2 * layer as usize]);
    let mut at = arena.len() as u32 + 2 * layers;
    for list in &moves {
        arena.push([at, list.len() as u32]);
        at += 4 * list.len() as u32;
    }
    arena.push(moves.iter().flatten().flatten().copied());
    let exactly = |binding, words| Expected { binding, values: Values::Words(words) };
    let ring = match kv {
        Some(_) => exactly(3, ring),
        None => Expected { binding: 3, values: Values::Integers(ring) },
    };
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![arena.words().to_vec(), block, window_before, ring_before],
        items: [if kv.is_some() { columns } else { 2 * kv_heads }, layers, 1],
        expected: vec![exactly(2, window), ring],
    }
}

fn top_k(numbers: &mut Numbers) -> Case {
    const KEPT: usize = 64;
    let count = 1 + numbers.below(1500);
    let mut logits: Vec<f32> =
        (0..count).map(|_| (numbers.uniform() * 50.0).round() / 8.0).collect();
    for special in [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -0.0] {
        let at = numbers.below(count) as usize;
        logits[at] = special;
    }
    let groups = count.div_ceil(1024) as usize;
    let mut want: Vec<u32> = Vec::new();
    for (group, logits) in logits.chunks(1024).enumerate() {
        let mut kept: Vec<u32> = twin::top_k(logits, KEPT)
            .into_iter()
            .flat_map(|(id, bits)| [group as u32 * 1024 + id, bits])
            .collect();
        while kept.len() < 2 * KEPT {
            kept.extend([u32::MAX, u32::MAX]);
        }
        want.extend(kept);
    }
    let p = params::TopK { count, bare: 1, source: 0, results: 0 };
    Case {
        params: bytemuck::bytes_of(&p).to_vec(),
        bindings: vec![bits(&logits), vec![0; 2 * KEPT * groups]],
        items: [count, 1, 1],
        expected: vec![Expected { binding: 1, values: Values::Words(want) }],
    }
}
