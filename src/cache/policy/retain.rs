//! The states with the lowest scores are evicted, a fifth of the ring at a time, but none of the newer
//! half: a score says how much a state will be needed once it is far away.

use super::{Full, Policy};

#[derive(Debug)]
pub(super) struct Retain;

impl Policy for Retain {
    fn name(&self) -> &'static str {
        "retain"
    }

    fn evict(&self, full: &mut Full) {
        full.evict_lowest(full.len().div_ceil(5), full.len().div_ceil(2));
    }

    fn scatters(&self) -> bool {
        true
    }

    fn scored(&self) -> bool {
        true
    }
}
