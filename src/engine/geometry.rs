//! What determines the memory of a state.

use crate::cache::{Class, Eviction, INT4_WIDTHS, KvType, LayerShape, Layout, MOST_RING, Plan};
use crate::error::{Error, Result};
use crate::model::{LayerSpec, ModelSpec};

/// The KV heads that see far, in a memory where the others see less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Far {
    /// Their number: the first ones of the model's [`Profile`](crate::model::spec::ModelSpec::profile).
    pub heads: usize,
    /// States that each of them keeps, including the sink. Their chunks have the model's
    /// [`far_length`](crate::model::ChunkSpec::far_length).
    pub ring: usize,
    /// How their keys and values are stored.
    pub kv: KvType,
}

/// What determines the memory of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Chunk states per layer, including the sink.
    pub ring: usize,
    /// Tokens before the current one that stay visible, `L`.
    pub window: usize,
    /// Tokens in a chunk, `P`, at the start.
    pub chunk: usize,
    /// How keys and values are stored.
    pub kv: KvType,
    /// How a full ring makes room: its eviction policy.
    pub eviction: Eviction,
    /// The KV heads for which ring, chunk and type of keys and values are different, if there are
    /// any.
    pub far: Option<Far>,
}

impl std::fmt::Display for Geometry {
    /// `128 chunk states in f16 that drop the oldest, a window of 64, chunks of 8; 13 heads with 1024
    /// states in int8`
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let policy = match self.eviction {
            Eviction::Drop => "drop the oldest",
            Eviction::Thin => "thin the older half",
            Eviction::Retain => "drop what scores lowest",
        };
        let Geometry { ring, window, chunk, kv, far, .. } = self;
        write!(
            f,
            "{ring} chunk states in {kv} that {policy}, a window of {window}, chunks of {chunk}"
        )?;
        match far {
            Some(Far { heads, ring, kv }) => {
                write!(f, "; {heads} heads with {ring} states in {kv}")
            }
            None => Ok(()),
        }
    }
}

impl Geometry {
    /// A ring of `ring` states that drops the oldest, with the model's own chunks and window, the
    /// same for all heads.
    pub fn new(spec: &ModelSpec, ring: usize, kv: KvType) -> Geometry {
        let (window, chunk) = (spec.chunks.window, spec.chunks.length);
        Geometry { ring, window, chunk, kv, eviction: Eviction::Drop, far: None }
    }

    /// Which KV heads remember what. Each layer has a class of heads that see near, whose chunks its
    /// mixers follow, and one of those that see far, if there are any in it. With [`Eviction::Retain`] each
    /// head that sees near is a class of its own.
    ///
    /// # Errors
    /// [`Error::Argument`] if chunk or window is out of range, the model has fewer heads that
    /// see far, or it has no gates for [`Eviction::Retain`]; [`Error::OutOfMemory`] if a ring is longer than [`MOST_RING`].
    pub fn layout(&self, spec: &ModelSpec) -> Result<Layout> {
        let Geometry { ring, window, chunk, kv, eviction, far } = *self;
        if ring.max(far.map_or(0, |far| far.ring)) > MOST_RING {
            let bytes = self.state_bytes(spec);
            return Err(Error::OutOfMemory { bytes, what: "the ring of chunk states" });
        }
        self.check_far(spec)?;
        self.check_eviction(spec)?;
        check_types(spec, kv, far.map_or(kv, |far| far.kv))?;
        let (plans, far_plans) = (spec.plans(chunk)?, spec.plans(spec.chunks.far_length)?);
        let mut classes = Vec::with_capacity(spec.layers.len());
        for (layer, of) in spec.layers.iter().enumerate() {
            let far_heads = self.far_in(spec, layer);
            let heads: Vec<_> = (0..of.kv_heads).filter(|head| !far_heads.contains(head)).collect();
            let (ring, window) = slots(of, ring, window);
            let apart = eviction == Eviction::Retain && ring > 0;
            let classes_of =
                if apart { heads.iter().map(|head| vec![*head]).collect() } else { vec![heads] };
            classes.extend(classes_of.into_iter().map(|heads| Class {
                layer,
                heads,
                plan: plans[layer],
                window,
                ring,
                eviction: if apart { eviction } else { eviction.by_position() },
                kv,
            }));
            let eviction = eviction.by_position();
            if let Some(far) = far.filter(|_| !far_heads.is_empty()) {
                let Far { ring, kv, .. } = far;
                let (heads, plan) = (far_heads, far_plans[layer]);
                classes.push(Class { layer, heads, plan, window, ring, eviction, kv });
            }
        }
        Layout::new(spec.layers.iter().map(shape).collect(), classes)
    }

    /// The plan of each class for chunks of `chunk` tokens.
    ///
    /// # Errors
    /// As [`Geometry::layout`].
    pub fn plans(&self, spec: &ModelSpec, chunk: usize) -> Result<Vec<Plan>> {
        let layout = Geometry { chunk, ..*self }.layout(spec)?;
        Ok(layout.classes().iter().map(|class| class.plan).collect())
    }

    /// The length of the ring of each class.
    ///
    /// # Errors
    /// As [`Geometry::layout`].
    pub fn rings(&self, spec: &ModelSpec) -> Result<Vec<usize>> {
        let layout = self.layout(spec)?;
        Ok(layout.classes().iter().map(|class| class.ring).collect())
    }

    /// Bytes of a state of this geometry: rings, windows, scan and convolution of all layers. Sums
    /// beyond 64 bits saturate: no machine has as much.
    pub fn state_bytes(&self, spec: &ModelSpec) -> u64 {
        let layers = spec.layers.iter().enumerate().map(|(layer, of)| {
            let (ring, window) = slots(of, self.ring, self.window);
            let window = (window as u64).saturating_add(1);
            let far_heads = self.far_in(spec, layer).len();
            let bytes = |kv: KvType, heads, ring| kv.bytes(heads, of.head_dim, ring as u64, window);
            let near = bytes(self.kv, of.kv_heads - far_heads, ring);
            let far = self.far.map_or(0, |far| bytes(far.kv, far_heads, far.ring));
            near.saturating_add(far).saturating_add(shape(of).mixer_bytes())
        });
        layers.fold(0, u64::saturating_add)
    }

    /// Bytes per additional chunk state of the heads that don't see far, across all layers that
    /// keep any.
    pub fn bytes_of_a_state(&self, spec: &ModelSpec) -> u64 {
        let growing = spec.layers.iter().enumerate().filter(|(_, of)| of.window.is_none());
        let layers = growing.map(|(layer, of)| {
            let heads = of.kv_heads - self.far_in(spec, layer).len();
            self.kv.bytes(heads, of.head_dim, 1, 0)
        });
        layers.fold(0, u64::saturating_add)
    }

    /// The heads of a layer that see far.
    pub fn far_in(&self, spec: &ModelSpec, layer: usize) -> Vec<usize> {
        match (self.far, &spec.profile) {
            (Some(far), Some(profile)) => profile.far_in(layer, far.heads),
            _ => Vec::new(),
        }
    }

    /// # Errors
    /// [`Error::Argument`] if the model has no gates for [`Eviction::Retain`], or chunks of several tokens.
    pub(crate) fn check_eviction(&self, spec: &ModelSpec) -> Result<()> {
        if self.eviction != Eviction::Retain {
            return Ok(());
        }
        let chunk = self.chunk;
        let problem = if spec.profile.as_ref().is_none_or(|profile| profile.gates.is_none()) {
            "is retain; the model's file has no retention gates, which say what to keep".to_owned()
        } else if chunk > 1 || !spec.is_transformer() {
            format!("is retain, which keeps single tokens; chunks have {chunk}")
        } else {
            return Ok(());
        };
        Err(Error::argument("the eviction policy", problem))
    }

    fn check_far(&self, spec: &ModelSpec) -> Result<()> {
        let Some(far) = self.far else { return Ok(()) };
        let known = spec.profile.as_ref().map_or(0, |profile| profile.far_heads.len());
        if far.heads > known {
            return Err(Error::argument(
                "the number of KV heads that see far",
                format!("is {}; the model's profile lists {known}", far.heads),
            ));
        }
        Ok(())
    }
}

/// Checks that heads which see near and heads which see far can store keys and values so: their
/// windows have one type, and both types store heads of this width.
///
/// # Errors
/// [`Error::Argument`] if one is in single precision and the other is not, or one is in four bits and
/// the model's heads are too narrow, too wide or no power of two.
pub(crate) fn check_types(spec: &ModelSpec, near: KvType, far: KvType) -> Result<()> {
    for kv in [near, far] {
        let mut layers = spec.layers.iter().enumerate();
        if let Some((layer, of)) = layers.find(|(_, of)| !kv.stores(of.head_dim)) {
            let width = of.head_dim;
            return Err(Error::argument(
                "the type of keys and values",
                format!(
                    "is {kv}, for heads of {INT4_WIDTHS:?} values; those of layer {layer} have {width}"
                ),
            ));
        }
    }
    if (far == KvType::F32) == (near == KvType::F32) {
        return Ok(());
    }
    Err(Error::argument(
        "the type of keys and values",
        format!(
            "is {far} for heads that see far and {near} for the others; either both are f32 or none"
        ),
    ))
}

/// States in the ring of a layer, and tokens before the current one in its window. A layer with its
/// own sliding window has that window and nothing else.
fn slots(layer: &LayerSpec, ring: usize, window: usize) -> (usize, usize) {
    match layer.window {
        Some(seen) => (0, seen - 1),
        None => (ring, window),
    }
}

/// What the memory of a layer depends on.
fn shape(layer: &LayerSpec) -> LayerShape {
    let (scan, conv) = layer
        .ssm
        .map_or((0, 0), |ssm| (2 * ssm.inner * ssm.state, 2 * (ssm.conv - 1) * ssm.channels()));
    LayerShape { kv_heads: layer.kv_heads, head_dim: layer.head_dim, scan, conv }
}
