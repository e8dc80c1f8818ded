//! The oldest state is evicted.

use super::{Full, Policy};

#[derive(Debug)]
pub(super) struct DropOldest;

impl Policy for DropOldest {
    fn name(&self) -> &'static str {
        "drop"
    }

    fn evict(&self, full: &mut Full) {
        full.evict(0);
    }

    fn scatters(&self) -> bool {
        false
    }
}
