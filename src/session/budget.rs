//! From a budget to the number of chunk states that fit in it.

use super::wish::{Wish, states};
use super::{MOST_WINDOW, Options};
use crate::engine::{Geometry, KvType, check_types};
use crate::error::{Error, Result};
use crate::model::ModelSpec;

/// How much a session may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Budget {
    /// As many chunk states as the training context has, so that no distance is new to the model.
    Context,
    /// Chunk states per layer, including the sink.
    States(usize),
    /// Tokens of context.
    Tokens(u64),
    /// Bytes of state across all layers: ring, window and mixers.
    Bytes(u64),
}

impl Options {
    /// The geometry of a session of a model with these dimensions.
    ///
    /// # Errors
    /// [`Error::Budget`] if the bytes can't hold even one chunk state, [`Error::Argument`] for
    /// options that are out of range or that the model has no heads for.
    pub(crate) fn geometry(&self, spec: &ModelSpec) -> Result<Geometry> {
        let trained = Geometry::new(spec, 0, self.kv.unwrap_or(KvType::F16));
        let chunk = self.chunk.unwrap_or(trained.chunk);
        let window = self.window.unwrap_or(trained.window);
        super::check_chunk(chunk)?;
        if window > MOST_WINDOW {
            return Err(Error::argument(
                "the window",
                format!("is {window} tokens; the maximum is {MOST_WINDOW}"),
            ));
        }
        check_types(spec, trained.kv, trained.kv)?;
        let like = Geometry { window, chunk, eviction: self.eviction, ..trained };
        like.check_eviction(spec)?;
        let of = |ring| Geometry { ring, ..like };
        let context = spec.context as u64;
        let wish = self.wish(spec, like)?;
        Ok(match (self.budget, wish) {
            (Budget::Bytes(bytes), Some(wish)) => match wish.within(spec, bytes)? {
                Some(geometry) => geometry,
                None => Geometry { kv: wish.shortest().0, ..like }.filled(spec, bytes)?,
            },
            (Budget::Bytes(bytes), None) => like.filled(spec, bytes)?,
            (_, Some(wish)) if self.chooses_heads() => wish.unbounded(spec),
            // What heads see in chunks was trained that way, and so were those that see every token.
            (_, Some(wish)) if spec.layers.iter().any(|layer| layer.ssm.is_some()) => {
                Wish { near: wish.horizon, ..wish }.unbounded(spec)
            }
            (Budget::Context, _) => of(states(context, chunk)),
            (Budget::States(n), _) => of(n),
            (Budget::Tokens(n), _) => of(states(n, chunk)),
        })
    }

    /// Tokens that heads that see near keep in a shrink as long as others can give up some.
    pub(crate) fn near_kept(&self, spec: &ModelSpec) -> u64 {
        let of_profile = || spec.profile.as_ref().map_or(0, |profile| profile.near_window as u64);
        self.near.unwrap_or_else(of_profile)
    }

    /// Whether anything but a budget in bytes asks for heads that see far.
    fn chooses_heads(&self) -> bool {
        self.far.is_some() || self.near.is_some() || self.horizon.is_some()
    }

    /// How far which heads should see; none if all are alike.
    fn wish(&self, spec: &ModelSpec, like: Geometry) -> Result<Option<Wish>> {
        let context = match self.budget {
            Budget::Tokens(tokens) => tokens,
            Budget::States(states) => (states as u64).saturating_mul(like.chunk as u64),
            Budget::Context | Budget::Bytes(_) => spec.context as u64,
        };
        let horizon = self.horizon.unwrap_or(context);
        for (what, tokens) in [("horizon", self.horizon), ("near window", self.near)] {
            if tokens == Some(0) {
                return Err(Error::argument(
                    format!("the {what}"),
                    "is 0 tokens; it must be at least 1",
                ));
            }
        }
        let Some(profile) = &spec.profile else {
            return match self.chooses_heads() && self.far != Some(0) {
                false => Ok(None),
                true => Err(Error::argument(
                    "some KV heads",
                    "are to see far; the model has no profile that says which: `attamba profile` makes one",
                )),
            };
        };
        let far = self.far.unwrap_or(profile.far_count);
        let known = profile.far_heads.len();
        if far > known {
            return Err(Error::argument(
                "the number of KV heads that see far",
                format!("is {far}; the model's profile lists {known}"),
            ));
        }
        let four_bits = spec.layers.iter().all(|layer| KvType::I4.stores(layer.head_dim));
        let shortest = if four_bits { KvType::I4 } else { KvType::I8 };
        let kv = [KvType::F16, KvType::I8, shortest].map(|kv| {
            let near = self.kv.unwrap_or(kv);
            (near, self.far_kv.unwrap_or(near))
        });
        kv.iter().try_for_each(|(near, far)| check_types(spec, *near, *far))?;
        if let (Some(near), Some(horizon)) = (self.near, self.horizon)
            && near > horizon
        {
            return Err(Error::argument(
                "the near window",
                format!("is {near} tokens; the horizon, beyond which no head sees, is {horizon}"),
            ));
        }
        let near = self.near.unwrap_or(profile.near_window as u64);
        let (exactly, at_least) = (self.far.is_some(), self.near.is_some());
        let wish = Wish { like, kv, far, exactly, near, at_least, horizon };
        Ok((far > 0).then_some(wish))
    }
}

impl Geometry {
    /// The same with as many chunk states as fit in `bytes`.
    fn filled(self, spec: &ModelSpec, bytes: u64) -> Result<Geometry> {
        let of = |ring| Geometry { ring, ..self };
        let fixed = of(0).state_bytes(spec);
        let a_state = self.bytes_of_a_state(spec);
        let needed = fixed.saturating_add(a_state);
        let window = self.window + 1;
        if bytes < needed {
            return Err(Error::Budget {
                budget: bytes,
                needed,
                advice: format!(
                    "{} {fixed} bytes, and every chunk state takes {a_state} more",
                    match spec.layers.iter().any(|layer| layer.ssm.is_some()) {
                        true => format!("the window of {window} tokens and the mixers take"),
                        false => format!("the window of {window} tokens takes"),
                    }
                ),
            });
        }
        Ok(match (bytes - fixed).checked_div(a_state) {
            Some(ring) => of(usize::try_from(ring).unwrap_or(usize::MAX)),
            // Every layer has a window of its own, so no ring takes any memory.
            None => of(states(spec.context as u64, self.chunk)),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::wish::shrunk;
    use super::*;
    use crate::engine::Far;
    use crate::model::{ChunkSpec, LayerSpec, Profile, Ssm};
    use proptest::prelude::*;

    pub fn spec(window: usize) -> ModelSpec {
        let ssm = Some(Ssm { inner: 32, state: 8, groups: 1, heads: 2, conv: 4 });
        let layer = LayerSpec { ssm, ..LayerSpec::plain(4, 2, 16, 128) };
        ModelSpec {
            family: "attamba",
            d: 64,
            vocab: 100,
            context: 1000,
            eps: 1e-5,
            embedding_scale: 1.0,
            logit_scale: 1.0,
            logit_cap: None,
            tied_head: false,
            unused: Vec::new(),
            rotary: Vec::new(),
            layers: vec![layer; 3],
            chunks: ChunkSpec {
                length: 8,
                far_length: 1,
                window,
                offsets: vec![0, 2, 5],
                trained: vec![8],
                carry_state: false,
            },
            profile: None,
        }
    }

    #[test]
    fn the_context_of_training_is_the_default() {
        assert_eq!(Options::default().geometry(&spec(4)).unwrap().ring, 125);
    }

    #[test]
    fn a_budget_that_holds_nothing_says_what_would() {
        let options = Options { budget: Budget::Bytes(100), ..Options::default() };
        let e = options.geometry(&spec(4)).unwrap_err();
        let Error::Budget { needed, .. } = e else { panic!("{e}") };
        let options = Options { budget: Budget::Bytes(needed), ..Options::default() };
        assert_eq!(options.geometry(&spec(4)).unwrap().ring, 1);
    }

    #[test]
    fn layers_with_windows_of_their_own_take_no_ring() {
        let mut windowed = spec(4);
        for layer in &mut windowed.layers {
            (layer.ssm, layer.window) = (None, Some(10));
        }
        // Three layers of two heads of 16 values, keys and values in two bytes, ten tokens each.
        let bytes = 3 * 2 * 16 * 2 * 2 * 10;
        for budget in [Budget::Bytes(bytes), Budget::States(7), Budget::Context] {
            let options = Options { budget, kv: Some(KvType::F16), ..Options::default() };
            let geometry = options.geometry(&windowed).unwrap();
            assert_eq!(geometry.state_bytes(&windowed), bytes);
            assert_eq!(geometry.layout(&windowed).unwrap().state_bytes(), bytes);
        }
        windowed.layers[1].window = None;
        let options =
            Options { budget: Budget::States(7), kv: Some(KvType::F16), ..Options::default() };
        let geometry = options.geometry(&windowed).unwrap();
        // Seven states, the window of four tokens and the current one.
        let bytes = 2 * 16 * 2 * 2 * (10 + 10 + 7 + 5);
        assert_eq!(geometry.state_bytes(&windowed), bytes);
        assert_eq!(geometry.layout(&windowed).unwrap().state_bytes(), bytes);
    }

    /// Twelve heads, three of which are worth a long reach.
    pub fn with_profile(window: usize, chunk: usize) -> ModelSpec {
        let mut spec = spec(window);
        spec.chunks.length = chunk;
        spec.chunks.offsets = vec![0; 3];
        for layer in &mut spec.layers {
            (layer.heads, layer.kv_heads) = (4, 4);
        }
        let far_heads = vec![(1, 3), (2, 0), (1, 0), (0, 2)];
        spec.profile = Some(Profile { far_heads, far_count: 3, near_window: 100, gates: None });
        spec
    }

    /// The same with heads wide enough for four bits.
    fn with_wide_heads(window: usize, chunk: usize) -> ModelSpec {
        let mut spec = with_profile(window, chunk);
        spec.layers.iter_mut().for_each(|layer| layer.head_dim = 32);
        spec
    }

    /// Heads that see far, tokens that these and the others see, and the types.
    fn seen(geometry: Geometry) -> (usize, usize, usize, KvType) {
        let Geometry { ring, kv, far, .. } = geometry;
        far.map_or((0, 0, ring, kv), |far| (far.heads, far.ring, ring, far.kv))
    }

    #[test]
    fn bytes_decide_how_many_heads_see_far() {
        let spec = with_profile(0, 1);
        // Keys and values of a token in one head.
        let (half, int8) = (2 * 2 * 16, 2 * (16 + 4));
        let windows = 12 * half;
        let geometry = |bytes: u64| {
            let options = Options { budget: Budget::Bytes(windows + bytes), ..Options::default() };
            let mut spec = spec.clone();
            spec.layers.iter_mut().for_each(|layer| layer.ssm = None);
            let geometry = options.geometry(&spec).unwrap();
            assert!(geometry.state_bytes(&spec) <= windows + bytes);
            seen(geometry)
        };
        assert_eq!(geometry(12 * 1000 * half), (0, 0, 1000, KvType::F16));
        assert_eq!(geometry(1 << 30), (0, 0, 1000, KvType::F16));
        assert_eq!(geometry(12 * 1000 * half - 1), (0, 0, 1000, KvType::I8));
        assert_eq!(geometry(12 * 1000 * int8), (0, 0, 1000, KvType::I8));
        assert_eq!(geometry(12 * 1000 * int8 - 1), (3, 1000, 999, KvType::I8));
        assert_eq!(geometry((3 * 1000 + 9 * 100) * int8), (3, 1000, 100, KvType::I8));
        assert_eq!(geometry((3 * 1000 + 9 * 100) * int8 - 1), (2, 1000, 189, KvType::I8));
        assert_eq!(geometry((1000 + 11 * 100) * int8), (1, 1000, 100, KvType::I8));
        assert_eq!(geometry((1000 + 11 * 100) * int8 - 1), (0, 0, 174, KvType::I8));
    }

    #[test]
    fn what_does_not_fit_in_eight_bits_is_kept_in_four() {
        let mut spec = with_wide_heads(0, 1);
        spec.layers.iter_mut().for_each(|layer| layer.ssm = None);
        // Keys and values of a token in one head.
        let (half, int8, int4) = (2 * 2 * 32, 2 * (32 + 4), 2 * (16 + 2));
        let windows = 12 * half;
        let of = |bytes: u64, options: Options| {
            let geometry = Options { budget: Budget::Bytes(windows + bytes), ..options };
            let geometry = geometry.geometry(&spec).unwrap();
            assert!(geometry.state_bytes(&spec) <= windows + bytes);
            seen(geometry)
        };
        let geometry = |bytes: u64| of(bytes, Options::default());
        assert_eq!(geometry(12 * 1000 * half), (0, 0, 1000, KvType::F16));
        assert_eq!(geometry(12 * 1000 * int8), (0, 0, 1000, KvType::I8));
        assert_eq!(geometry(12 * 1000 * int8 - 1), (3, 1000, 999, KvType::I8));
        // Four near windows in eight bits are worth more than more tokens in four.
        assert_eq!(geometry((3 * 1000 + 9 * 400) * int8), (3, 1000, 400, KvType::I8));
        assert_eq!(geometry((3 * 1000 + 9 * 400) * int8 - 1), (0, 0, 1000, KvType::I4));
        assert_eq!(geometry(12 * 1000 * int4), (0, 0, 1000, KvType::I4));
        assert_eq!(geometry(12 * 1000 * int4 - 1), (3, 1000, 999, KvType::I4));
        assert_eq!(geometry((3 * 1000 + 9 * 100) * int4), (3, 1000, 100, KvType::I4));
        assert_eq!(geometry((1000 + 11 * 100) * int4 - 1), (0, 0, 174, KvType::I4));
        // Unless other types are asked for.
        let int8_only = Options { kv: Some(KvType::I8), ..Options::default() };
        assert_eq!(of((3 * 1000 + 9 * 100) * int8, int8_only), (3, 1000, 100, KvType::I8));
        let far = Options { far_kv: Some(KvType::I8), ..Options::default() };
        assert_eq!(of(3 * 1000 * int8 + 9 * 100 * int4, far), (3, 1000, 100, KvType::I8));
    }

    #[test]
    fn who_wants_to_choose_may() {
        let spec = with_profile(4, 8);
        let budget = Budget::Tokens(400);
        let of = |options: Options| options.geometry(&spec).map(seen);
        let plain = Options { budget, ..Options::default() };
        // A model with mixers was trained with heads that see far, so they do without being asked.
        assert_eq!(of(plain).unwrap(), (3, 400, 50, KvType::F16));
        let mut transformer = spec.clone();
        transformer.layers.iter_mut().for_each(|layer| layer.ssm = None);
        assert_eq!(seen(plain.geometry(&transformer).unwrap()), (0, 0, 50, KvType::F16));
        let far = Options { far: Some(4), ..plain };
        assert_eq!(of(far).unwrap(), (4, 400, 13, KvType::F16));
        let near = Options { near: Some(160), far_kv: Some(KvType::I8), ..plain };
        assert_eq!(of(near).unwrap(), (3, 400, 20, KvType::I8));
        let horizon = Options { horizon: Some(7000), kv: Some(KvType::F32), ..plain };
        assert_eq!(of(horizon).unwrap(), (3, 7000, 13, KvType::F32));
        let none = Options { far: Some(0), near: Some(160), ..plain };
        assert_eq!(of(none).unwrap(), (0, 0, 50, KvType::F16));
        for wrong in [
            Options { far: Some(5), ..plain },
            Options { near: Some(0), ..plain },
            Options { horizon: Some(0), ..plain },
            Options { near: Some(301), horizon: Some(300), ..plain },
        ] {
            assert!(matches!(of(wrong), Err(Error::Argument(_))), "{wrong:?}");
        }
        // Exactly as many, or an error that says what they would take.
        let bytes = |bytes| Options { budget: Budget::Bytes(bytes), far: Some(4), ..plain };
        let Err(Error::Budget { needed, .. }) = of(bytes(1000)) else { panic!("they don't fit") };
        assert_eq!(of(bytes(needed)).unwrap(), (4, 1000, 1, KvType::I8));
        assert!(of(bytes(needed - 1)).is_err());
        // So many tokens of the others, with some heads that see far or exactly as many.
        for (far, seen) in [(None, (0, 0)), (Some(4), (4, 1000))] {
            let near =
                |bytes| Options { budget: Budget::Bytes(bytes), near: Some(200), far, ..plain };
            let e = of(near(1000)).unwrap_err();
            let Error::Budget { needed, .. } = &e else { panic!("{e}") };
            assert!(e.to_string().contains("200 tokens"), "{e}");
            let (heads, horizon, ring, _) = of(near(*needed)).unwrap();
            assert_eq!((heads, horizon, ring), (seen.0, seen.1, 25));
            assert!(of(near(needed - 1)).is_err());
        }
        let mut unknown = spec.clone();
        unknown.profile = None;
        let e = far.geometry(&unknown).unwrap_err().to_string();
        assert!(e.contains("attamba profile"), "{e}");
    }

    #[test]
    fn types_that_no_window_can_share_are_refused() {
        let spec = with_profile(4, 8);
        let budget = Budget::Bytes(1 << 20);
        for (far, near_kv, far_kv) in [
            (Some(2), Some(KvType::F32), Some(KvType::I8)),
            (None, Some(KvType::F32), Some(KvType::F16)),
            (None, None, Some(KvType::F32)),
        ] {
            let options = Options { budget, far, kv: near_kv, far_kv, ..Options::default() };
            let e = options.geometry(&spec).unwrap_err();
            assert!(matches!(e, Error::Argument(_)), "{e}");
        }
    }

    proptest! {
        #[test]
        fn more_bytes_never_remember_less(
            bytes in 0u64..4 << 20,
            more in 0u64..1 << 20,
            window in 0usize..40,
            chunk in 1usize..9,
            near in 1u64..300,
            wide: bool,
        ) {
            let spec = if wide { with_wide_heads(window, chunk) } else { with_profile(window, chunk) };
            let geometry = |bytes| {
                let budget = Budget::Bytes(bytes);
                Options { budget, near: Some(near), ..Options::default() }.geometry(&spec)
            };
            let Ok(some) = geometry(bytes) else { return Ok(()) };
            prop_assert!(some.state_bytes(&spec) <= bytes);
            prop_assert_eq!(some.layout(&spec).unwrap().state_bytes(), some.state_bytes(&spec));
            // At least one token of every head.
            prop_assert!(some.ring >= 1);
            let larger = geometry(bytes + more).unwrap();
            // More heads see far; else the others see more, up to four near windows, from where on more
            // bits may be worth more than more tokens.
            let enough = states(4 * near, chunk);
            let rank = |geometry: Geometry| match geometry.far {
                None if geometry.ring >= states(1000, chunk) => (3, enough),
                None => (0, geometry.ring.min(enough)),
                Some(far) => (far.heads, geometry.ring.min(enough)),
            };
            prop_assert!(rank(some) <= rank(larger), "{some}, then {larger}");
        }

        #[test]
        fn a_session_by_head_shrinks_to_any_budget(
            heads in 1usize..5,
            ring in 1usize..60,
            far_ring in 1usize..200,
            bytes in 0u64..60_000,
            more in 0u64..10_000,
        ) {
            let spec = with_profile(3, 4);
            let far = Some(Far { heads, ring: far_ring, kv: KvType::I8 });
            let from = Geometry { far, ..Geometry::new(&spec, ring, KvType::F16) };
            let least = |far: Far| Far { ring: 1, ..far };
            let least = Geometry { ring: 1, far: far.map(least), ..from }.state_bytes(&spec);
            let shrunk = |bytes| shrunk(&spec, from, 100, bytes);
            match shrunk(bytes) {
                Err(Error::Budget { needed, .. }) => {
                    prop_assert!(bytes < least);
                    prop_assert_eq!(needed, least);
                }
                Err(e) => prop_assert!(false, "{e}"),
                Ok(smaller) => {
                    prop_assert!(smaller.state_bytes(&spec) <= bytes);
                    let (a, b) = (smaller.far.unwrap().ring, smaller.ring);
                    prop_assert!(a <= far_ring && b <= ring);
                    let larger = shrunk(bytes + more).unwrap();
                    prop_assert!(larger.far.unwrap().ring >= a && larger.ring >= b);
                    if from.state_bytes(&spec) <= bytes {
                        prop_assert_eq!(smaller, from);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_session_is_never_larger_than_its_budget(bytes in 0u64..1 << 40, window in 0usize..300) {
            let spec = spec(window);
            for kv in [KvType::F32, KvType::F16, KvType::I8] {
                let budget = Budget::Bytes(bytes);
                let options = Options { budget, kv: Some(kv), ..Options::default() };
                if let Ok(geometry) = options.geometry(&spec) {
                    prop_assert!(geometry.state_bytes(&spec) <= bytes);
                    let larger = Geometry { ring: geometry.ring + 1, ..geometry };
                    prop_assert!(larger.state_bytes(&spec) > bytes);
                }
            }
        }
    }
}
