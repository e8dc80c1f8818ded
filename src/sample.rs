//! From logits to a token.

use crate::engine::{Candidate, TOP};
use crate::error::{Error, Result};
use std::collections::VecDeque;

/// How tokens are chosen. The steps run in the order of the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Added to the logits of some tokens: `(token, bias)`. Minus infinity forbids one.
    pub bias: Vec<(u32, f32)>,
    /// Logits of recent tokens are divided by this where positive, else multiplied. 1 is off.
    pub repeat_penalty: f32,
    /// How many tokens are recent.
    pub repeat_last: usize,
    /// Only the most likely are kept; 0 keeps all.
    pub top_k: usize,
    /// Only the most likely that together have this probability are kept; 1 keeps all.
    pub top_p: f32,
    /// Only those at least this many times as likely as the most likely are kept; 0 keeps all.
    pub min_p: f32,
    /// Logits are divided by it before the draw; 0 takes the most likely.
    pub temperature: f32,
    /// Seed of the draws. A seed means the same for ever.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            bias: Vec::new(),
            repeat_penalty: 1.0,
            repeat_last: 64,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            temperature: 0.8,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Always the most likely token.
    pub fn greedy() -> Sampling {
        Sampling { temperature: 0.0, ..Sampling::default() }
    }

    fn check(&self) -> Result<()> {
        let refuse = |what: &str, x: f32, range: &str| {
            Err(Error::Argument(format!("{what} of {x}; {range} is expected")))
        };
        // Written so that a NaN is refused too.
        if !(self.repeat_penalty > 0.0 && self.repeat_penalty.is_finite()) {
            return refuse("a repetition penalty", self.repeat_penalty, "a positive number");
        }
        if !(0.0..=1.0).contains(&self.top_p) {
            return refuse("a top-p", self.top_p, "0 to 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return refuse("a min-p", self.min_p, "0 to 1");
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return refuse("a temperature", self.temperature, "0 or a positive number");
        }
        match self.bias.iter().find(|(_, b)| b.is_nan() || *b == f32::INFINITY) {
            Some((token, b)) => Err(Error::Argument(format!("a bias of {b} for token {token}"))),
            None => Ok(()),
        }
    }
}

/// Chooses tokens and remembers the recent ones. After the first call nothing is allocated.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    recent: VecDeque<u32>,
    /// Logits after bias and penalty.
    scores: Vec<f32>,
    /// `(score, token)`, the candidates at hand.
    candidates: Vec<(f32, u32)>,
}

impl Sampler {
    /// A sampler.
    ///
    /// # Errors
    /// [`Error::Argument`] for a number outside of its range.
    pub fn new(sampling: Sampling) -> Result<Sampler> {
        sampling.check()?;
        Ok(Sampler {
            random: Random::new(sampling.seed),
            recent: VecDeque::with_capacity(sampling.repeat_last.min(1 << 16) + 1),
            scores: Vec::new(),
            candidates: Vec::new(),
            sampling,
        })
    }

    /// Notes a token that was not sampled, such as one of the prompt.
    pub fn accept(&mut self, token: u32) {
        if self.sampling.repeat_penalty == 1.0 || self.sampling.repeat_last == 0 {
            return;
        }
        if self.recent.len() == self.sampling.repeat_last {
            self.recent.pop_front();
        }
        self.recent.push_back(token);
    }

    /// The recent tokens, the oldest first; none where no penalty asks for them.
    pub fn recent(&self) -> Vec<u32> {
        self.recent.iter().copied().collect()
    }

    /// Takes `tokens`, the oldest first, for the recent ones; the random numbers go on.
    pub fn recall(&mut self, tokens: &[u32]) {
        self.forget();
        for &token in tokens {
            self.accept(token);
        }
    }

    /// Forgets the recent tokens; the random numbers go on.
    pub fn forget(&mut self) {
        self.recent.clear();
    }

    /// The next token for `logits` (`[vocab]`), which counts as recent from now on. Logits that
    /// are not numbers are never chosen while there are others.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        self.score(logits);
        let token = match self.sampling.temperature {
            0.0 => greatest(&self.scores),
            temperature => self.draw(temperature),
        };
        self.accept(token);
        token
    }

    /// Whether [`Sampler::sample_top`] chooses what [`Sampler::sample`] would.
    pub(crate) fn needs_only_top(&self) -> bool {
        let s = &self.sampling;
        let penalises = s.repeat_penalty != 1.0 && s.repeat_last > 0;
        let few = s.temperature == 0.0 || (1..=TOP).contains(&s.top_k);
        s.bias.is_empty() && !penalises && few
    }

    /// As [`Sampler::sample`], from the most likely candidates alone, in descending order.
    pub(crate) fn sample_top(&mut self, top: &[Candidate]) -> u32 {
        let Some(best) = top.first().map(|c| c.logit) else { return 0 };
        if best == f32::NEG_INFINITY {
            return 0;
        }
        // Zeros of both signs are equal here, though not in the order of candidates.
        let equals = top.iter().take_while(|c| c.logit == best);
        let greatest = equals.map(|c| c.token).min().unwrap_or(0);
        match self.sampling.temperature {
            0.0 => greatest,
            _ if best.is_infinite() => greatest,
            temperature => {
                self.candidates.clear();
                self.candidates.extend(top.iter().map(|c| (c.logit, c.token)));
                self.draw_of_candidates(best, greatest, temperature)
            }
        }
    }

    fn score(&mut self, logits: &[f32]) {
        self.scores.clear();
        self.scores.extend(logits.iter().map(|x| if x.is_nan() { f32::NEG_INFINITY } else { *x }));
        for &(token, bias) in &self.sampling.bias {
            if let Some(score) = self.scores.get_mut(token as usize) {
                *score += bias;
            }
        }
        let penalty = self.sampling.repeat_penalty;
        for (i, &token) in self.recent.iter().enumerate() {
            // Once a token, however often it occurs.
            let first = self.recent.iter().take(i).all(|&t| t != token);
            if let (true, Some(score)) = (first, self.scores.get_mut(token as usize)) {
                *score = if *score > 0.0 { *score / penalty } else { *score * penalty };
            }
        }
    }

    fn draw(&mut self, temperature: f32) -> u32 {
        let top = greatest(&self.scores);
        let Some(&best) = self.scores.get(top as usize) else { return top };
        if best.is_infinite() {
            return top;
        }
        self.candidates.clear();
        self.candidates.extend(self.scores.iter().zip(0u32..).map(|(s, t)| (*s, t)));
        self.draw_of_candidates(best, top, temperature)
    }

    /// Draws one of the candidates, of which `top`, of score `best`, is the most likely.
    fn draw_of_candidates(&mut self, best: f32, top: u32, temperature: f32) -> u32 {
        // min-p is a bound on the score, so it can go first and spare the sorting of the rest.
        let bound = best + self.sampling.min_p.ln();
        self.candidates.retain(|(s, _)| *s >= bound && *s > f32::NEG_INFINITY);

        let descending = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let k = match self.sampling.top_k {
            0 => self.candidates.len(),
            k => k.min(self.candidates.len()),
        };
        if k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(k, descending);
            self.candidates.truncate(k);
        }
        self.candidates.sort_unstable_by(descending);

        if self.sampling.top_p < 1.0 {
            let weight = |c: &(f32, u32)| f64::from(c.0 - best).exp();
            let total: f64 = self.candidates.iter().map(weight).sum();
            let mut sum = 0.0;
            let enough = self.candidates.iter().position(|c| {
                sum += weight(c);
                sum >= f64::from(self.sampling.top_p) * total
            });
            self.candidates.truncate(enough.map_or(k, |i| i + 1));
        }

        let weight = |c: &(f32, u32)| (f64::from(c.0 - best) / f64::from(temperature)).exp();
        let total: f64 = self.candidates.iter().map(weight).sum();
        let mut left = self.random.unit() * total;
        for c in &self.candidates {
            left -= weight(c);
            if left < 0.0 {
                return c.1;
            }
        }
        // Rounding can leave a little over; the last candidate then is as good as any.
        self.candidates.last().map_or(top, |c| c.1)
    }
}

/// The index of the greatest; the first of equals, 0 of none.
pub(crate) fn greatest(scores: &[f32]) -> u32 {
    let mut best = (f32::NEG_INFINITY, 0);
    for (i, &score) in scores.iter().enumerate() {
        if score > best.0 {
            best = (score, i as u32);
        }
    }
    best.1
}

/// xoshiro256++ (Blackman and Vigna), seeded by SplitMix64. Its own, so that a seed means the same
/// in every version of this library.
#[derive(Clone, Debug)]
struct Random([u64; 4]);

impl Random {
    fn new(mut seed: u64) -> Random {
        Random(std::array::from_fn(|_| {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampler(change: impl FnOnce(&mut Sampling)) -> Sampler {
        let mut sampling =
            Sampling { top_k: 0, top_p: 1.0, min_p: 0.0, temperature: 1.0, ..Sampling::default() };
        change(&mut sampling);
        Sampler::new(sampling).unwrap()
    }

    fn frequencies(sampler: &mut Sampler, logits: &[f32]) -> Vec<f64> {
        const DRAWS: usize = 20_000;
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..DRAWS {
            counts[sampler.sample(logits) as usize] += 1.0 / DRAWS as f64;
        }
        counts
    }

    #[test]
    fn the_generator_is_pinned() {
        // Reference values of xoshiro256++ for the state 1, 2, 3, 4.
        let mut r = Random([1, 2, 3, 4]);
        assert_eq!([r.next(), r.next(), r.next()], [41943041, 58720359, 3588806011781223]);
        // SplitMix64's first output for seed 0.
        assert_eq!(Random::new(0).0[0], 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut s = sampler(|s| s.seed = 42);
        let drawn: Vec<u32> = (0..8).map(|_| s.sample(&logits)).collect();
        assert_eq!(drawn, [18, 21, 25, 31, 27, 10, 20, 1]);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let p = frequencies(&mut sampler(|_| {}), &[0.0, 2f32.ln(), f32::NEG_INFINITY, f32::NAN]);
        assert!((p[0] - 1.0 / 3.0).abs() < 0.02 && (p[1] - 2.0 / 3.0).abs() < 0.02, "{p:?}");
        assert_eq!(p[2] + p[3], 0.0);
    }

    #[test]
    fn temperature_sharpens() {
        let p = frequencies(&mut sampler(|s| s.temperature = 0.5), &[0.0, 2f32.ln()]);
        assert!((p[1] - 0.8).abs() < 0.02, "{p:?}");
    }

    #[test]
    fn candidates_are_cut() {
        let logits = [0.5f32, 0.3, 0.15, 0.05].map(f32::ln);
        let kept =
            |mut s: Sampler| frequencies(&mut s, &logits).iter().filter(|&&p| p > 0.0).count();
        assert_eq!(kept(sampler(|s| s.top_k = 3)), 3);
        assert_eq!(kept(sampler(|s| s.top_p = 0.7)), 2);
        assert_eq!(kept(sampler(|s| s.min_p = 0.2)), 3);
        assert_eq!(kept(sampler(|s| s.top_k = 1)), 1);
        assert_eq!(kept(sampler(|s| s.top_p = 0.0)), 1);
    }

    #[test]
    fn recent_tokens_are_penalised_once() {
        let mut s = sampler(|s| {
            s.temperature = 0.0;
            s.repeat_penalty = 2.0;
            s.repeat_last = 3;
        });
        for _ in 0..5 {
            s.accept(1);
        }
        assert_eq!(s.sample(&[1.5, 2.0]), 0);
        let mut s = sampler(|s| {
            s.temperature = 0.0;
            s.repeat_penalty = 2.0;
            s.repeat_last = 1;
        });
        let picks: Vec<u32> = (0..4).map(|_| s.sample(&[1.5, 2.0])).collect();
        assert_eq!(picks, [1, 0, 1, 0]);
    }

    #[test]
    fn bias_forbids_and_favours() {
        let mut s = sampler(|s| {
            s.temperature = 0.0;
            s.bias = vec![(1, f32::NEG_INFINITY), (2, 5.0), (99, 1.0)];
        });
        assert_eq!(s.sample(&[1.0, 9.0, 0.0]), 2);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let changes: [fn(&mut Sampling); 6] = [
            |s| s.temperature = -1.0,
            |s| s.temperature = f32::NAN,
            |s| s.top_p = 1.5,
            |s| s.min_p = f32::NAN,
            |s| s.repeat_penalty = 0.0,
            |s| s.bias = vec![(0, f32::INFINITY)],
        ];
        for change in changes {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            assert!(Sampler::new(sampling).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_token_of_the_vocabulary_is_drawn_whatever_the_logits(
            bits in prop::collection::vec(any::<u32>(), 1..50),
            top_k in 0usize..60,
            top_p in 0f32..=1.0,
            min_p in 0f32..=1.0,
            temperature in 0f32..5.0,
        ) {
            let logits: Vec<f32> = bits.iter().map(|&b| f32::from_bits(b)).collect();
            let mut s = Sampler::new(Sampling {
                top_k, top_p, min_p, temperature, repeat_penalty: 1.1, ..Sampling::default()
            }).unwrap();
            for _ in 0..3 {
                prop_assert!((s.sample(&logits) as usize) < logits.len());
            }
        }
    }
}
