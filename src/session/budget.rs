//! From a budget to the number of chunk states that it holds.

use super::Options;
use crate::engine::Geometry;
use crate::error::{Error, Result};
use crate::model::Hyper;

/// How much a session may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// As many chunk states as the context of training has, so that no distance is new to the
    /// model.
    Context,
    /// Chunk states a layer, the sink counted.
    States(usize),
    /// Tokens of context.
    Tokens(u64),
    /// Bytes of state, all layers: ring, window and mixers.
    Bytes(u64),
}

impl Options {
    /// The geometry of a session of a model of these sizes.
    ///
    /// # Errors
    /// [`Error::Budget`] if the bytes can't hold even one chunk state.
    pub fn geometry(&self, hyper: &Hyper) -> Result<Geometry> {
        let of = |ring| Geometry { ring, kv: self.kv };
        let states = |tokens: u64| {
            let states = tokens.div_ceil(hyper.chunk as u64);
            usize::try_from(states).unwrap_or(usize::MAX)
        };
        Ok(match self.budget {
            Budget::Context => of(states(hyper.context as u64)),
            Budget::States(n) => of(n),
            Budget::Tokens(n) => of(states(n)),
            Budget::Bytes(budget) => {
                let fixed = of(0).state_bytes(hyper);
                let a_state = of(1).state_bytes(hyper) - fixed;
                if budget < fixed + a_state {
                    let window = hyper.window + 1;
                    return Err(Error::Budget {
                        budget,
                        needed: fixed + a_state,
                        advice: format!(
                            "{fixed} bytes are the window of {window} tokens and the mixers, and \
                             every chunk state takes {a_state} more"
                        ),
                    });
                }
                of(usize::try_from((budget - fixed) / a_state).unwrap_or(usize::MAX))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::KvType;
    use crate::model::{Architecture, Ssm};
    use proptest::prelude::*;

    fn hyper(window: usize) -> Hyper {
        Hyper {
            architecture: Architecture::Attamba,
            layers: 3,
            d: 64,
            ffn: 128,
            vocab: 100,
            context: 1000,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            eps: 1e-5,
            freq_base: 1e4,
            projected_kv: true,
            ssm: Some(Ssm { inner: 32, state: 8, groups: 1, heads: 2, conv: 4 }),
            chunk: 8,
            window,
            offsets: vec![0, 2, 5],
            carry_state: false,
        }
    }

    #[test]
    fn the_context_of_training_is_the_default() {
        assert_eq!(Options::default().geometry(&hyper(4)).unwrap().ring, 125);
    }

    #[test]
    fn a_budget_that_holds_nothing_says_what_would() {
        let options = Options { budget: Budget::Bytes(100), ..Options::default() };
        let e = options.geometry(&hyper(4)).unwrap_err();
        let Error::Budget { needed, .. } = e else { panic!("{e}") };
        let options = Options { budget: Budget::Bytes(needed), ..Options::default() };
        assert_eq!(options.geometry(&hyper(4)).unwrap().ring, 1);
    }

    proptest! {
        #[test]
        fn a_session_is_never_larger_than_its_budget(bytes in 0u64..1 << 40, window in 0usize..300) {
            let hyper = hyper(window);
            for kv in [KvType::F16, KvType::F32] {
                let options = Options { budget: Budget::Bytes(bytes), kv };
                if let Ok(geometry) = options.geometry(&hyper) {
                    prop_assert!(geometry.state_bytes(&hyper) <= bytes);
                    let larger = Geometry { ring: geometry.ring + 1, ..geometry };
                    prop_assert!(larger.state_bytes(&hyper) > bytes);
                }
            }
        }
    }
}
