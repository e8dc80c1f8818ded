//! Logit soft-capping.

use super::super::params::SoftCap;

pub(in super::super) fn soft_cap(p: &SoftCap, logits: &mut [f32], tokens: usize) {
    for token in 0..tokens {
        let row = &mut logits[token * p.stride as usize..][..p.width as usize];
        row.iter_mut().for_each(|x| *x = p.cap * (*x / p.cap).tanh());
    }
}
