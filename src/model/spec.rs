//! What a decoder is, as data: one description per layer, and what all layers share. Families
//! (`arch/`) fill it in from a file; everything else follows the description and knows nothing of
//! families. Names as in `spec/architecture.md`.

use super::profile::Profile;
use crate::cache::Plan;
use crate::error::Result;

/// Sizes of the two mixers of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssm {
    /// Width of the mixer, `I`.
    pub inner: usize,
    /// State entries per channel, `N`.
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

/// How rotary frequencies are scaled for contexts longer than the original training context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// Unscaled.
    None,
    /// All positions divided by a factor.
    Linear {
        /// The factor.
        factor: f32,
    },
    /// Low frequencies divided by a factor, high ones unscaled, a ramp in between (YaRN, arXiv
    /// 2309.00071).
    Yarn {
        /// The factor.
        factor: f32,
        /// Original training context, in tokens.
        original: usize,
        /// Rotations within that context at or above which a frequency is left unscaled.
        fast: f32,
        /// Rotations below which it is divided by the full factor.
        slow: f32,
    },
}

/// The frequencies at which pairs of a head's values rotate from one position to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryTable {
    /// Values of a head that are rotated, the first ones, in pairs.
    pub width: usize,
    /// Pair `j` rotates by `base^(-2j / width)`.
    pub base: f32,
    /// How these frequencies are scaled.
    pub scaling: Scaling,
    /// Queries and keys are both multiplied by this, and in [`Scaling::Yarn`] by `1 + 0.1 ln factor`
    /// too.
    pub magnitude: f32,
    /// Tensor of `[width / 2]` divisors of the frequencies, as Llama 3 has them.
    pub factors: Option<&'static str>,
}

/// Which values of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// `2j` and `2j + 1`
    Interleaved,
    /// `j` and `j + width / 2`, of the values that are rotated
    HalfSplit,
}

/// How queries and keys of a layer are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Index of the table in [`ModelSpec::rotary`].
    pub table: usize,
    /// Which values form a pair.
    pub pairs: Pairs,
}

/// The activation applied to the gate of a feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x / (1 + e^-x)`
    Silu,
    /// GELU in its tanh approximation.
    GeluTanh,
}

/// Which projections of attention have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Biases {
    /// Queries.
    pub q: bool,
    /// Keys.
    pub k: bool,
    /// Values.
    pub v: bool,
    /// The output.
    pub o: bool,
}

/// Which norms one half of a layer (attention or feed-forward) has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norms {
    /// On what it reads from the residual stream.
    pub before: bool,
    /// On what it adds to the residual stream.
    pub after: bool,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Tokens that a query sees, including its own, if the layer has its own sliding window.
    pub window: Option<usize>,
    /// Biases of the attention projections.
    pub biases: Biases,
    /// Whether each query and key head is normalized before it is rotated.
    pub qk_norm: bool,
    /// What products of queries and keys are multiplied by.
    pub attention_scale: f32,
    /// The rotation of queries and keys; none in a layer without positional encoding.
    pub rotation: Option<Rotation>,
    /// Norms around attention.
    pub attention_norms: Norms,
    /// Norms around the feed-forward network.
    pub ffn_norms: Norms,
    /// Width of the feed-forward network, `F`.
    pub ffn: usize,
    /// Its activation.
    pub activation: Activation,
    /// Whether `W_k` and `W_v` exist.
    pub projected_kv: bool,
    /// The key and value mixers; none in a transformer.
    pub ssm: Option<Ssm>,
}

impl LayerSpec {
    /// A transformer's layer: a norm before attention and one before a feed-forward network with a
    /// SiLU gate, interleaved pairs rotated by the first table, nothing else.
    pub fn plain(heads: usize, kv_heads: usize, head_dim: usize, ffn: usize) -> LayerSpec {
        let norms = Norms { before: true, after: false };
        LayerSpec {
            heads,
            kv_heads,
            head_dim,
            window: None,
            biases: Biases::default(),
            qk_norm: false,
            attention_scale: 1.0 / (head_dim as f32).sqrt(),
            rotation: Some(Rotation { table: 0, pairs: Pairs::Interleaved }),
            attention_norms: norms,
            ffn_norms: norms,
            ffn,
            activation: Activation::Silu,
            projected_kv: true,
            ssm: None,
        }
    }

    /// Width of a token's queries over all query heads.
    pub fn q_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Query heads that share a key head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Width of a token's keys over all key heads.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Which tokens leave a state behind, and how many recent tokens are seen directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkSpec {
    /// Tokens in a chunk, `P`; 1 in a transformer.
    pub length: usize,
    /// Tokens in a chunk of the heads that see far.
    pub far_length: usize,
    /// Window before the current token, `L`; 0 in a transformer.
    pub window: usize,
    /// How far each layer's boundaries are shifted.
    pub offsets: Vec<usize>,
    /// Chunk lengths the model was trained with.
    pub trained: Vec<usize>,
    /// Whether mixer state is carried across chunks.
    pub carry_state: bool,
}

impl ChunkSpec {
    /// Every token is a chunk: a transformer with this many layers.
    pub fn of_one_token(layers: usize) -> ChunkSpec {
        ChunkSpec {
            length: 1,
            far_length: 1,
            window: 0,
            offsets: vec![0; layers],
            trained: vec![1],
            carry_state: false,
        }
    }
}

/// A decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Its family, for display: the value of `general.architecture`.
    pub family: &'static str,
    /// Width of the residual stream, `d`.
    pub d: usize,
    /// Entries of the vocabulary, `V`.
    pub vocab: usize,
    /// Tokens of a training sequence.
    pub context: usize,
    /// Epsilon of RMSNorm.
    pub eps: f32,
    /// Factor applied to embeddings.
    pub embedding_scale: f32,
    /// Factor applied to logits.
    pub logit_scale: f32,
    /// If set, logits are `cap * tanh(logit / cap)`.
    pub logit_cap: Option<f32>,
    /// Whether the embedding doubles as the output head.
    pub tied_head: bool,
    /// Tensors that a file may have although nothing is computed with them.
    pub unused: Vec<&'static str>,
    /// The rotary tables that layers refer to.
    pub rotary: Vec<RotaryTable>,
    /// The layers in order, at least one.
    pub layers: Vec<LayerSpec>,
    /// The chunk schedule.
    pub chunks: ChunkSpec,
    /// Which KV heads fetch what lies far back, if that is known.
    pub profile: Option<Profile>,
}

impl ModelSpec {
    /// The maximum of a size over all layers.
    pub fn most(&self, size: impl Fn(&LayerSpec) -> usize) -> usize {
        self.layers.iter().map(size).max().unwrap_or(0)
    }

    /// The same, rotating [`Pairs::HalfSplit`] wherever it rotates.
    pub fn half_split(mut self) -> ModelSpec {
        for rotation in self.layers.iter_mut().flat_map(|layer| &mut layer.rotation) {
            rotation.pairs = Pairs::HalfSplit;
        }
        self
    }

    /// The retention gate of a KV head, `[d]`, if the model has any.
    pub fn gate(&self, layer: usize, head: usize) -> Option<&[f32]> {
        let before = self.layers[..layer].iter().map(|layer| layer.kv_heads).sum();
        self.profile.as_ref()?.gate(before, head, self.d)
    }

    /// The mixers, which are alike in all layers that have them; none in a transformer.
    pub fn ssm(&self) -> Option<Ssm> {
        self.layers.iter().find_map(|layer| layer.ssm)
    }

    /// Whether no layer has mixers, so that keys and values are those of single tokens.
    pub fn is_transformer(&self) -> bool {
        self.ssm().is_none()
    }

    /// The transformer of the same sizes: no mixers, and every token a chunk.
    pub fn transformer(&self) -> ModelSpec {
        let mut equal = ModelSpec { profile: None, ..self.clone() };
        equal.layers.iter_mut().for_each(|layer| layer.ssm = None);
        equal.chunks = ChunkSpec::of_one_token(self.layers.len());
        equal
    }

    /// The plan of every layer for chunks of `chunk` tokens. For a length other than the file's,
    /// offsets are staggered over the layers as in the file: evenly if they are even there,
    /// otherwise in proportion.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn plans(&self, chunk: usize) -> Result<Vec<Plan>> {
        let (own, chunk, layers) = (self.chunks.length as u64, chunk as u64, self.layers.len());
        let staggered = |layer: usize, chunk: u64| layer as u64 * chunk / layers as u64;
        let of_file = |layer: usize| self.chunks.offsets[layer] as u64;
        let even = (0..layers).all(|l| of_file(l) == staggered(l, own));
        let offset = |layer| match even {
            _ if chunk == own => of_file(layer),
            true => staggered(layer, chunk),
            false => of_file(layer) * chunk / own,
        };
        (0..layers).map(|layer| Plan::new(chunk, offset(layer))).collect()
    }
}
