//! What is public about a model's dimensions.

use super::Model;

/// The dimensions of a model; where its layers differ, those of the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Width of the feed-forward network.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Entries of the vocabulary: the length of a row of logits.
    pub vocab: usize,
    /// Tokens of a training sequence.
    pub context: usize,
}

/// The mixers that turn chunks of tokens into states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mixers {
    /// Width of a mixer.
    pub width: usize,
    /// State entries per channel.
    pub state: usize,
    /// Heads with a decay of their own.
    pub heads: usize,
    /// Groups that share their input and output projections of the state.
    pub groups: usize,
    /// Taps of the causal convolution.
    pub convolution: usize,
    /// Whether mixers read projected keys and values rather than the layer's input itself.
    pub projected: bool,
}

/// A key and value head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KvHead {
    /// Its layer.
    pub layer: usize,
    /// Its index within the layer.
    pub head: usize,
    /// Tokens that it sees, if its layer has a sliding window of its own.
    pub window: Option<usize>,
}

impl Model {
    /// The KV heads of all layers, in order.
    pub fn kv_heads(&self) -> impl Iterator<Item = KvHead> {
        self.spec().layers.iter().enumerate().flat_map(|(layer, of)| {
            (0..of.kv_heads).map(move |head| KvHead { layer, head, window: of.window })
        })
    }

    /// The model's dimensions.
    pub fn sizes(&self) -> Sizes {
        let spec = self.spec();
        Sizes {
            layers: spec.layers.len(),
            width: spec.d,
            feed_forward: spec.most(|layer| layer.ffn),
            heads: spec.most(|layer| layer.heads),
            kv_heads: spec.most(|layer| layer.kv_heads),
            head_width: spec.most(|layer| layer.head_dim),
            vocab: spec.vocab,
            context: spec.context,
        }
    }

    /// Its family: the value of `general.architecture`.
    pub fn family(&self) -> &'static str {
        self.spec().family
    }

    /// Tokens in a chunk; 1 in a transformer.
    pub fn chunk(&self) -> usize {
        self.spec().chunks.length
    }

    /// Tokens before the current one that are seen directly; 0 in a transformer.
    pub fn window(&self) -> usize {
        self.spec().chunks.window
    }

    /// Chunk lengths that the model was trained with.
    pub fn trained_chunks(&self) -> &[usize] {
        &self.spec().chunks.trained
    }

    /// How far the chunk boundaries of each layer are shifted, in tokens.
    pub fn chunk_offsets(&self) -> &[usize] {
        &self.spec().chunks.offsets
    }

    /// Whether mixers carry their state from chunk to chunk.
    pub fn carries_state(&self) -> bool {
        self.spec().chunks.carry_state
    }

    /// The mixers of each layer that has no sliding window of its own; none in a transformer.
    pub fn mixers(&self) -> Option<Mixers> {
        let layer = self.spec().layers.iter().find(|layer| layer.ssm.is_some())?;
        let ssm = layer.ssm?;
        Some(Mixers {
            width: ssm.inner,
            state: ssm.state,
            heads: ssm.heads,
            groups: ssm.groups,
            convolution: ssm.conv,
            projected: layer.projected_kv,
        })
    }

    /// Whether it has no mixers, so that keys and values are those of single tokens.
    pub fn is_transformer(&self) -> bool {
        self.spec().is_transformer()
    }
}
