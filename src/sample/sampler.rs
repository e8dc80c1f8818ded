//! Runs the chain.

use super::candidates::{Candidates, weights};
use super::dry::Dry;
use super::history::History;
use super::options::Sampling;
use super::random::Random;
use super::stage::Stage;
use super::watch::{Watch, Watcher};
use super::{penalties, truncation, typical, xtc};
use crate::engine::{Candidate, TOP};
use crate::error::{Error, Result};
use std::hash::{BuildHasher, RandomState};

/// Chooses tokens and remembers the recent ones. Once its buffers have grown to the vocabulary and
/// the recent tokens, nothing is allocated.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    /// The stages that change something.
    chain: Vec<Stage>,
    seed: u64,
    random: Random,
    history: History,
    dry: Dry,
    candidates: Candidates,
    watch: Watch,
}

impl Sampler {
    /// A sampler.
    ///
    /// # Errors
    /// [`Error::Argument`] for a parameter outside its range, naming it, or for a stage that is
    /// listed twice.
    pub fn new(sampling: Sampling) -> Result<Sampler> {
        sampling.check()?;
        let dry = if sampling.looks_for_repetitions() { sampling.dry_penalty_last_n } else { 0 };
        let window = if sampling.penalizes() { sampling.repeat_last } else { 0 };
        // The keys of a hasher are the randomness that the standard library provides.
        let seed = sampling.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        Ok(Sampler {
            chain: sampling.chain(),
            random: Random::new(seed),
            seed,
            history: History::new(dry, window),
            dry: Dry::new(&sampling),
            candidates: Candidates::default(),
            watch: Watch::default(),
            sampling,
        })
    }

    /// The seed of the draws: that of [`Sampling::seed`], or the one that took its place.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Texts that end what is generated.
    #[cfg(feature = "text")]
    pub(crate) fn stop_texts(&self) -> &[String] {
        &self.sampling.stop
    }

    /// Records a token that was not sampled, such as one of the prompt.
    pub fn accept(&mut self, token: u32) {
        self.history.push(token);
    }

    /// The recent tokens, oldest first; none if no stage needs them.
    pub fn recent(&self) -> Vec<u32> {
        self.history.iter().collect()
    }

    /// Replaces the recent tokens with `tokens`, oldest first; the random numbers continue.
    pub fn recall(&mut self, tokens: &[u32]) {
        self.forget();
        for &token in tokens {
            self.accept(token);
        }
    }

    /// Forgets the recent tokens; the random numbers continue.
    pub(crate) fn forget(&mut self) {
        self.history.clear();
    }

    /// Samples the next token from `logits` (`[vocab]`); it counts as recent from now on.
    ///
    /// # Errors
    /// [`Error::Logits`] if a logit is NaN or plus infinity, or none is finite. Then nothing has
    /// been drawn.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        let token = self.choose(logits)?;
        self.accept(token);
        self.report();
        Ok(token)
    }

    /// Like [`Sampler::sample`], but the token counts as recent only once it is accepted.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        self.candidates.fill(logits, &self.sampling.bias)?;
        self.run();
        let token = self.draw()?;
        self.watch.note(token, logits);
        Ok(token)
    }

    /// From now on `each` gets every token that is generated, once it has been processed, and the
    /// `top` most likely ones, most likely first. Their logits are log probabilities, those of the
    /// model before the first stage. It takes all logits from a GPU. `None` ends it; a clone of the
    /// sampler has no such function.
    pub fn watch(&mut self, top: usize, each: Option<Watcher>) {
        self.watch = each.map(|each| Watch::new(top, each)).unwrap_or_default();
    }

    /// Reports the last choice to who watches.
    pub(crate) fn report(&mut self) {
        self.watch.report();
    }

    /// The tokens that [`Sampler::sample`] would draw from, most likely first, with their
    /// probabilities. Nothing is drawn except XTC's chance, and no token counts as recent.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn distribution(&mut self, logits: &[f32]) -> Result<Vec<(u32, f64)>> {
        self.candidates.fill(logits, &self.sampling.bias)?;
        self.run();
        let sorted = self.candidates.sort();
        let (weight, total) = weights(sorted);
        Ok(sorted.iter().map(|c| (c.token, weight(c) / total)).collect())
    }

    /// Whether [`Sampler::choose_top`] is worth trying: the chain narrows to at most [`TOP`] tokens
    /// before a stage needs all of them.
    pub(crate) fn needs_only_top(&self) -> bool {
        let lowers = |stage: &Stage| match stage {
            Stage::Penalties => penalties::only_lower(&self.sampling),
            stage => *stage == Stage::Dry,
        };
        self.sampling.bias.is_empty()
            && !self.watch.is_on()
            && match self.chain.iter().find(|stage| !lowers(stage)) {
                Some(Stage::TopK) => self.sampling.top_k <= TOP,
                Some(Stage::Temperature) => self.sampling.temperature == 0.0,
                _ => false,
            }
    }

    /// What [`Sampler::choose`] would choose, given only the most likely candidates, in descending
    /// order. None if they are not sufficient because too many of them have been penalized: then
    /// nothing has been drawn, and all logits are needed.
    pub(crate) fn choose_top(&mut self, top: &[Candidate]) -> Option<u32> {
        let enough = self.candidates.fill_top(top, top.len() < TOP);
        if !enough || !self.run() {
            return None;
        }
        self.draw().ok()
    }

    /// Runs the stages. False if the candidates are not all tokens and a stage needs the missing
    /// ones.
    fn run(&mut self) -> bool {
        let s = &self.sampling;
        let candidates = &mut self.candidates;
        for stage in &self.chain {
            let keep = match stage {
                Stage::Penalties => {
                    penalties::apply(candidates, &self.history, s);
                    continue;
                }
                Stage::Dry => {
                    self.dry.apply(candidates, &self.history, s);
                    continue;
                }
                Stage::TopK => Some(s.top_k),
                Stage::Temperature if s.temperature == 0.0 => Some(1),
                _ => None,
            };
            match keep {
                Some(k) if !candidates.keep(k) => return false,
                Some(_) => continue,
                None if candidates.is_partial() => return false,
                None => {}
            }
            match stage {
                Stage::TypicalP => typical::typical_p(candidates, s.typical_p),
                Stage::TopP => truncation::top_p(candidates, s.top_p),
                Stage::MinP => truncation::min_p(candidates, s.min_p),
                Stage::Xtc => {
                    if self.random.unit() < f64::from(s.xtc_probability) {
                        xtc::apply(candidates, s.xtc_threshold);
                    }
                }
                _ => candidates.scale(s.temperature),
            }
        }
        !candidates.is_partial()
    }

    /// Draws one of the remaining candidates.
    fn draw(&mut self) -> Result<u32> {
        let sorted = self.candidates.sort();
        let (weight, total) = weights(sorted);
        let mut left = self.random.unit() * total;
        for c in sorted {
            left -= weight(c);
            if left < 0.0 {
                return Ok(c.token);
            }
        }
        // Rounding can leave a small remainder; then the last candidate is as good as any.
        sorted.last().map(|c| c.token).ok_or(Error::Logits { nan: 0, infinite: 0, vocab: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// No stage but the temperature, of 1.
    fn plain() -> Sampling {
        Sampling { top_k: 0, top_p: 1.0, min_p: 0.0, temperature: 1.0, ..Sampling::default() }
    }

    fn sampler(sampling: Sampling) -> Sampler {
        Sampler::new(sampling).unwrap()
    }

    fn frequencies(sampler: &mut Sampler, logits: &[f32]) -> Vec<f64> {
        const DRAWS: usize = 20_000;
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..DRAWS {
            counts[sampler.sample(logits).unwrap() as usize] += 1.0 / DRAWS as f64;
        }
        counts
    }

    /// The tokens that can be drawn, most likely first.
    fn kept(sampling: Sampling, logits: &[f32]) -> Vec<u32> {
        let distribution = sampler(sampling).distribution(logits).unwrap();
        distribution.iter().map(|(token, _)| *token).collect()
    }

    #[test]
    fn seeds_are_stable_across_versions() {
        let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut s = sampler(Sampling { seed: Some(42), ..plain() });
        let drawn: Vec<u32> = (0..8).map(|_| s.sample(&logits).unwrap()).collect();
        assert_eq!(drawn, [18, 21, 25, 31, 27, 10, 20, 1]);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [0.0, 2f32.ln(), f32::NEG_INFINITY];
        let mut s = sampler(plain());
        let distribution = s.distribution(&logits).unwrap();
        assert_eq!(distribution.len(), 2);
        assert!((distribution[0].1 - 2.0 / 3.0).abs() < 1e-7, "{distribution:?}");
        let p = frequencies(&mut s, &logits);
        assert!((p[0] - 1.0 / 3.0).abs() < 0.02 && (p[1] - 2.0 / 3.0).abs() < 0.02, "{p:?}");
        assert_eq!(p[2], 0.0);

        // One time in four the most likely one of the two is excluded.
        let xtc = Sampling { xtc_probability: 0.25, xtc_threshold: 0.3, ..plain() };
        let p = frequencies(&mut sampler(xtc), &logits);
        assert!((p[1] - 0.75 * 2.0 / 3.0).abs() < 0.02, "{p:?}");
    }

    #[test]
    fn who_watches_gets_log_probabilities() {
        use std::sync::{Arc, Mutex};
        let seen = Arc::new(Mutex::new(Vec::new()));
        let logits = [0.1f32, 0.4, 0.3, 0.2].map(|p| p.ln() + 3.0);
        let mut s = sampler(Sampling { bias: vec![(0, 50.0)], ..Sampling::greedy() });
        for top in [2, 0, 9] {
            let seen = Arc::clone(&seen);
            let each = move |chosen: Candidate, best: &[Candidate]| {
                seen.lock().unwrap().push((chosen, best.to_vec()));
            };
            s.watch(top, Some(Box::new(each)));
            assert_eq!(s.sample(&logits).unwrap(), 0);
        }
        let mut clone = s.clone();
        s.watch(0, None);
        s.sample(&logits).unwrap();
        clone.sample(&logits).unwrap();
        let seen = seen.lock().unwrap();
        let (lengths, p): (Vec<_>, Vec<_>) = seen
            .iter()
            .map(|(chosen, best)| {
                let best: Vec<_> = best.iter().map(|c| (c.token, c.logit.exp())).collect();
                (best.len(), (chosen.token, chosen.logit.exp(), best))
            })
            .unzip();
        assert_eq!(lengths, [2, 0, 4]);
        let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
        assert!(p.iter().all(|(token, p, _)| *token == 0 && near(*p, 0.1)), "{p:?}");
        let order: Vec<u32> = p[2].2.iter().map(|(token, _)| *token).collect();
        assert_eq!(order, [1, 2, 3, 0]);
        assert!(near(p[0].2[0].1, 0.4) && near(p[0].2[1].1, 0.3), "{p:?}");
    }

    #[test]
    fn stages_run_in_the_order_given() {
        let logits = [0.4f32, 0.3, 0.2, 0.1].map(f32::ln);
        let of = |stages: [Stage; 2]| {
            kept(Sampling { top_k: 2, top_p: 0.6, stages: stages.to_vec(), ..plain() }, &logits)
        };
        // Of the best two, 0.4 / 0.7 is less than 0.6; of all of them 0.4 + 0.3 is enough.
        assert_eq!(of([Stage::TopK, Stage::TopP]), [0, 1]);
        let of = |stages: [Stage; 2]| {
            kept(Sampling { top_k: 2, top_p: 0.5, stages: stages.to_vec(), ..plain() }, &logits)
        };
        assert_eq!(of([Stage::TopK, Stage::TopP]), [0]);
        assert_eq!(of([Stage::TopP, Stage::TopK]), [0, 1]);
        let all = kept(Sampling { top_k: 1, stages: vec![Stage::TopP], ..plain() }, &logits);
        assert_eq!(all, [0, 1, 2, 3], "a stage that is not named does not run");

        // At a temperature of 0.5 the best two have 0.16 + 0.09 of 0.3.
        let p = Sampling { temperature: 0.5, top_p: 0.8, ..plain() };
        let first = Sampling { stages: vec![Stage::Temperature, Stage::TopP], ..p.clone() };
        assert_eq!(kept(first, &logits), [0, 1]);
        assert_eq!(
            kept(Sampling { stages: vec![Stage::TopP, Stage::Temperature], ..p }, &logits),
            [0, 1, 2]
        );
    }

    #[test]
    fn penalties_count_what_is_recent() {
        let one = |change: fn(Sampling) -> Sampling, tokens: &[u32], logits: &[f32]| {
            let mut s = sampler(change(Sampling { repeat_last: 3, ..plain() }));
            tokens.iter().for_each(|&t| s.accept(t));
            let p = s.distribution(logits).unwrap();
            let p = |token| p.iter().find(|(t, _)| *t == token).unwrap().1;
            (p(0) / p(1)).ln()
        };
        // A penalty of 2 counts once, and makes a negative logit more so.
        let repeat = |s: Sampling| Sampling { repeat_penalty: 2.0, ..s };
        assert!((one(repeat, &[0, 0, 0, 0], &[1.0, 0.0]) - 0.5).abs() < 1e-6);
        assert!((one(repeat, &[0], &[-1.0, 0.0]) + 2.0).abs() < 1e-6);
        assert!((one(repeat, &[0, 2, 2, 2], &[1.0, 0.0, 0.0]) - 1.0).abs() < 1e-6, "long ago");
        let frequency = |s: Sampling| Sampling { frequency_penalty: 0.25, ..s };
        assert!((one(frequency, &[0, 0], &[1.0, 0.0]) - 0.5).abs() < 1e-6);
        let presence = |s: Sampling| Sampling { presence_penalty: 0.25, ..s };
        assert!((one(presence, &[0, 0], &[1.0, 0.0]) - 0.75).abs() < 1e-6);
    }

    #[test]
    fn dry_penalizes_what_would_go_on_repeating() {
        let sampling = || Sampling { dry_multiplier: 1.0, dry_base: 2.0, ..plain() };
        let lost = |sampling: Sampling, tokens: &[u32]| {
            let mut s = sampler(sampling);
            tokens.iter().for_each(|&t| s.accept(t));
            let p = s.distribution(&[0.0; 10]).unwrap();
            let of = |token| p.iter().find(|(t, _)| *t == token).unwrap().1;
            // Token 9 never occurs.
            std::array::from_fn::<_, 8, _>(|t| (of(9) / of(t as u32)).ln().round())
        };
        // 1 2 3 4, 1 2 3: a 4 would extend the repetition of three to four.
        let text = [1, 2, 3, 4, 1, 2, 3];
        assert_eq!(lost(sampling(), &text), [0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]);
        let none = [0.0; 8];
        assert_eq!(lost(Sampling { dry_allowed_length: 4, ..sampling() }, &text), none);
        assert_eq!(
            lost(Sampling { dry_penalty_last_n: 5, ..sampling() }, &text),
            none,
            "too long ago"
        );
        // 2 breaks the repetition, which leaves one of length one.
        assert_eq!(lost(Sampling { dry_breakers: vec![vec![2]], ..sampling() }, &text), none);
        let sequence = Sampling { dry_breakers: vec![vec![1, 2], vec![5, 1]], ..sampling() };
        assert_eq!(lost(sequence, &text), none);
        let elsewhere = Sampling { dry_breakers: vec![vec![4, 2], vec![5]], ..sampling() };
        assert_eq!(lost(elsewhere, &text), lost(sampling(), &text));
        // A breaker itself is not penalized.
        assert_eq!(lost(Sampling { dry_breakers: vec![vec![4]], ..sampling() }, &text), none);
    }

    #[test]
    fn bias_forbids_and_favors() {
        let bias = vec![(1, f32::NEG_INFINITY), (2, 5.0), (99, 1.0)];
        let mut s = sampler(Sampling { bias, ..Sampling::greedy() });
        assert_eq!(s.sample(&[1.0, 9.0, 0.0]).unwrap(), 2);
        let all = vec![(0, f32::NEG_INFINITY), (1, f32::NEG_INFINITY)];
        let mut s = sampler(Sampling { bias: all, ..Sampling::greedy() });
        let error = s.sample(&[1.0, 9.0]).unwrap_err();
        assert!(matches!(error, Error::Logits { nan: 0, infinite: 2, vocab: 2 }), "{error}");
    }

    #[test]
    fn non_finite_logits_are_an_error() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for sampling in [Sampling::greedy(), Sampling::default()] {
            for (logits, want) in [
                ([nan, nan], (2, 0)),
                ([0.0, nan], (1, 0)),
                ([inf, 0.0], (0, 1)),
                ([-inf, -inf], (0, 2)),
            ] {
                let error = sampler(sampling.clone()).sample(&logits).unwrap_err();
                let Error::Logits { nan, infinite, vocab: 2 } = error else { panic!("{error}") };
                assert_eq!((nan, infinite), want);
            }
            assert!(sampler(sampling).sample(&[]).is_err());
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        for (sampling, want) in [
            (
                Sampling { temperature: -1.0, ..plain() },
                "temperature is -1; it must be at least 0 and finite",
            ),
            (Sampling { temperature: f32::NAN, ..plain() }, "temperature is NaN"),
            (Sampling { top_p: 1.5, ..plain() }, "top_p is 1.5; it must be between 0 and 1"),
            (Sampling { min_p: f32::NAN, ..plain() }, "min_p is NaN"),
            (Sampling { typical_p: -0.5, ..plain() }, "typical_p is -0.5"),
            (Sampling { xtc_probability: 2.0, ..plain() }, "xtc_probability is 2"),
            (Sampling { xtc_threshold: -1.0, ..plain() }, "xtc_threshold is -1"),
            (
                Sampling { repeat_penalty: 0.0, ..plain() },
                "repeat_penalty is 0; it must be above 0",
            ),
            (Sampling { frequency_penalty: f32::INFINITY, ..plain() }, "frequency_penalty is inf"),
            (Sampling { presence_penalty: f32::NAN, ..plain() }, "presence_penalty is NaN"),
            (Sampling { dry_multiplier: -1.0, ..plain() }, "dry_multiplier is -1"),
            (Sampling { dry_base: 0.5, ..plain() }, "dry_base is 0.5; it must be at least 1"),
            (
                Sampling { dry_breakers: vec![vec![1], vec![]], ..plain() },
                "sequence 1 of dry_breakers",
            ),
            (Sampling { bias: vec![(7, f32::INFINITY)], ..plain() }, "the bias of token 7 is inf"),
            (
                Sampling { stages: vec![Stage::Dry, Stage::Dry], ..plain() },
                "the stage dry is named twice",
            ),
        ] {
            let error = Sampler::new(sampling).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }

    #[test]
    fn stages_have_names() {
        for stage in Stage::DEFAULT {
            assert_eq!(stage.to_string().parse::<Stage>().unwrap(), stage);
        }
        assert_eq!("typ_p".parse::<Stage>().unwrap(), Stage::TypicalP);
        assert_eq!("temp".parse::<Stage>().unwrap(), Stage::Temperature);
        assert!("mirostat".parse::<Stage>().unwrap_err().to_string().contains("penalties, dry"));
    }

    proptest! {
        #[test]
        fn some_token_is_drawn_or_the_logits_are_no_numbers(
            bits in prop::collection::vec(any::<u32>(), 1..50),
            top_k in 0usize..60,
            ps in prop::array::uniform4(0f32..=1.0),
            temperature in prop_oneof![Just(0.0), Just(1e-38f32), 0f32..5.0],
            penalty in prop_oneof![Just(1e-38f32), Just(1e38), 0.5f32..2.0],
            dry in prop_oneof![Just(0.0), Just(1e38f32), 0f32..2.0],
        ) {
            let logits: Vec<f32> = bits.iter().map(|&b| f32::from_bits(b)).collect();
            let mut s = sampler(Sampling { top_k, top_p: ps[0], min_p: ps[1], typical_p: ps[2], xtc_probability: ps[3], temperature, repeat_penalty: penalty, dry_multiplier: dry, dry_allowed_length: 0, ..Sampling::default() });
            let bad = |x: &f32| x.is_nan() || *x == f32::INFINITY;
            let none = logits.iter().any(bad) || !logits.iter().any(|x| x.is_finite());
            for _ in 0..3 {
                match s.sample(&logits) {
                    Ok(token) => prop_assert!(logits[token as usize].is_finite() && !none),
                    Err(e) => prop_assert!(none, "{e}"),
                }
            }
        }

        /// The most likely tokens alone are sufficient, or report that they are not.
        #[test]
        fn the_best_tokens_choose_as_all_do(
            // Few values: many logits are equal.
            values in prop::collection::vec(-8i8..8, 20..300),
            recent in prop::collection::vec(0u32..300, 0..60),
            top_k in 1usize..70,
            temperature in prop_oneof![Just(0.0f32), Just(0.7)],
            penalty in prop_oneof![Just(1.0f32), Just(1.5), Just(0.5)],
            dry in prop_oneof![Just(0.0f32), Just(2.0)],
        ) {
            let logits: Vec<f32> = values.iter().map(|&v| f32::from(v) / 2.0).collect();
            let mut all: Vec<Candidate> =
                logits.iter().zip(0..).map(|(&logit, token)| Candidate { token, logit }).collect();
            all.sort_by(|a, b| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token)));
            all.truncate(TOP);
            let mut s = sampler(Sampling { top_k, temperature, repeat_penalty: penalty, dry_multiplier: dry, dry_allowed_length: 1, ..Sampling::default() });
            recent.iter().for_each(|&t| s.accept(t));
            let mut other = s.clone();
            for _ in 0..4 {
                let want = s.sample(&logits).unwrap();
                if !other.needs_only_top() {
                    prop_assert!(penalty < 1.0 || (top_k > TOP && temperature > 0.0));
                    break;
                }
                let got = match other.choose_top(&all) {
                    Some(token) => {
                        other.accept(token);
                        token
                    }
                    None => other.sample(&logits).unwrap(),
                };
                prop_assert_eq!(got, want);
            }
        }
    }

    #[test]
    fn the_best_tokens_report_when_they_are_not_enough() {
        let logits: Vec<f32> = (0..200).map(|i| -(i as f32) / 100.0).collect();
        let top: Vec<Candidate> =
            (0..TOP).map(|token| Candidate { token: token as u32, logit: logits[token] }).collect();
        let mut s = sampler(Sampling { presence_penalty: 100.0, ..Sampling::default() });
        assert!(s.needs_only_top());
        // Of the 64 more than 40 stay above the least of them.
        (0..23).for_each(|t| s.accept(t));
        assert!(s.clone().choose_top(&top).is_some());
        s.accept(23);
        assert!(s.choose_top(&top).is_none());
        assert!(!sampler(plain()).needs_only_top());
    }
}
