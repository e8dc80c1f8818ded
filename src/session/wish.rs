//! From bytes to reaches: how many KV heads see far, and how far the others see.
//!
//! A few KV heads of a model fetch what lies far back; the others look at what is near. So those few
//! keep states of a long text and the others of a shorter one, in as few bytes per state as it
//! takes. Measured with SmolLM2 (`benches/README.md`): a head that sees near needs some five hundred
//! tokens, and a head that sees far is given up before the others get less. Four bits cost half a
//! percent of perplexity, which is less than what a window of a few of these lengths costs, and more
//! than what a longer one does.

use crate::engine::{Far, Geometry, KvType};
use crate::error::{Error, Result};
use crate::model::ModelSpec;

/// With a near window of this many times [`Wish::near`], bits are worth more than more tokens.
const ENOUGH: u64 = 4;

/// What a session by head should be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Like the session, except for the rings.
    pub like: Geometry,
    /// The types of keys and values of heads that see near and of those that see far, to be tried in
    /// this order, each with fewer bytes than the one before or equal to it.
    pub kv: [(KvType, KvType); 3],
    /// How many heads see far, at most; exactly as many if `exactly`.
    pub far: usize,
    pub exactly: bool,
    /// Tokens that the others should see at least; they must if `at_least`.
    pub near: u64,
    pub at_least: bool,
    /// Tokens that a head that sees far should see.
    pub horizon: u64,
}

impl Wish {
    /// With this many heads that see far, and so many states of the others.
    fn geometry(
        &self,
        spec: &ModelSpec,
        kv: (KvType, KvType),
        far: usize,
        ring: usize,
    ) -> Geometry {
        let far_ring = states(self.horizon, spec.chunks.far_length);
        let alike = far_ring == ring && spec.chunks.far_length == self.like.chunk && kv.0 == kv.1;
        let far = Far { heads: far, ring: far_ring, kv: kv.1 };
        let far = (far.heads > 0 && !alike).then_some(far);
        Geometry { ring, kv: kv.0, far, ..self.like }
    }

    /// The types that take the fewest bytes.
    pub fn shortest(&self) -> (KvType, KvType) {
        let [.., last] = self.kv;
        last
    }

    /// The geometry without regard to bytes.
    pub fn unbounded(&self, spec: &ModelSpec) -> Geometry {
        let near = states(self.near.min(self.horizon), self.like.chunk);
        self.geometry(spec, self.kv[0], self.far, near)
    }

    /// The geometry that `bytes` allow. All heads see the horizon where that fits in the first or the
    /// second of the types; else as many heads see far as leave the others [`Wish::near`] tokens, and
    /// what is left over makes the others see further. That is in the second of the types if the
    /// others then see [`ENOUGH`] times that, else in the last. None if no head can see far.
    ///
    /// # Errors
    /// [`Error::Budget`] if so many heads that see far, or so many tokens of the others, were
    /// demanded and don't fit.
    pub fn within(&self, spec: &ModelSpec, bytes: u64) -> Result<Option<Geometry>> {
        let chunk = self.like.chunk;
        let most = states(self.horizon, chunk);
        let [half, int8, _] = self.kv;
        for kv in [half, int8] {
            let all = self.geometry(spec, kv, self.far, most);
            if all.state_bytes(spec) <= bytes {
                return Ok(Some(all));
            }
        }
        let partly = |kv, far, least| {
            let smallest = self.geometry(spec, kv, far, least);
            let spare = bytes.checked_sub(smallest.state_bytes(spec))?;
            let more = spare.checked_div(smallest.bytes_of_a_state(spec)).unwrap_or(0);
            let ring = least.saturating_add(usize::try_from(more).unwrap_or(usize::MAX));
            Some(self.geometry(spec, kv, far, ring.min(most)))
        };
        let enough = states(self.near.saturating_mul(ENOUGH).min(self.horizon), chunk);
        if let found @ Some(_) = partly(int8, self.far, enough) {
            return Ok(found);
        }
        let kv = self.shortest();
        let near = states(self.near.min(self.horizon), chunk);
        let least = if self.exactly && !self.at_least { 1 } else { near };
        // All heads may see as little as what is demanded of those that see near.
        let fewest = match (self.exactly, self.at_least) {
            (true, _) => self.far,
            (false, demanded) => usize::from(!demanded),
        };
        let found = (fewest..=self.far).rev().find_map(|far| partly(kv, far, least));
        if found.is_some() || !(self.exactly || self.at_least) {
            return Ok(found);
        }
        let geometry = self.geometry(spec, kv, fewest, least);
        let far = self.geometry(spec, kv, fewest, 0).state_bytes(spec);
        Err(Error::Budget {
            budget: bytes,
            needed: geometry.state_bytes(spec),
            advice: match fewest {
                0 => format!("{} tokens of every KV head are the least", self.near),
                _ if !self.at_least => {
                    format!(
                        "{fewest} KV heads that see {} tokens take {far} bytes alone",
                        self.horizon
                    )
                }
                _ => format!(
                    "{fewest} KV heads that see {} tokens take {far} bytes, and {} tokens of the others the rest",
                    self.horizon, self.near
                ),
            },
        })
    }
}

/// States that a text of `tokens` tokens leaves in chunks of `chunk`.
pub(super) fn states(tokens: u64, chunk: usize) -> usize {
    usize::try_from(tokens.div_ceil(chunk as u64)).unwrap_or(usize::MAX)
}

/// The largest geometry within `bytes` that a session of this one can shrink to. Heads that see near
/// give up what exceeds `near` tokens; then those that see far do; then all of them, equally.
///
/// # Errors
/// [`Error::Budget`] if not even one state of every head fits.
pub(super) fn shrunk(spec: &ModelSpec, from: Geometry, near: u64, bytes: u64) -> Result<Geometry> {
    let tokens = |ring: usize, chunk: usize| (ring as u64).saturating_mul(chunk as u64);
    let fit =
        |tokens: u64, chunk, ring: usize| states(tokens, chunk).clamp(1, ring.max(1)).min(ring);
    let far_chunk = spec.chunks.far_length;
    let (near, horizon) = match from.far {
        Some(far) => {
            let near = near.min(tokens(from.ring, from.chunk));
            (near, tokens(far.ring, far_chunk).max(near))
        }
        None => (0, 0),
    };
    // What is given up, in order, the last first.
    let step = |step: u64| Geometry {
        ring: fit(step.min(near) + step.saturating_sub(horizon), from.chunk, from.ring),
        far: from.far.map(|far| Far { ring: fit(step, far_chunk, far.ring), ..far }),
        ..from
    };
    let least = step(1);
    let needed = least.state_bytes(spec);
    if needed > bytes {
        return Err(Error::Budget {
            budget: bytes,
            needed,
            advice: format!(
                "a window of {} tokens and one chunk state of every KV head are the least",
                from.window as u64 + 1
            ),
        });
    }
    let (mut fits, mut too_much) = (1, horizon.saturating_add(tokens(from.ring, from.chunk)) + 1);
    while too_much - fits > 1 {
        let middle = fits + (too_much - fits) / 2;
        match step(middle).state_bytes(spec) <= bytes {
            true => fits = middle,
            false => too_much = middle,
        }
    }
    Ok(step(fits))
}
