//! From a budget to the number of chunk states that fit in it.

use super::{MOST_WINDOW, Options};
use crate::engine::Geometry;
use crate::error::{Error, Result};
use crate::model::ModelSpec;

/// How much a session may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// [`Error::Budget`] if the bytes can't hold even one chunk state.
    pub fn geometry(&self, spec: &ModelSpec) -> Result<Geometry> {
        let trained = Geometry::new(spec, 0, self.kv);
        let chunk = self.chunk.unwrap_or(trained.chunk);
        let window = self.window.unwrap_or(trained.window);
        super::check_chunk(chunk)?;
        if window > MOST_WINDOW {
            return Err(Error::Argument(format!(
                "a window of {window} tokens was requested; the maximum is {MOST_WINDOW}"
            )));
        }
        let of = |ring| Geometry { ring, window, chunk, eviction: self.eviction, ..trained };
        let states = |tokens: u64| {
            let states = tokens.div_ceil(chunk as u64);
            usize::try_from(states).unwrap_or(usize::MAX)
        };
        Ok(match self.budget {
            Budget::Context => of(states(spec.context as u64)),
            Budget::States(n) => of(n),
            Budget::Tokens(n) => of(states(n)),
            Budget::Bytes(budget) => {
                let fixed = of(0).state_bytes(spec);
                let a_state = of(0).bytes_of_a_state(spec);
                let needed = fixed.saturating_add(a_state);
                if budget < needed {
                    return Err(Error::Budget {
                        budget,
                        needed,
                        advice: format!(
                            "the window of {} tokens and the mixers take {fixed} bytes, and \
                             every chunk state takes {a_state} more",
                            window + 1
                        ),
                    });
                }
                match (budget - fixed).checked_div(a_state) {
                    Some(ring) => of(usize::try_from(ring).unwrap_or(usize::MAX)),
                    // Every layer has a window of its own, so no ring takes any memory.
                    None => of(states(spec.context as u64)),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::KvType;
    use crate::model::{ChunkSpec, LayerSpec, Ssm};
    use proptest::prelude::*;

    fn spec(window: usize) -> ModelSpec {
        let ssm = Some(Ssm { inner: 32, state: 8, groups: 1, heads: 2, conv: 4 });
        let layer = LayerSpec { ssm, ..LayerSpec::plain(4, 2, 16, 128) };
        ModelSpec {
            family: "attamba",
            d: 64,
            vocab: 100,
            context: 1000,
            eps: 1e-5,
            embedding_scale: 1.0,
            logit_cap: None,
            tied_head: false,
            rotary: Vec::new(),
            layers: vec![layer; 3],
            chunks: ChunkSpec {
                length: 8,
                window,
                offsets: vec![0, 2, 5],
                trained: vec![8],
                carry_state: false,
            },
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
            let options = Options { budget, kv: KvType::F16, ..Options::default() };
            let geometry = options.geometry(&windowed).unwrap();
            assert_eq!(geometry.state_bytes(&windowed), bytes);
            assert_eq!(geometry.layout(&windowed).unwrap().state_bytes(), bytes);
        }
        windowed.layers[1].window = None;
        let options = Options { budget: Budget::States(7), kv: KvType::F16, ..Options::default() };
        let geometry = options.geometry(&windowed).unwrap();
        // Seven states, the window of four tokens and the current one.
        let bytes = 2 * 16 * 2 * 2 * (10 + 10 + 7 + 5);
        assert_eq!(geometry.state_bytes(&windowed), bytes);
        assert_eq!(geometry.layout(&windowed).unwrap().state_bytes(), bytes);
    }

    proptest! {
        #[test]
        fn a_session_is_never_larger_than_its_budget(bytes in 0u64..1 << 40, window in 0usize..300) {
            let spec = spec(window);
            for kv in [KvType::F32, KvType::F16, KvType::I8] {
                let budget = Budget::Bytes(bytes);
                let options = Options { budget, kv, ..Options::default() };
                if let Ok(geometry) = options.geometry(&spec) {
                    prop_assert!(geometry.state_bytes(&spec) <= bytes);
                    let larger = Geometry { ring: geometry.ring + 1, ..geometry };
                    prop_assert!(larger.state_bytes(&spec) > bytes);
                }
            }
        }
    }
}
