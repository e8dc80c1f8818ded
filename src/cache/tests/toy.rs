//! A custom policy is one file: here, states at even positions are evicted before those at odd
//! ones, two at a time.

use super::policy::{Full, Policy};
use super::specification::holds;

#[derive(Debug)]
struct EvenFirst;

impl Policy for EvenFirst {
    fn name(&self) -> &'static str {
        "even first"
    }

    fn evict(&self, full: &mut Full) {
        let even = |index: &usize| full.position(*index).is_some_and(|p| p % 2 == 0);
        let gone: Vec<usize> = (0..full.len()).filter(even).take(2).collect();
        gone.into_iter().for_each(|index| full.evict(index));
    }

    fn scatters(&self) -> bool {
        true
    }
}

#[test]
fn a_custom_policy() {
    holds(&EvenFirst, |positions| {
        let even = (0..positions.len()).filter(|i| positions[*i] % 2 == 0);
        let gone: Vec<usize> = even.take(2).collect();
        if gone.is_empty() { vec![0] } else { gone }
    });
}

/// Picks nothing, or what it must not: the oldest state is evicted all the same, and the sink
/// stays.
#[derive(Debug)]
struct Careless;

impl Policy for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn evict(&self, full: &mut Full) {
        full.evict(full.len());
        full.evict(usize::MAX);
    }

    fn scatters(&self) -> bool {
        false
    }
}

#[test]
fn a_policy_can_do_no_harm() {
    holds(&Careless, |_| vec![0]);
}
