use super::*;

/// Every second state of the older half of the whole ring, including the sink; with fewer than
/// three states the oldest.
fn told(positions: &[u64]) -> Vec<usize> {
    let ring = positions.len() + 1;
    let gone: Vec<usize> =
        (1..ring).filter(|i| i % 2 == 1 && *i <= (ring - 1) / 2).map(|i| i - 1).collect();
    if gone.is_empty() { vec![0] } else { gone }
}

#[test]
fn every_second_state_of_the_older_half_is_evicted() {
    specification::holds(Eviction::Thin.policy(), told);
}

#[test]
fn a_thinned_ring_reaches_further_back_and_still_forgets() {
    let mut table = BlockTable::new(Plan::EVERY_TOKEN, 0, 64, Eviction::Thin).unwrap();
    for _ in 0..2000 {
        table.begin(1);
        table.finish();
    }
    let oldest = table.slots.positions().get(1).unwrap();
    assert!((1800..1900).contains(&oldest), "{oldest}");
}
