//! How well logits predict a token, and the perplexity of many of them.

/// The losses of some tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// Tokens scored.
    pub tokens: usize,
    /// Sum of their negative log-likelihoods, in nats.
    pub sum: f64,
}

impl Losses {
    pub fn add(&mut self, loss: f64) {
        self.tokens += 1;
        self.sum += loss;
    }

    /// Mean loss, in nats per token.
    pub fn mean(&self) -> f64 {
        self.sum / self.tokens as f64
    }

    pub fn perplexity(&self) -> f64 {
        self.mean().exp()
    }
}

/// In nats. The sum is in double precision: a vocabulary has tens of thousands of small terms.
pub fn negative_log_likelihood(logits: &[f32], target: u32) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - top).exp()).sum();
    sum.ln() + f64::from(top) - f64::from(logits[target as usize])
}
