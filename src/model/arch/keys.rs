//! Metadata of one family's files, read by type and within bounds.

use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::model::spec::{
    Activation, Biases, ChunkSpec, LayerSpec, ModelSpec, Norms, Pairs, RotaryTable, Rotation,
    Scaling,
};

/// Beyond any size in use, and small enough that a product of two is far from overflow: sizes are
/// multiplied before the tensors that prove them are looked for.
const MAX_SIZE: u32 = 1 << 24;

/// Ten times the deepest model in use; bounds what is allocated before tensors are looked for.
const MAX_LAYERS: usize = 2048;

/// Metadata keys of one family. Names are told without the family's prefix.
pub struct Keys<'a> {
    gguf: &'a Gguf,
    family: &'static str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(gguf: &'a Gguf, family: &'static str) -> Keys<'a> {
        Keys { gguf, family }
    }

    /// The file.
    pub fn gguf(&self) -> &'a Gguf {
        self.gguf
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.family)
    }

    /// A size of at most 2^24, where the file has it.
    pub fn optional(&self, key: &str) -> Result<Option<usize>> {
        match self.gguf.u32(&self.full(key))? {
            Some(n) if n > MAX_SIZE => {
                Err(Error::Model(format!("{} is {n}; the cap is {MAX_SIZE}", self.full(key))))
            }
            found => Ok(found.map(|n| n as usize)),
        }
    }

    /// A size of at most 2^24.
    pub fn required(&self, key: &str) -> Result<usize> {
        self.optional(key)?.ok_or_else(|| missing(&self.full(key)))
    }

    /// A size of 1 to 2^24.
    pub fn positive(&self, key: &str) -> Result<usize> {
        match self.required(key)? {
            0 => Err(Error::Model(format!("{} is 0", self.full(key)))),
            n => Ok(n),
        }
    }

    /// A list of sizes of at most 2^24, where the file has it.
    pub fn sizes(&self, key: &str) -> Result<Option<Vec<usize>>> {
        let Some(sizes) = self.gguf.u32s(&self.full(key))? else { return Ok(None) };
        if let Some(n) = sizes.iter().find(|&&n| n > MAX_SIZE) {
            return Err(Error::Model(format!(
                "{} holds {n}; the cap is {MAX_SIZE}",
                self.full(key)
            )));
        }
        Ok(Some(sizes.into_iter().map(|n| n as usize).collect()))
    }

    /// A finite number above 0.
    pub fn real(&self, key: &str, default: f32) -> Result<f32> {
        let x = self.gguf.f32(&self.full(key))?.unwrap_or(default);
        if x.is_finite() && x > 0.0 {
            Ok(x)
        } else {
            Err(Error::Model(format!("{} is {x}", self.full(key))))
        }
    }

    /// A truth value, false where the file has none.
    pub fn truth(&self, key: &str) -> Result<bool> {
        Ok(self.gguf.bool(&self.full(key))?.unwrap_or(false))
    }

    /// What the keys that most families share say: a decoder of equal layers, each with a norm
    /// before attention and one before a feed-forward network with a SiLU gate, interleaved pairs
    /// rotated by one table, no biases. A family changes what is otherwise with it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names a key that asks for what cannot be run, [`Error::Model`] one that
    /// is missing or holds nonsense.
    pub fn decoder(&self) -> Result<ModelSpec> {
        self.refuse_what_cannot_be_run()?;
        let layers = self.positive("block_count")?;
        if layers > MAX_LAYERS {
            return Err(Error::Model(format!("{layers} layers; the cap is {MAX_LAYERS}")));
        }
        let d = self.positive("embedding_length")?;
        let heads = self.positive("attention.head_count")?;
        let kv_heads = self.optional("attention.head_count_kv")?.unwrap_or(heads);
        let head_dim = self.optional("attention.key_length")?.unwrap_or(d / heads);
        let value_dim = self.optional("attention.value_length")?.unwrap_or(head_dim);
        if value_dim != head_dim {
            return Err(Error::Unsupported(format!(
                "heads of width {head_dim} with values of width {value_dim}; both must be equal"
            )));
        }
        let width = self.optional("rope.dimension_count")?.unwrap_or(head_dim);
        let norms = Norms { before: true, after: false };
        let layer = LayerSpec {
            heads,
            kv_heads,
            head_dim,
            window: self.optional("attention.sliding_window")?.filter(|&window| window > 0),
            biases: Biases::default(),
            qk_norm: false,
            rotation: Some(Rotation { table: 0, pairs: Pairs::Interleaved }),
            attention_norms: norms,
            ffn_norms: norms,
            ffn: self.positive("feed_forward_length")?,
            activation: Activation::Silu,
            projected_kv: true,
            ssm: None,
        };
        Ok(ModelSpec {
            family: self.family,
            d,
            vocab: self.vocab()?,
            context: self.positive("context_length")?,
            eps: self.real("attention.layer_norm_rms_epsilon", 1e-5)?,
            embedding_scale: 1.0,
            logit_cap: None,
            tied_head: self.gguf.tensor("output.weight").is_none(),
            rotary: vec![RotaryTable {
                width,
                base: self.real("rope.freq_base", 10000.0)?,
                scaling: Scaling::None,
                factors: self.gguf.tensor("rope_freqs.weight").map(|_| "rope_freqs.weight"),
            }],
            layers: vec![layer; layers],
            chunks: ChunkSpec::of_one_token(layers),
        })
    }

    /// Entries of the vocabulary: as the file says, or as many as the embedding has rows.
    fn vocab(&self) -> Result<usize> {
        if let Some(n) = self.optional("vocab_size")? {
            return Ok(n);
        }
        let embedding = self.gguf.tensor("token_embd.weight");
        embedding
            .and_then(|tensor| usize::try_from(*tensor.dims().get(1)?).ok())
            .ok_or_else(|| missing("token_embd.weight"))
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
        Ok(())
    }
}

/// As much of a name from a file as an error should repeat.
pub(super) fn beginning(name: &str) -> &str {
    name.char_indices().nth(64).map_or(name, |(end, _)| &name[..end])
}

pub(super) fn missing(key: &str) -> Error {
    Error::Model(format!("{key} is missing"))
}
