use super::policy::Policy;
use super::*;

mod drop_oldest;
mod hostile;
mod layout;
mod retain;
mod specification;
mod thin;
mod toy;

fn plan(chunk: u64, offset: u64) -> Plan {
    Plan::new(chunk, offset).unwrap()
}

#[test]
fn a_transformer_sees_everything() {
    let mut table = BlockTable::new(Plan::EVERY_TOKEN, 0, 64, Eviction::Drop).unwrap();
    table.begin(28);
    assert_eq!(rows(table.visible(27)), 28);
    assert_eq!(table.visible(27).len(), 1);
}

#[test]
fn chunks_begin_after_boundaries() {
    for (chunk, offset) in [(1, 0), (4, 0), (4, 3), (7, 2)] {
        let plan = plan(chunk, offset);
        let mut table = BlockTable::new(plan, 0, 0, Eviction::Drop).unwrap();
        table.begin(50);
        let mut index = 0;
        for position in 0..50 {
            assert_eq!(table.in_chunk()[position as usize], index, "{plan:?} at {position}");
            index = if plan.is_boundary(position) { 0 } else { index + 1 };
        }
    }
}

#[test]
fn decode_needs_few_runs_and_no_memory() {
    for eviction in Eviction::ALL {
        let plan = if eviction == Eviction::Retain { Plan::EVERY_TOKEN } else { plan(8, 3) };
        let mut table = BlockTable::new(plan, 64, 128, eviction).unwrap();
        table.reserve(1);
        let bytes = table.bytes();
        // An eviction by scores takes memory that the next token gives back.
        let for_a_while = if eviction == Eviction::Retain { 64 * 128 } else { 0 };
        let mut most = Vec::new();
        for position in 0..5000 {
            table.begin(1);
            table.note(position, (position % 97) as f32);
            assert!(table.visible(0).len() <= 8, "{:?}", table.visible(0));
            table.finish();
            assert!(table.bytes() <= bytes + for_a_while, "{eviction}: {}", table.bytes());
            most.push(table.bytes());
        }
        most.sort_unstable();
        let usual = most[most.len() * 9 / 10];
        assert!(usual <= bytes + for_a_while / 8, "{eviction}: {usual} bytes, {bytes} at first");
    }
}
