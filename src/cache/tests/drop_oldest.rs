use super::*;

#[test]
fn the_oldest_state_is_evicted() {
    specification::holds(Eviction::Drop.policy(), |_| vec![0]);
}

#[test]
fn a_full_ring_is_followed_round_and_round() {
    let mut table = BlockTable::new(Plan::EVERY_TOKEN, 0, 8, Eviction::Drop).unwrap();
    for _ in 0..100 {
        table.begin(3);
        table.finish();
        assert!(table.order().count() <= 3, "{:?}", table.order().collect::<Vec<_>>());
    }
}
