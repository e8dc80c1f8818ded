//! Metadata of one family's files, read by type and within bounds.

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::model::spec::{Biases, ChunkSpec, LayerSpec, ModelSpec, RotaryTable, Scaling};

/// Beyond any size in use, and small enough that a product of two is far from overflow: sizes are
/// multiplied before the tensors that confirm them are looked up.
const MAX_SIZE: u32 = 1 << 24;

/// Ten times the deepest model in use; bounds what is allocated before tensors are looked up.
const MAX_LAYERS: usize = 2048;

/// Divisors of rotary frequencies.
const DIVISORS: &str = "rope_freqs.weight";
/// Those for the context of the first training, and for a longer one.
const SHORT: &str = "rope_factors_short.weight";
const LONG: &str = "rope_factors_long.weight";

/// Metadata keys of one family. Names are given without the family's prefix.
pub struct Keys<'a> {
    gguf: &'a Gguf,
    family: &'static str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(gguf: &'a Gguf, family: &'static str) -> Keys<'a> {
        Keys { gguf, family }
    }

    /// The file.
    #[cfg(feature = "internals")]
    pub fn gguf(&self) -> &'a Gguf {
        self.gguf
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.family)
    }

    /// A size of at most 2^24, if the file has it.
    pub fn optional(&self, key: &str) -> Result<Option<usize>> {
        match self.gguf.u32(&self.full(key))? {
            Some(n) if n > MAX_SIZE => {
                Err(Error::model(self.full(key), format!("is {n}; the cap is {MAX_SIZE}")))
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
            0 => Err(Error::model(self.full(key), "is 0")),
            n => Ok(n),
        }
    }

    /// A list of sizes of at most 2^24, if the file has it.
    pub fn sizes(&self, key: &str) -> Result<Option<Vec<usize>>> {
        let Some(sizes) = self.gguf.u32s(&self.full(key))? else { return Ok(None) };
        if let Some(n) = sizes.iter().find(|&&n| n > MAX_SIZE) {
            return Err(Error::model(self.full(key), format!("holds {n}; the cap is {MAX_SIZE}")));
        }
        Ok(Some(sizes.into_iter().map(|n| n as usize).collect()))
    }

    /// A finite number above 0.
    pub fn real(&self, key: &str, default: f32) -> Result<f32> {
        let x = self.gguf.f32(&self.full(key))?.unwrap_or(default);
        if x.is_finite() && x > 0.0 {
            Ok(x)
        } else {
            Err(Error::model(self.full(key), format!("is {x}")))
        }
    }

    /// A finite number, if the file has it.
    pub fn number(&self, key: &str) -> Result<Option<f32>> {
        match self.gguf.f32(&self.full(key))? {
            Some(x) if !x.is_finite() => Err(Error::model(self.full(key), format!("is {x}"))),
            found => Ok(found),
        }
    }

    /// A list of finite numbers, if the file has it.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f32>>> {
        let numbers = self.gguf.f32s(&self.full(key))?;
        if let Some(x) = numbers.iter().flatten().find(|x| !x.is_finite()) {
            return Err(Error::model(self.full(key), format!("holds {x}")));
        }
        Ok(numbers)
    }

    /// A size of at most 2^24 for each of `layers` layers, if the file has it: a list, or one
    /// number for all.
    pub fn per_layer(&self, key: &str, layers: usize) -> Result<Option<Vec<usize>>> {
        if !matches!(self.gguf.get(&self.full(key)), Some(Value::Array(_))) {
            return Ok(self.optional(key)?.map(|size| vec![size; layers]));
        }
        let sizes = self.sizes(key)?;
        match sizes.as_ref().map(Vec::len) {
            Some(found) if found != layers => Err(Error::model(
                self.full(key),
                format!("holds {found} where {layers} numbers are expected, one per layer"),
            )),
            _ => Ok(sizes),
        }
    }

    /// A boolean, false if the file has none.
    pub fn boolean(&self, key: &str) -> Result<bool> {
        Ok(self.gguf.bool(&self.full(key))?.unwrap_or(false))
    }

    /// The decoder described by the keys that most families share: plain layers
    /// ([`LayerSpec::plain`]) and one rotary table. A family then changes whatever differs.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names a key that asks for something that can't be run,
    /// [`Error::Model`] one that is missing or invalid.
    pub fn decoder(&self) -> Result<ModelSpec> {
        self.refuse_experts()?;
        let layers = self.positive("block_count")?;
        if layers > MAX_LAYERS {
            return Err(Error::model(
                "the model",
                format!("has {layers} layers; the cap is {MAX_LAYERS}"),
            ));
        }
        let d = self.positive("embedding_length")?;
        let positive = |key: &str| match self.per_layer(key, layers)? {
            None => Err(missing(&self.full(key))),
            Some(sizes) if sizes.contains(&0) => Err(Error::model(self.full(key), "is 0")),
            Some(sizes) => Ok(sizes),
        };
        let heads = positive("attention.head_count")?;
        let kv_heads = self.per_layer("attention.head_count_kv", layers)?;
        let kv_heads = kv_heads.unwrap_or_else(|| heads.clone());
        let head_dim = self.optional("attention.key_length")?.unwrap_or(d / heads[0]);
        let value_dim = self.optional("attention.value_length")?.unwrap_or(head_dim);
        if value_dim != head_dim {
            return Err(Error::unsupported(
                "heads",
                format!("of width {head_dim} with values of width {value_dim}; both must be equal"),
            ));
        }
        let width = self.optional("rope.dimension_count")?.unwrap_or(head_dim);
        let ffn = positive("feed_forward_length")?;
        let context = self.positive("context_length")?;
        let (factors, unused) = self.divisors(context)?;
        // A window as long as the context hides nothing.
        let window = self.optional("attention.sliding_window")?;
        let window = window.filter(|&window| window > 0 && window < context);
        let attention_scale = self.number("attention.scale")?.filter(|&scale| scale != 0.0);
        let layer = |(index, ((heads, kv_heads), ffn))| {
            let plain = LayerSpec::plain(heads, kv_heads, head_dim, ffn);
            LayerSpec {
                window,
                biases: self.biases(index),
                attention_scale: attention_scale.unwrap_or(plain.attention_scale),
                ..plain
            }
        };
        Ok(ModelSpec {
            family: self.family,
            d,
            vocab: self.vocab()?,
            context,
            eps: self.real("attention.layer_norm_rms_epsilon", 1e-5)?,
            embedding_scale: 1.0,
            logit_scale: 1.0,
            logit_cap: None,
            tied_head: !self.has("output.weight"),
            unused,
            rotary: vec![RotaryTable {
                width,
                base: self.real("rope.freq_base", 10000.0)?,
                scaling: self.rope_scaling(context)?,
                magnitude: self.real("rope.scaling.attn_factor", 1.0)?,
                factors,
            }],
            layers: heads.into_iter().zip(kv_heads).zip(ffn).enumerate().map(layer).collect(),
            chunks: ChunkSpec::of_one_token(layers),
            profile: None,
        })
    }

    /// Whether the file has a tensor of this name.
    fn has(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_some()
    }

    /// The tensor of divisors of the rotary frequencies, if there is one, and those that are not
    /// used. Keys are stored rotated, so all tokens of a session are rotated alike, however many
    /// will come: for the whole context of the file.
    fn divisors(&self, context: usize) -> Result<(Option<&'static str>, Vec<&'static str>)> {
        if !self.has(SHORT) && !self.has(LONG) {
            return Ok((self.has(DIVISORS).then_some(DIVISORS), Vec::new()));
        }
        let original = self.optional("rope.scaling.original_context_length")?.unwrap_or(context);
        let (used, unused) = if context > original { (LONG, SHORT) } else { (SHORT, LONG) };
        Ok((Some(used), vec![unused]))
    }

    /// The biases that the file has in a layer.
    fn biases(&self, layer: usize) -> Biases {
        let has = |part| self.has(&format!("blk.{layer}.attn_{part}.bias"));
        Biases { q: has("q"), k: has("k"), v: has("v"), o: has("output") }
    }

    /// Which layers see a sliding window only, in a family where others see everything: as listed
    /// in the file; or all but each `period`-th, where the file may have another period.
    ///
    /// # Errors
    /// [`Error::Model`] for a list of another length.
    pub fn windowed(&self, layers: usize, period: usize) -> Result<Vec<bool>> {
        let key = "attention.sliding_window_pattern";
        match self.gguf.get(&self.full(key)) {
            Some(Value::Array(list)) if list.len != layers => Err(Error::model(
                self.full(key),
                format!("holds {} where {layers} are expected, one per layer", list.len),
            )),
            Some(Value::Array(list)) => {
                let windowed = |value| match value {
                    Value::Bool(windowed) => Ok(windowed),
                    Value::Int(0) => Ok(false),
                    Value::Int(1) => Ok(true),
                    other => Err(Error::model(self.full(key), format!("holds {other}"))),
                };
                list.iter().map(windowed).collect()
            }
            _ => {
                let period = self.optional(key)?.unwrap_or(period);
                Ok((0..layers).map(|layer| period == 0 || (layer + 1) % period != 0).collect())
            }
        }
    }

    /// How rotary frequencies are scaled; files from before `rope.scaling` had only a linear
    /// factor.
    fn rope_scaling(&self, context: usize) -> Result<Scaling> {
        let linear = self.real("rope.scale_linear", 1.0)?;
        let factor = self.real("rope.scaling.factor", linear)?;
        let kind = self.gguf.str(&self.full("rope.scaling.type"))?;
        for (key, usual) in [("yarn_ext_factor", 1.0), ("yarn_log_multiplier", 0.0)] {
            let key = format!("rope.scaling.{key}");
            if let Some(other) = self.number(&key)?.filter(|&x| x != usual) {
                return Err(Error::unsupported(self.full(&key), format!("= {other}")));
            }
        }
        match kind {
            Some("none") => Ok(Scaling::None),
            // The divisors are the scaling.
            Some("longrope") if self.has(SHORT) || self.has(LONG) => Ok(Scaling::None),
            Some("longrope") => Err(Error::unsupported(
                self.full("rope.scaling.type"),
                format!("= \"longrope\" without {LONG}"),
            )),
            None | Some("linear") if factor == 1.0 => Ok(Scaling::None),
            None | Some("linear") => Ok(Scaling::Linear { factor }),
            Some("yarn") => Ok(Scaling::Yarn {
                factor,
                original: self.optional("rope.scaling.original_context_length")?.unwrap_or(context),
                fast: self.real("rope.scaling.yarn_beta_fast", 32.0)?,
                slow: self.real("rope.scaling.yarn_beta_slow", 1.0)?,
            }),
            Some(other) => Err(Error::unsupported(
                self.full("rope.scaling.type"),
                format!("= {:?}; none, linear, yarn and longrope are supported", beginning(other)),
            )),
        }
    }

    /// Size of the vocabulary: as given in the file, or the number of rows of the embedding.
    fn vocab(&self) -> Result<usize> {
        if let Some(n) = self.optional("vocab_size")? {
            return Ok(n);
        }
        let embedding = self.gguf.tensor("token_embd.weight");
        embedding
            .and_then(|tensor| usize::try_from(*tensor.dims().get(1)?).ok())
            .ok_or_else(|| missing("token_embd.weight"))
    }

    fn refuse_experts(&self) -> Result<()> {
        match self.optional("expert_count")? {
            Some(experts) if experts > 0 => Err(Error::unsupported(
                self.full("expert_count"),
                format!("= {experts}: a mixture of experts"),
            )),
            _ => Ok(()),
        }
    }
}

/// As much of a name from a file as an error should quote.
pub(super) fn beginning(name: &str) -> &str {
    name.char_indices().nth(64).map_or(name, |(end, _)| &name[..end])
}

pub(super) fn missing(key: &str) -> Error {
    Error::model(key, "is missing")
}
