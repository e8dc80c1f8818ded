use super::*;
use proptest::prelude::*;

/// The indices that are evicted from states with these scores.
fn gone(scores: &[f32]) -> Vec<usize> {
    let newest = scores.len().div_ceil(2);
    let mut ranked: Vec<usize> = (0..scores.len() - newest).collect();
    ranked.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    ranked.truncate(scores.len().div_ceil(5));
    if ranked.is_empty() { vec![0] } else { ranked }
}

/// A score of a token, as arbitrary as it is certain.
fn score(seed: u64, position: u64) -> f32 {
    let mixed = (position + 1).wrapping_mul(seed | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 54) as f32 - 512.0
}

/// A block, as an engine computes it: scores are known afterwards.
fn process(table: &mut BlockTable, seed: u64, len: usize) {
    let first = table.position();
    (first..first + len as u64).for_each(|position| table.note(position, score(seed, position)));
    table.finish();
}

/// The positions whose rows are in each place.
struct Rows {
    ring: Vec<Option<u64>>,
    window: Vec<Option<u64>>,
}

proptest! {
    #[test]
    fn what_scores_low_is_evicted_however_a_text_is_split(
        seed in any::<u64>(), window in 0usize..5, ring in 2usize..40,
        lens in prop::collection::vec(1usize..50, 1..60),
        saved in any::<prop::sample::Index>(),
    ) {
        let new = || BlockTable::new(Plan::EVERY_TOKEN, window, ring, Eviction::Retain).unwrap();
        let mut table = new();
        let (mut states, mut oldest) = (Vec::new(), 0);
        let mut rows = Rows { ring: vec![None; ring], window: vec![None; window + 1] };
        let saved = saved.index(lens.len());
        for (number, len) in lens.into_iter().enumerate() {
            let len = len.min(table.room());
            let first = table.position();
            table.begin(len);
            for t in 0..len {
                let position = first + t as u64;
                while oldest + (window as u64) < position {
                    if states.len() == ring {
                        let scores: Vec<f32> = states[1..].iter().map(|p| score(seed, *p)).collect();
                        let gone = gone(&scores);
                        let mut place = 0;
                        states.retain(|_| {
                            place += 1;
                            place == 1 || !gone.contains(&(place - 2))
                        });
                    }
                    states.push(oldest);
                    oldest += 1;
                }
                let mut want: Vec<u64> = states.iter().copied().chain(oldest..=position).collect();
                let mut got: Vec<u64> = table.visible(t).iter().flat_map(|run| {
                    let row = |i| match run.place {
                        Place::Ring => rows.ring[run.row(i)],
                        Place::Window => rows.window[run.row(i)],
                        Place::Block => Some(first + run.row(i) as u64),
                    };
                    (0..run.len).map(row).collect::<Vec<_>>()
                }).map(Option::unwrap).collect();
                got.sort_unstable();
                want.sort_unstable();
                prop_assert_eq!(got, want, "at {}", position);
            }
            for m in table.moves() {
                rows.ring[m.slot as usize] = match m.from {
                    Place::Ring => rows.ring[m.row as usize],
                    Place::Window => rows.window[m.row as usize],
                    Place::Block => Some(first + u64::from(m.row)),
                };
            }
            for (row, slot) in table.enter() {
                rows.window[slot] = Some(first + row as u64);
            }
            process(&mut table, seed, len);
            if number == saved {
                // A table that was saved goes on as one that was not, whose rows are in order.
                let mut numbers = Vec::new();
                table.encode(&mut numbers);
                let most = BlockTable::most_numbers(window, ring, table.position());
                prop_assert!(numbers.len() as u64 <= most);
                let slots: Vec<usize> = table.order().flatten().collect();
                let mut again = new();
                prop_assert!(again.decode(table.position(), &mut &numbers[..]).is_some());
                rows.ring = slots.into_iter().map(|slot| rows.ring[slot]).collect();
                rows.ring.resize(ring, None);
                table = again;
            }
        }
    }
}

#[test]
fn blocks_end_where_the_ring_is_full_and_see_it_in_few_pieces() {
    let mut table = BlockTable::new(Plan::EVERY_TOKEN, 0, 100, Eviction::Retain).unwrap();
    assert_eq!(table.room(), 25);
    let mut evictions = 0;
    for _ in 0..400 {
        let len = table.room().min(64);
        let before = table.rows();
        table.begin(len);
        assert!((0..len).all(|t| table.visible(t).len() <= 10), "{:?}", table.visible(len - 1));
        process(&mut table, 7, len);
        evictions += usize::from(table.rows() < before + len);
    }
    assert!(evictions > 100, "{evictions}");
}

#[test]
fn a_smaller_ring_keeps_what_scores_highest() {
    let mut table = BlockTable::new(Plan::EVERY_TOKEN, 0, 64, Eviction::Retain).unwrap();
    for position in 0..64 {
        table.begin(1);
        table.note(position, if position % 4 == 3 { 1.0 } else { -1.0 });
        table.finish();
    }
    let before = table.rows();
    let kept = table.shrink(40);
    assert!(kept.len() <= 40 && kept.len() > 20, "{} of {before}", kept.len());
    let old: Vec<usize> = kept.iter().copied().filter(|slot| (1..24).contains(slot)).collect();
    assert!(old.iter().all(|slot| slot % 4 == 3) && old.len() >= 4, "{kept:?}");
}
