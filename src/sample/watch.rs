//! Who wants to know what was chosen, and how likely it was.

use crate::engine::Candidate;

/// Gets the chosen token and the most likely ones, most likely first, with log probabilities.
pub type Watcher = Box<dyn FnMut(Candidate, &[Candidate]) + Send>;

/// A function that gets every choice. A clone has none.
#[derive(Default)]
pub(super) struct Watch {
    each: Option<Watcher>,
    top: usize,
    chosen: Option<Candidate>,
    best: Vec<Candidate>,
}

impl Watch {
    pub fn new(top: usize, each: Watcher) -> Watch {
        Watch { each: Some(each), top, ..Watch::default() }
    }

    pub fn is_on(&self) -> bool {
        self.each.is_some()
    }

    /// `token` was chosen from `logits`, none of which is NaN or plus infinity.
    pub fn note(&mut self, token: u32, logits: &[f32]) {
        if !self.is_on() {
            return;
        }
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|x| f64::from(x - most).exp()).sum();
        let total = f64::from(most) + sum.ln();
        let log = |x: f32| (f64::from(x) - total) as f32;
        self.best.clear();
        for (token, &logit) in (0..).zip(logits) {
            let full = self.best.len() == self.top;
            if full && self.best.last().is_none_or(|last| last.logit >= logit) {
                continue;
            }
            let at = self.best.partition_point(|best| best.logit >= logit);
            self.best.truncate(self.top - 1);
            self.best.insert(at, Candidate { token, logit });
        }
        self.best.iter_mut().for_each(|best| best.logit = log(best.logit));
        let logit = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        self.chosen = Some(Candidate { token, logit: log(logit) });
    }

    /// Reports the last choice, once.
    pub fn report(&mut self) {
        if let (Some(each), Some(chosen)) = (&mut self.each, self.chosen.take()) {
            each(chosen, &self.best);
        }
    }
}

impl Clone for Watch {
    fn clone(&self) -> Watch {
        Watch::default()
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("is_on", &self.is_on()).field("top", &self.top).finish()
    }
}
