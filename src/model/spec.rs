//! What a decoder is, as data: one description per layer, and what all layers share. Families
//! (`arch/`) fill it in from a file; everything else follows it and knows no family. Names as in
//! `spec/architecture.md`.

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

/// How rotary frequencies are stretched for contexts longer than those of the first training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// As they are.
    None,
    /// All positions divided by a factor.
    Linear {
        /// The factor.
        factor: f32,
    },
    /// Low frequencies divided by a factor, high ones as they are, a ramp between (YaRN, arXiv
    /// 2309.00071).
    Yarn {
        /// The factor.
        factor: f32,
        /// Context of the first training, in tokens.
        original: usize,
        /// Rotations within that context from which on a frequency stays.
        fast: f32,
        /// Rotations below which it is divided by the whole factor.
        slow: f32,
        /// Queries and keys both grow by this times `1 + 0.1 ln factor`.
        magnitude: f32,
    },
}

/// Frequencies by which pairs of a head's values turn from one position to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryTable {
    /// Values of a head that are turned, in pairs.
    pub width: usize,
    /// Pair `j` turns by `base^(-2j / width)`.
    pub base: f32,
    /// What becomes of these frequencies.
    pub scaling: Scaling,
    /// Tensor of `[width / 2]` divisors of the frequencies, as Llama 3 has them.
    pub factors: Option<&'static str>,
}

/// Which values of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// `2j` and `2j + 1`
    Interleaved,
    /// `j` and `j + head_dim / 2`
    HalfSplit,
}

/// How queries and keys of a layer are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Number of the table in [`ModelSpec::rotary`].
    pub table: usize,
    /// Which values make a pair.
    pub pairs: Pairs,
}

/// What is applied to the gate of a feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x / (1 + e^-x)`
    Silu,
    /// GELU by its approximation with tanh.
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

/// Which norms a half of a layer (attention, feed-forward) has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norms {
    /// Of what it reads from the residual stream.
    pub before: bool,
    /// Of what it adds to it.
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
    /// Tokens that a query sees, its own counted, where the layer has a sliding window of its own.
    pub window: Option<usize>,
    /// Biases of attention.
    pub biases: Biases,
    /// Whether each head of queries and of keys is normed before it is rotated.
    pub qk_norm: bool,
    /// The rotation of queries and keys; none in a layer that knows no positions.
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
    /// The mixers of keys and values; none in a transformer.
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
            rotation: Some(Rotation { table: 0, pairs: Pairs::Interleaved }),
            attention_norms: norms,
            ffn_norms: norms,
            ffn,
            activation: Activation::Silu,
            projected_kv: true,
            ssm: None,
        }
    }

    /// Width of the queries of a token over all query heads.
    pub fn q_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of the keys of a token over all key heads.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Which tokens leave a state behind, and how many are seen as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkSpec {
    /// Tokens in a chunk, `P`; 1 in a transformer.
    pub length: usize,
    /// Window before the current token, `L`; 0 in a transformer.
    pub window: usize,
    /// How far each layer's boundaries are moved.
    pub offsets: Vec<usize>,
    /// Chunk lengths that the model was trained with.
    pub trained: Vec<usize>,
    /// Whether mixer state runs on across chunks.
    pub carry_state: bool,
}

impl ChunkSpec {
    /// Every token is a chunk: a transformer of so many layers.
    pub fn of_one_token(layers: usize) -> ChunkSpec {
        ChunkSpec {
            length: 1,
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
    /// Its family, for people to read: the value of `general.architecture`.
    pub family: &'static str,
    /// Width of the residual stream, `d`.
    pub d: usize,
    /// Entries of the vocabulary, `V`.
    pub vocab: usize,
    /// Tokens of a training sequence.
    pub context: usize,
    /// Epsilon of RMSNorm.
    pub eps: f32,
    /// What embeddings are multiplied by.
    pub embedding_scale: f32,
    /// Logits are `cap * tanh(logit / cap)`.
    pub logit_cap: Option<f32>,
    /// Whether the embedding is the head too.
    pub tied_head: bool,
    /// The rotary tables that layers name.
    pub rotary: Vec<RotaryTable>,
    /// The layers in order, at least one.
    pub layers: Vec<LayerSpec>,
    /// The chunk schedule.
    pub chunks: ChunkSpec,
}

impl ModelSpec {
    /// The largest of a size over all layers.
    pub fn most(&self, size: impl Fn(&LayerSpec) -> usize) -> usize {
        self.layers.iter().map(size).max().unwrap_or(0)
    }

    /// Whether no layer has mixers: keys and values are those of single tokens.
    pub fn is_transformer(&self) -> bool {
        self.layers.iter().all(|layer| layer.ssm.is_none())
    }

    /// The transformer of the same sizes: no mixers, and every token a chunk.
    pub fn transformer(&self) -> ModelSpec {
        let mut equal = self.clone();
        equal.layers.iter_mut().for_each(|layer| layer.ssm = None);
        equal.chunks = ChunkSpec::of_one_token(self.layers.len());
        equal
    }

    /// The chunks of every layer for chunks of `chunk` tokens. Offsets are staggered
    /// over the layers for another length than the file's as they are for that one: evenly if they
    /// are so in the file, else in proportion.
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
