//! Arbitrary numbers.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn saved_numbers_of_other_making_are_refused_or_harmless(
        position in prop_oneof![0u64..50, any::<u64>().prop_map(|p| p >> 8)],
        numbers in prop::collection::vec(prop_oneof![0u64..60, any::<u64>()], 0..20),
        changed in prop::collection::vec((0usize..40, prop_oneof![0u64..60, any::<u64>()]), 0..3),
        own in any::<bool>(),
        scored in any::<bool>(),
    ) {
        let (chunks, eviction) = if scored { (Plan::EVERY_TOKEN, Eviction::Retain) } else { (plan(4, 1), Eviction::Thin) };
        let mut table = BlockTable::new(chunks, 7, 5, eviction).unwrap();
        // A saved table with some numbers changed is the likeliest to be accepted.
        let (position, numbers) = if own {
            let mut saved = Vec::new();
            for position in 0..position.min(50) {
                table.begin(1);
                table.note(position, position as f32);
                table.finish();
            }
            table.encode(&mut saved);
            for (at, number) in changed {
                if let Some(there) = saved.get_mut(at) {
                    *there = number;
                }
            }
            (table.position(), saved)
        } else {
            (position, numbers)
        };
        if table.decode(position, &mut &numbers[..]).is_some() {
            for len in [1, 2, 17] {
                table.begin(len);
                for t in 0..len {
                    for run in table.visible(t) {
                        let rows = match run.place { Place::Ring => 5, Place::Window => 8, Place::Block => len };
                        prop_assert!(run.len > 0 && run.row(run.len - 1) < rows);
                    }
                }
                prop_assert!(table.moves().iter().all(|m| m.slot < 5));
                table.finish();
            }
        }
    }

    #[test]
    fn public_numbers_make_a_table_or_an_error(
        chunk in prop_oneof![0u64..4, any::<u64>()],
        offset in prop_oneof![0u64..4, any::<u64>()],
        window in prop_oneof![0usize..40, any::<usize>(), Just(MOST_WINDOW), Just(usize::MAX)],
        ring in prop_oneof![0usize..40, any::<usize>(), Just(MOST_RING), Just(usize::MAX)],
        eviction in prop::sample::select(&Eviction::ALL[..]),
    ) {
        let Ok(plan) = Plan::new(chunk, offset) else {
            prop_assert!(chunk == 0 || chunk > MOST_CHUNK as u64 || offset >= chunk);
            return Ok(());
        };
        let Ok(mut table) = BlockTable::new(plan, window, ring, eviction) else {
            prop_assert!(window > MOST_WINDOW || ring > MOST_RING);
            return Ok(());
        };
        table.reserve(4);
        for len in [1, 4, 0, 2] {
            table.begin(len);
            table.finish();
        }
        table.shrink(ring / 2);
        table.reset();
    }
}

#[test]
fn an_error_names_the_allowed_range() {
    let e = Plan::new(0, 0).unwrap_err().to_string();
    assert!(e.contains("between 1 and 16777216, not 0"), "{e}");
    let e = Plan::new(4, 4).unwrap_err().to_string();
    assert!(e.contains("below 4, not 4"), "{e}");
    let e = BlockTable::new(Plan::EVERY_TOKEN, usize::MAX, 1, Eviction::Drop).unwrap_err();
    assert!(e.to_string().contains("between 0 and 16777216"), "{e}");
}
