//! The scratch buffers for a block of tokens. Allocated once; nothing grows.

use super::attend::Neighbors;
use super::buffer::Buffer;
use super::kernels::{Activations, Kernels, Panel};
use super::shares::most_slots;
use crate::error::Result;
use crate::model::{LayerSpec, Model, ModelSpec, Ssm};
use std::sync::Mutex;

/// Maximum tokens per block: more would not make the weights any cheaper.
const MOST_TOKENS: usize = 256;
/// Minimum: with fewer, prefill would be little faster than decode.
const FEWEST_TOKENS: usize = 16;
/// Limit on a block's buffers, in bytes, beyond which blocks are shortened.
const BLOCK_BYTES: usize = 20 << 20;
/// Limit on the bytes of logits when those of many tokens are wanted.
const LOGITS_BYTES: usize = 4 << 20;
/// Maximum number of tokens whose logits are computed at once.
const MOST_LOGIT_ROWS: usize = 16;
/// Maximum number of tokens whose attention is cut into shares: with more, threads take turns often
/// enough.
pub(super) const FEW_TOKENS: usize = 8;

/// Buffers of one sequence. `B` is the maximum number of tokens per block.
pub(super) struct Scratch {
    /// `B`
    pub block: usize,
    /// Residual stream, `[B][d]`.
    pub h: Buffer<f32>,
    /// Cosine and sine of each rotation: for each rotary table `[B][width / 2][2]`.
    pub turns: Vec<Buffer<f32>>,
    /// Normalized input of attention, of the feed-forward network and of the head, `[B][d]`.
    pub x: Activations,
    /// Output of attention, `[B][heads * head_dim]`, then the input of the feed-forward network's
    /// last matrix, `[B][F]`.
    pub wide: Activations,
    /// Queries, `[B][heads * head_dim]`.
    pub q: Buffer<f32>,
    /// Keys and values, `[B][kv_dim]` each.
    pub kv: [Buffer<f32>; 2],
    /// `[B][F]`
    pub gate: Buffer<f32>,
    /// `[B][F]`
    pub up: Buffer<f32>,
    /// What one half of a layer adds to the residual stream, `[B][d]`, if it is normalized first.
    pub branch: Buffer<f32>,
    /// For keys and values, if the model has mixers.
    pub mixers: Option<[MixerScratch; 2]>,
    /// Maximum score of each head of each token, `[B][heads]`, or of each head of a KV head's group
    /// in each slot of `slots`.
    pub max: Buffer<f32>,
    /// The sums of weights that go with them.
    pub sum: Buffer<f32>,
    /// Attention over pieces of what few tokens see, `[slot][heads / kv_heads][head_dim]`.
    pub slots: Buffer<f32>,
    /// For each token of the block, how many tokens of its chunk come before it.
    pub fresh: Buffer<u32>,
    /// Whether the mixers' state is zeroed before each token.
    pub reset: Vec<bool>,
    /// For the attention of many tokens, one per thread.
    pub neighbors: Vec<Mutex<Neighbors>>,
    /// One per thread.
    pub panels: Vec<Mutex<Panel>>,
    /// `[logit_rows][V]`
    pub logits: Buffer<f32>,
    /// Number of tokens whose logits are computed at once.
    pub logit_rows: usize,
    /// Row of the logits of the last token, if they are here.
    pub last_row: Option<usize>,
}

/// Buffers of one mixer.
pub(super) struct MixerScratch {
    /// Projected keys or values, `[B][kv_dim]`; unused if the mixer reads `x` itself.
    pub u: Activations,
    /// `z | x B C | dt`, `[B][2 I + 2 G N + H]`.
    pub projected: Buffer<f32>,
    /// x, B, C after the convolution, `[B][I + 2 G N]`.
    pub conv: Buffer<f32>,
    /// Step sizes, `[H][B]`.
    pub dt: Buffer<f32>,
    /// Output of the scan, `[B][I]`.
    pub y: Buffer<f32>,
    /// The same, gated and normalized.
    pub gated: Activations,
}

impl MixerScratch {
    fn new(block: usize, spec: &ModelSpec, terms: bool) -> Result<MixerScratch> {
        let what = "buffers of a mixer";
        let most = |size: fn(&Ssm) -> usize| spec.most(|l| l.ssm.as_ref().map_or(0, size));
        let inner = most(|ssm| ssm.inner);
        Ok(MixerScratch {
            u: Activations::new(
                block,
                spec.most(|l| if l.projected_kv { l.kv_dim() } else { 0 }),
                terms,
            )?,
            projected: Buffer::new(block * most(Ssm::projected), what)?,
            conv: Buffer::new(block * most(Ssm::channels), what)?,
            dt: Buffer::new(block * most(|ssm| ssm.heads), what)?,
            y: Buffer::new(block * inner, what)?,
            gated: Activations::new(block, inner, terms)?,
        })
    }

    fn bytes(&self) -> usize {
        self.u.bytes()
            + self.projected.bytes()
            + self.conv.bytes()
            + self.dt.bytes()
            + self.y.bytes()
            + self.gated.bytes()
    }
}

impl Scratch {
    /// The buffers for a sequence of `model` on `threads` threads.
    pub fn new(model: &Model, threads: usize, kernels: &Kernels) -> Result<Scratch> {
        let what = "buffers of a block of tokens";
        let spec = model.spec();
        // One layer at a time: the widest.
        let (d, ffn, heads) = (spec.d, spec.most(|l| l.ffn), spec.most(|l| l.heads));
        let (q, kv) = (spec.most(LayerSpec::q_dim), spec.most(LayerSpec::kv_dim));
        let wide = q.max(ffn);
        let mixer = spec
            .most(|l| l.ssm.map_or(0, |s| s.projected() + s.channels() + 3 * s.inner + l.kv_dim()));
        let per_token = 4 * (3 * d + q + 2 * kv + 2 * ffn + 2 * wide + 2 * mixer);
        let block = (BLOCK_BYTES / per_token).clamp(FEWEST_TOKENS, MOST_TOKENS);
        let logit_rows = (LOGITS_BYTES / (4 * spec.vocab)).clamp(1, MOST_LOGIT_ROWS);

        let groups = spec.most(|l| most_slots(threads, FEW_TOKENS * l.kv_heads) * l.group());
        let slots =
            spec.most(|l| most_slots(threads, FEW_TOKENS * l.kv_heads) * l.group() * l.head_dim);
        let widest = model.matrices().map(|m| m.cols).max().unwrap_or(0);
        let plain = model.matrices().any(|m| !m.dtype.is_quantized() || m.dtype.is_rare());
        let terms = model.matrices().any(|m| kernels.reads_terms(m.dtype));
        let panels = (0..threads).map(|_| Ok(Mutex::new(Panel::new(widest, plain)?)));
        let (group, head_dim) = (spec.most(LayerSpec::group), spec.most(|l| l.head_dim));
        let neighbors = (0..threads).map(|_| Ok(Mutex::new(Neighbors::new(group, head_dim)?)));
        let mixers = match spec.is_transformer() {
            true => None,
            false => {
                let mixer = || MixerScratch::new(block, spec, terms);
                Some([mixer()?, mixer()?])
            }
        };
        let turns = spec.rotary.iter().map(|table| Buffer::new(block * table.width, what));
        let normed_after = |l: &LayerSpec| l.attention_norms.after || l.ffn_norms.after;
        let branch = if spec.layers.iter().any(normed_after) { block * d } else { 0 };
        Ok(Scratch {
            block,
            h: Buffer::new(block * d, what)?,
            turns: turns.collect::<Result<_>>()?,
            x: Activations::new(block, d, terms)?,
            wide: Activations::new(block, wide, terms)?,
            q: Buffer::new(block * q, what)?,
            kv: [Buffer::new(block * kv, what)?, Buffer::new(block * kv, what)?],
            gate: Buffer::new(block * ffn, what)?,
            up: Buffer::new(block * ffn, what)?,
            branch: Buffer::new(branch, what)?,
            mixers,
            max: Buffer::new((block * heads).max(groups), what)?,
            sum: Buffer::new((block * heads).max(groups), what)?,
            slots: Buffer::new(slots, what)?,
            fresh: Buffer::new(block, what)?,
            reset: vec![false; block],
            neighbors: neighbors.collect::<Result<_>>()?,
            panels: panels.collect::<Result<_>>()?,
            logits: Buffer::new(logit_rows * spec.vocab, "logits")?,
            logit_rows,
            last_row: None,
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let buffers = [&self.h, &self.branch, &self.q, &self.gate, &self.up, &self.max, &self.sum];
        let more = [&self.slots, &self.logits, &self.kv[0], &self.kv[1]];
        let panels = self.panels.iter().map(|p| super::lock(p).bytes());
        let neighbors = self.neighbors.iter().map(|b| super::lock(b).bytes());
        buffers.into_iter().chain(more).chain(&self.turns).map(Buffer::bytes).sum::<usize>()
            + self.x.bytes()
            + self.wide.bytes()
            + self.mixers.iter().flatten().map(MixerScratch::bytes).sum::<usize>()
            + self.fresh.bytes()
            + self.reset.len()
            + panels.sum::<usize>()
            + neighbors.sum::<usize>()
    }
}
