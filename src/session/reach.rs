//! What a session remembers, in tokens and in a sentence.

use super::{Options, Session};
use crate::cache::{Eviction, KvType};
use crate::engine::Geometry;
use crate::error::Result;
use crate::memory::size;
use crate::model::{Model, ModelSpec};
use std::fmt::{Display, Formatter};

/// KV heads that see equally far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heads {
    /// Their number in all layers.
    pub count: usize,
    /// Tokens that each of them sees, including the current one. The first token of a text is seen
    /// in addition. Where a full ring is thinned out or evicts by score, only those that are certain to be
    /// left.
    pub tokens: u64,
    /// Chunk states that each of them keeps, including the first.
    pub states: usize,
    /// How keys and values are stored.
    pub kv: KvType,
}

/// How far the KV heads of a session see. Its text is a sentence for a user:
///
/// `14 of 90 heads see the last 8,192 tokens, the others the last 2,798; 22.5 MiB in int4`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reach {
    /// Those that see far, if not all heads are alike.
    pub far: Option<Heads>,
    /// The others.
    pub near: Heads,
    /// Heads of layers with a sliding window of their own. They are not among the others.
    pub windowed: usize,
    /// What becomes of older states.
    pub eviction: Eviction,
    /// Bytes of state.
    pub bytes: u64,
}

impl Reach {
    /// Of a session of a model with these dimensions.
    pub(crate) fn new(spec: &ModelSpec, geometry: &Geometry) -> Reach {
        let Geometry { ring, window, chunk, kv, eviction, far } = *geometry;
        let heads = |own: bool| -> usize {
            let layers = spec.layers.iter().filter(|layer| layer.window.is_some() == own);
            layers.map(|layer| layer.kv_heads).sum()
        };
        let tokens = |states: usize, chunk: usize, eviction| {
            let states = states.saturating_sub(1);
            let states = match eviction {
                Eviction::Drop => states,
                Eviction::Thin => states - states / 2,
                Eviction::Retain => states.div_ceil(2),
            };
            let window = (window as u64).saturating_add(1);
            (states as u64).saturating_mul(chunk as u64).saturating_add(window)
        };
        let far = far.map(|far| Heads {
            count: far.heads,
            tokens: tokens(far.ring, spec.chunks.far_length, eviction.by_position()),
            states: far.ring,
            kv: far.kv,
        });
        let count = heads(false) - far.map_or(0, |far| far.count);
        let near = Heads { count, tokens: tokens(ring, chunk, eviction), states: ring, kv };
        let bytes = geometry.state_bytes(spec);
        Reach { far, near, windowed: heads(true), eviction, bytes }
    }

    /// Tokens that some head sees.
    pub fn tokens(&self) -> u64 {
        self.far.map_or(0, |far| far.tokens).max(self.near.tokens)
    }
}

impl Display for Reach {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        let Reach { far, near, windowed, eviction, bytes } = self;
        let all = near.count + far.map_or(0, |far| far.count);
        let last = |tokens: u64| match tokens {
            1 => "last token".to_owned(),
            _ => format!("last {} tokens", grouped(tokens)),
        };
        match far {
            _ if all == 0 => write!(f, "all heads see the windows of their layers")?,
            Some(far) if near.count > 0 && far.tokens != near.tokens => {
                let (count, far, near) = (far.count, last(far.tokens), grouped(near.tokens));
                write!(f, "{count} of {all} heads see the {far}, the others the last {near}")?;
            }
            _ => write!(f, "all heads see the {}", last(self.tokens()))?,
        }
        if *windowed > 0 && all > 0 {
            write!(f, ", but {windowed} the windows of their layers")?;
        }
        if *eviction == Eviction::Thin && all > 0 {
            write!(f, ", and of those before fewer and fewer")?;
        }
        let older = (near.states as u64).saturating_sub(near.tokens);
        if *eviction == Eviction::Retain && near.count > 0 && older > 0 {
            write!(f, " and up to {} older ones that score highest", grouped(older))?;
        }
        write!(f, "; {}", size(*bytes))?;
        match far {
            Some(far) if near.count > 0 && far.kv != near.kv => {
                write!(f, " in {} and {}", far.kv, near.kv)
            }
            Some(far) => write!(f, " in {}", far.kv),
            None => write!(f, " in {}", near.kv),
        }
    }
}

impl Options {
    /// How far the KV heads of a session with these options would see.
    ///
    /// # Errors
    /// As [`Session::open`], except for what only an engine knows.
    pub fn reach(&self, model: &Model) -> Result<Reach> {
        let spec = model.spec();
        Ok(Reach::new(spec, &self.geometry(spec)?))
    }
}

impl Session {
    /// How far its KV heads see.
    pub fn reach(&self) -> Reach {
        Reach::new(self.spec(), &self.geometry)
    }
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::budget::tests::{spec, with_profile};
    use super::*;
    use crate::session::Budget;

    /// The sentence without the bytes and the type that it ends with.
    fn said(spec: &ModelSpec, options: Options) -> String {
        let geometry = options.geometry(spec).unwrap();
        let text = Reach::new(spec, &geometry).to_string();
        let end = format!("; {} in f16", size(geometry.state_bytes(spec)));
        text.strip_suffix(&end).expect(&end).to_owned()
    }

    #[test]
    fn a_sentence_says_how_far_which_heads_see() {
        let mut spec = with_profile(0, 1);
        spec.layers.iter_mut().for_each(|layer| layer.ssm = None);
        let options = Options { near: Some(1234), horizon: Some(1_000_000), ..Options::default() };
        let text = Reach::new(&spec, &options.geometry(&spec).unwrap()).to_string();
        assert!(text.ends_with("; 183.8 MiB in f16"), "{text}");
        assert_eq!(
            said(&spec, options),
            "3 of 12 heads see the last 1,000,000 tokens, the others the last 1,234"
        );
        let kv = Options { far_kv: Some(KvType::I8), ..options };
        let text = Reach::new(&spec, &kv.geometry(&spec).unwrap()).to_string();
        assert!(text.ends_with(" MiB in int8 and f16"), "{text}");
        let equal = Options { near: Some(999), horizon: Some(999), ..options };
        assert_eq!(said(&spec, equal), "all heads see the last 999 tokens");
        let ring = Options { budget: Budget::States(0), ..Options::default() };
        assert_eq!(said(&spec, ring), "all heads see the last token");
    }

    #[test]
    fn chunks_and_windows_count() {
        let options = Options { budget: Budget::States(10), ..Options::default() };
        // Nine chunks of eight tokens after the first state, a window of 20 tokens and this one.
        assert_eq!(said(&spec(20), options), "all heads see the last 93 tokens");
        let thin = Options { eviction: Eviction::Thin, ..options };
        assert_eq!(
            said(&spec(20), thin),
            "all heads see the last 61 tokens, and of those before fewer and fewer"
        );
        let far = Options { far: Some(3), horizon: Some(200), near: Some(16), ..options };
        // Far heads have chunks of one token.
        assert_eq!(
            said(&with_profile(20, 8), far),
            "3 of 12 heads see the last 220 tokens, the others the last 29"
        );
    }

    #[test]
    fn what_is_kept_by_scores_is_said_with_what_is_certain() {
        let mut spec = with_profile(0, 1);
        spec.layers.iter_mut().for_each(|layer| layer.ssm = None);
        let retain = Options { eviction: Eviction::Retain, ..Options::default() };
        let e = retain.geometry(&spec).unwrap_err().to_string();
        assert!(e.contains("no retention gates"), "{e}");
        if let Some(profile) = &mut spec.profile {
            profile.gates = Some(vec![0.0; 12 * spec.d].into());
        }
        let chunks = Options { chunk: Some(4), ..retain };
        assert!(chunks.geometry(&spec).unwrap_err().to_string().contains("single tokens"));
        let all = Options { far: Some(0), budget: Budget::States(100), ..retain };
        assert_eq!(
            said(&spec, all),
            "all heads see the last 51 tokens and up to 49 older ones that score highest"
        );
        let by_head = Options { near: Some(100), horizon: Some(1000), ..retain };
        assert_eq!(
            said(&spec, by_head),
            "3 of 12 heads see the last 1,000 tokens, the others the last 51 and up to 49 older ones that score highest"
        );
        let least = Options { far: Some(0), budget: Budget::States(1), ..retain };
        assert_eq!(said(&spec, least), "all heads see the last token");
    }

    #[test]
    fn layers_with_windows_of_their_own_are_no_part_of_it() {
        let mut spec = spec(0);
        spec.layers[1].window = Some(5);
        let options = Options { budget: Budget::States(10), chunk: Some(1), ..Options::default() };
        assert_eq!(
            said(&spec, options),
            "all heads see the last 10 tokens, but 2 the windows of their layers"
        );
        spec.layers.iter_mut().for_each(|layer| layer.window = Some(5));
        assert_eq!(said(&spec, options), "all heads see the windows of their layers");
    }
}
