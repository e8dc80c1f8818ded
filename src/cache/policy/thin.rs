//! Every second state of the older half is evicted, starting with the oldest, so that no state
//! other than the sink stays forever.

use super::{Full, Policy};

#[derive(Debug)]
pub(super) struct Thin;

impl Policy for Thin {
    fn name(&self) -> &'static str {
        "thin"
    }

    fn evict(&self, full: &mut Full) {
        (0..full.len() / 2).step_by(2).for_each(|index| full.evict(index));
    }

    fn scatters(&self) -> bool {
        true
    }
}
