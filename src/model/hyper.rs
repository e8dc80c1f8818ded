//! Hyperparameters: read from metadata, held against each other. Keys as in `spec/architecture.md`.

use crate::chunk::Plan;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// Which decoder a file describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Keys and values by state-space scans over chunks.
    Attamba,
    /// The transformer baseline: every token is a chunk.
    Llama,
}

impl Architecture {
    /// The value of `general.architecture`.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Attamba => "attamba",
            Architecture::Llama => "llama",
        }
    }
}

/// Sizes of the two mixers of every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssm {
    /// Width of the mixer, `I`.
    pub inner: usize,
    /// State entries a channel, `N`.
    pub state: usize,
    /// Groups that share B and C, `G`.
    pub groups: usize,
    /// Heads with a decay of their own, `H`.
    pub heads: usize,
    /// Taps of the causal convolution, `C`.
    pub conv: usize,
}

impl Ssm {
    /// Channels of the convolution: x, B and C side by side, `I + 2 G N`.
    pub fn channels(&self) -> usize {
        self.inner + 2 * self.groups * self.state
    }

    /// Rows of the input projection: z, x, B, C and dt, `2 I + 2 G N + H`.
    pub fn projected(&self) -> usize {
        self.inner + self.channels() + self.heads
    }
}

/// All sizes of a model. Names as in the specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Hyper {
    /// Which decoder.
    pub architecture: Architecture,
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream, `d`.
    pub d: usize,
    /// Width of the feed-forward network, `F`.
    pub ffn: usize,
    /// Entries of the vocabulary, `V`.
    pub vocab: usize,
    /// Tokens of a training sequence.
    pub context: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Epsilon of RMSNorm.
    pub eps: f32,
    /// Base of the rotary frequencies.
    pub freq_base: f32,
    /// Whether `W_k` and `W_v` exist.
    pub projected_kv: bool,
    /// The mixers; none in a transformer.
    pub ssm: Option<Ssm>,
    /// Tokens in a chunk, `P`.
    pub chunk: usize,
    /// Window before the current token, `L`.
    pub window: usize,
    /// How far each layer's boundaries are moved.
    pub offsets: Vec<usize>,
    /// Chunk lengths that the model was trained with.
    pub trained_chunks: Vec<usize>,
    /// Whether mixer state runs on across chunks.
    pub carry_state: bool,
}

/// Wider heads are not in use; the bound keeps a query head within a kernel's stack frame.
const MAX_HEAD_DIM: usize = 512;

impl Hyper {
    /// Reads and checks the metadata of `gguf`.
    pub fn read(gguf: &Gguf) -> Result<Hyper> {
        let architecture = match gguf.str("general.architecture")? {
            Some("attamba") => Architecture::Attamba,
            Some("llama") => Architecture::Llama,
            Some(other) => {
                return Err(Error::Unsupported(format!(
                    "architecture {:?}; attamba and llama can be run",
                    beginning(other)
                )));
            }
            None => return Err(missing("general.architecture")),
        };
        let keys = Keys { gguf, prefix: architecture.name() };
        keys.refuse_what_cannot_be_run()?;

        let layers = keys.positive("block_count")?;
        let d = keys.positive("embedding_length")?;
        let heads = keys.positive("attention.head_count")?;
        let kv_heads = keys.optional("attention.head_count_kv")?.unwrap_or(heads);
        let head_dim = keys.optional("attention.key_length")?.unwrap_or(d / heads);
        let value_dim = keys.optional("attention.value_length")?.unwrap_or(head_dim);
        let rotated = keys.optional("rope.dimension_count")?.unwrap_or(head_dim);
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(Error::Model(format!(
                "{heads} query heads can't be shared among {kv_heads} key heads"
            )));
        }
        if head_dim == 0 || head_dim % 2 == 1 || head_dim > MAX_HEAD_DIM {
            return Err(Error::Unsupported(format!(
                "heads of width {head_dim}; an even width up to {MAX_HEAD_DIM} can be run"
            )));
        }
        if value_dim != head_dim || rotated != head_dim {
            return Err(Error::Unsupported(format!(
                "heads of width {head_dim} with values of width {value_dim} and {rotated} rotated \
                 dimensions; all three must be equal"
            )));
        }
        let vocab = match keys.optional("vocab_size")? {
            Some(n) => n,
            None => gguf
                .tensor("token_embd.weight")
                .and_then(|t| usize::try_from(*t.dims.get(1)?).ok())
                .ok_or_else(|| missing("token_embd.weight"))?,
        };
        if vocab == 0 {
            return Err(Error::Model(
                "the vocabulary is empty: vocab_size or the rows of token_embd.weight are 0".into(),
            ));
        }
        let mut hyper = Hyper {
            architecture,
            layers,
            d,
            ffn: keys.positive("feed_forward_length")?,
            vocab,
            context: keys.positive("context_length")?,
            heads,
            kv_heads,
            head_dim,
            eps: keys.real("attention.layer_norm_rms_epsilon", 1e-5)?,
            freq_base: keys.real("rope.freq_base", 10000.0)?,
            projected_kv: true,
            ssm: None,
            chunk: 1,
            window: 0,
            offsets: vec![0; layers.min(MAX_LAYERS)],
            trained_chunks: vec![1],
            carry_state: false,
        };
        if layers > MAX_LAYERS {
            return Err(Error::Model(format!("{layers} layers; the cap is {MAX_LAYERS}")));
        }
        if architecture == Architecture::Attamba {
            hyper.read_attamba(&keys)?;
        }
        Ok(hyper)
    }

    fn read_attamba(&mut self, keys: &Keys) -> Result<()> {
        self.projected_kv = keys.truth("attention.projected_kv")?;
        if !self.projected_kv && self.kv_dim() != self.d {
            return Err(Error::Model(format!(
                "without W_k and W_v the {} key heads of width {} must fill the embedding of {}",
                self.kv_heads, self.head_dim, self.d
            )));
        }
        self.chunk = keys.positive("chunk.length")?;
        self.window = keys.required("chunk.window")?;
        self.carry_state = keys.truth("chunk.carry_state")?;
        if let Some(offsets) = keys.gguf.u32s(&keys.full("chunk.offsets"))? {
            self.offsets = offsets.into_iter().map(|o| o as usize).collect();
        }
        self.trained_chunks = match keys.gguf.u32s(&keys.full("chunk.trained_lengths"))? {
            Some(lengths) => lengths.into_iter().map(|n| n as usize).collect(),
            None => vec![self.chunk],
        };
        if let Some(n) = self.trained_chunks.iter().find(|&&n| n == 0 || n > MAX_SIZE as usize) {
            return Err(Error::Model(format!(
                "chunk.trained_lengths holds {n}; 1 to {MAX_SIZE} is expected"
            )));
        }
        let found = self.offsets.len();
        if found != self.layers {
            return Err(Error::Model(format!(
                "chunk.offsets holds {found} where {} numbers are expected, one a layer",
                self.layers
            )));
        }
        if let Some(offset) = self.offsets.iter().find(|&&o| o >= self.chunk) {
            return Err(Error::Model(format!(
                "chunk.offsets holds {offset}; below the chunk length {} is expected",
                self.chunk
            )));
        }
        let ssm = Ssm {
            inner: keys.positive("ssm.inner_size")?,
            state: keys.positive("ssm.state_size")?,
            groups: keys.optional("ssm.group_count")?.unwrap_or(1),
            heads: keys.positive("ssm.time_step_rank")?,
            conv: keys.positive("ssm.conv_kernel")?,
        };
        if !ssm.inner.is_multiple_of(ssm.heads)
            || ssm.groups == 0
            || !ssm.heads.is_multiple_of(ssm.groups)
        {
            return Err(Error::Model(format!(
                "a mixer of width {} can't have {} heads in {} groups",
                ssm.inner, ssm.heads, ssm.groups
            )));
        }
        self.ssm = Some(ssm);
        Ok(())
    }

    /// Width of the keys of a token over all key heads.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Width of the queries of a token over all query heads.
    pub fn q_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// The chunks of every layer for chunks of `chunk` tokens, at least 1. Offsets are staggered
    /// over the layers for another length than the file's as they are for that one: evenly if they
    /// are so in the file, else in proportion.
    pub fn plans(&self, chunk: usize) -> Vec<Plan> {
        let (own, chunk) = (self.chunk as u64, chunk as u64);
        let staggered = |layer: usize, chunk: u64| layer as u64 * chunk / self.layers as u64;
        let of_file = |layer: usize| self.offsets[layer] as u64;
        let even = (0..self.layers).all(|l| of_file(l) == staggered(l, own));
        let offset = |layer| match even {
            _ if chunk == own => of_file(layer),
            true => staggered(layer, chunk),
            false => of_file(layer) * chunk / own,
        };
        (0..self.layers).map(|layer| Plan { chunk, offset: offset(layer) }).collect()
    }
}

/// Beyond any size in use, and small enough that a product of two is far from overflow: sizes are
/// multiplied before the tensors that prove them are looked for.
const MAX_SIZE: u32 = 1 << 24;

/// Ten times the deepest model in use; bounds what is allocated before tensors are looked for.
const MAX_LAYERS: usize = 2048;

/// Metadata keys of one architecture.
struct Keys<'a> {
    gguf: &'a Gguf,
    prefix: &'a str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    fn optional(&self, key: &str) -> Result<Option<usize>> {
        match self.gguf.u32(&self.full(key))? {
            Some(n) if n > MAX_SIZE => {
                Err(Error::Model(format!("{} is {n}; the cap is {MAX_SIZE}", self.full(key))))
            }
            found => Ok(found.map(|n| n as usize)),
        }
    }

    fn required(&self, key: &str) -> Result<usize> {
        self.optional(key)?.ok_or_else(|| missing(&self.full(key)))
    }

    fn positive(&self, key: &str) -> Result<usize> {
        match self.required(key)? {
            0 => Err(Error::Model(format!("{} is 0", self.full(key)))),
            n => Ok(n),
        }
    }

    fn real(&self, key: &str, default: f32) -> Result<f32> {
        let x = self.gguf.f32(&self.full(key))?.unwrap_or(default);
        if x.is_finite() && x > 0.0 {
            Ok(x)
        } else {
            Err(Error::Model(format!("{} is {x}", self.full(key))))
        }
    }

    fn truth(&self, key: &str) -> Result<bool> {
        Ok(self.gguf.bool(&self.full(key))?.unwrap_or(false))
    }

    /// Names what would change the function computed and is not implemented.
    fn refuse_what_cannot_be_run(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::Unsupported(text));
        if let Some(kind) = self.gguf.str(&self.full("rope.scaling.type"))?
            && kind != "none"
        {
            return refuse(format!("rope scaling {:?}", beginning(kind)));
        }
        if let Some(scale) = self.gguf.f32(&self.full("rope.scale_linear"))?
            && scale != 1.0
        {
            return refuse(format!("linear rope scaling by {scale}"));
        }
        if let Some(experts) = self.optional("expert_count")?
            && experts > 0
        {
            return refuse(format!("a mixture of {experts} experts"));
        }
        if let Some(window) = self.optional("attention.sliding_window")?
            && window > 0
        {
            return refuse(format!("a sliding window of {window} tokens in a transformer"));
        }
        Ok(())
    }
}

/// As much of a name from a file as an error should repeat.
fn beginning(name: &str) -> &str {
    name.char_indices().nth(64).map_or(name, |(end, _)| &name[..end])
}

fn missing(key: &str) -> Error {
    Error::Model(format!("{key} is missing"))
}
