use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// Window and ring as the specification tells them, one token at a time.
struct Told {
    plan: Plan,
    next: Option<Plan>,
    window_len: u64,
    budget: usize,
    overflow: Overflow,
    window: VecDeque<(u64, bool)>,
    ring: Vec<u64>,
    in_chunk: u64,
}

impl Told {
    fn new(plan: Plan, window_len: u64, budget: usize, overflow: Overflow) -> Told {
        let (window, ring) = (VecDeque::new(), Vec::new());
        Told { plan, next: None, window_len, budget, overflow, window, ring, in_chunk: 0 }
    }

    /// What the token sees, and how many of its chunk come before it.
    fn token(&mut self, position: u64) -> (Vec<u64>, u64) {
        let closes = self.plan.is_boundary(position);
        self.window.push_back((position, closes));
        if self.window.len() as u64 > self.window_len + 1 {
            let (leaving, closed) = self.window.pop_front().unwrap();
            if closed {
                self.retire(leaving);
            }
        }
        let in_chunk = self.in_chunk;
        self.in_chunk += 1;
        if closes {
            self.in_chunk = 0;
            self.plan = self.next.take().unwrap_or(self.plan);
        }
        let window = self.window.iter().map(|(p, _)| *p);
        (self.ring.iter().copied().chain(window).collect(), in_chunk)
    }

    fn retire(&mut self, position: u64) {
        if self.overflow == Overflow::Thin && self.budget >= 3 && self.ring.len() == self.budget {
            self.thin();
        }
        self.ring.push(position);
        if self.ring.len() > self.budget {
            let sink_stays = self.ring[0] == 0 && self.budget > 1;
            self.ring.remove(if sink_stays { 1 } else { 0 });
        }
    }

    fn thin(&mut self) {
        let half = (self.ring.len() - 1) / 2;
        let old = self.ring.clone();
        self.ring =
            (0..old.len()).filter(|i| *i == 0 || *i > half || i % 2 == 0).map(|i| old[i]).collect();
    }

    fn change(&mut self, plan: Plan) {
        if self.in_chunk == 0 {
            (self.plan, self.next) = (plan, None);
        } else {
            self.next = Some(plan);
        }
    }
}

/// The three places with positions for rows.
struct Rows {
    ring: Vec<Option<u64>>,
    window: Vec<Option<u64>>,
}

/// Takes in one block and holds every token against what is told.
fn follow(ledger: &mut Ledger, told: &mut Told, rows: &mut Rows, start: u64, len: usize) {
    ledger.begin(len);
    for t in 0..len {
        let runs = ledger.visible(t);
        let mut seen = Vec::new();
        for run in runs {
            for row in (0..run.len).map(|i| run.row(i)) {
                seen.push(match run.place {
                    Place::Ring => rows.ring[row].expect("an empty slot of the ring is seen"),
                    Place::Window => rows.window[row].expect("an empty slot of the window"),
                    Place::Block => start + row as u64,
                });
            }
        }
        let (expected, in_chunk) = told.token(start + t as u64);
        assert_eq!(seen, expected, "{ledger:?}, token {t}");
        assert_eq!(ledger.in_chunk()[t], in_chunk, "{ledger:?}, token {t}");
        assert_eq!(super::rows(runs), seen.len());
    }
    let old = rows.ring.clone();
    for m in ledger.moves() {
        rows.ring[m.slot] = match m.from {
            Place::Window => rows.window[m.row],
            Place::Block => Some(start + m.row as u64),
            Place::Ring => unreachable!("a state is retired once"),
        };
    }
    let changed = (0..old.len()).filter(|i| old[*i] != rows.ring[*i]).count();
    assert_eq!(changed, ledger.moves().len(), "a slot is written once");
    for (row, slot) in ledger.enter() {
        rows.window[slot] = Some(start + row as u64);
    }
    for (from, to) in ledger.compaction() {
        rows.ring[*to] = rows.ring[*from];
    }
    ledger.finish();
}

fn rows_of(ledger: &Ledger, rows: &Rows) -> Vec<u64> {
    ledger.order().flatten().map(|slot| rows.ring[slot].unwrap()).collect()
}

/// What may happen between two blocks.
#[derive(Clone, Copy, Debug)]
enum Event {
    Block(u64),
    Plan(Plan),
    Shrink(usize),
    Saved,
    Reset,
}

fn event() -> impl Strategy<Value = Event> {
    let plan = (1u64..20, 0u64..20).prop_map(|(chunk, o)| Plan { chunk, offset: o % chunk });
    prop_oneof![
        8 => (0u64..40).prop_map(Event::Block),
        2 => plan.prop_map(Event::Plan),
        1 => (0usize..12).prop_map(Event::Shrink),
        1 => Just(Event::Saved),
        1 => prop_oneof![9 => Just(Event::Saved), 1 => Just(Event::Reset)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn any_split_sees_what_the_specification_says(
        chunk in 1u64..20,
        offset in 0u64..20,
        window in 0u64..24,
        mut budget in 0usize..12,
        thin in any::<bool>(),
        events in prop::collection::vec(event(), 1..20),
    ) {
        let plan = Plan { chunk, offset: offset % chunk };
        let overflow = if thin { Overflow::Thin } else { Overflow::Drop };
        let mut ledger = Ledger::new(plan, window, budget, overflow);
        let mut told = Told::new(plan, window, budget, overflow);
        let empty = |n: usize| vec![None; n];
        let mut rows = Rows { ring: empty(budget), window: empty(window as usize + 1) };
        let mut start = 0;
        for event in events {
            match event {
                Event::Block(mut len) => while len > 0 {
                    let piece = len.min(ledger.room());
                    prop_assert!(piece > 0);
                    follow(&mut ledger, &mut told, &mut rows, start, piece as usize);
                    (start, len) = (start + piece, len - piece);
                },
                Event::Plan(plan) => {
                    ledger.set_plan(plan);
                    told.change(plan);
                }
                Event::Shrink(new) => {
                    let new = new.min(budget);
                    let old = rows_of(&ledger, &rows);
                    let kept = ledger.shrink(new);
                    rows.ring = empty(new);
                    for (slot, index) in kept.iter().enumerate() {
                        rows.ring[slot] = Some(old[*index]);
                    }
                    // Which states go is told by the ledger; how many may stay is not.
                    prop_assert!(kept.len() <= new);
                    prop_assert!(new < old.len() || kept.len() + 1 >= old.len() || thin);
                    if !thin || new < 3 {
                        prop_assert_eq!(kept.len(), new.min(old.len()));
                    }
                    prop_assert!(new < 2 || old.is_empty() || kept[0] == 0);
                    (budget, told.budget) = (new, new);
                    told.ring = kept.iter().map(|i| old[*i]).collect();
                }
                Event::Saved => {
                    let mut numbers = Vec::new();
                    ledger.encode(&mut numbers);
                    let mut new = Ledger::new(plan, window, budget, overflow);
                    let mut rest = &numbers[..];
                    prop_assert!(new.decode(start, &mut rest).is_some() && rest.is_empty());
                    let old = rows_of(&ledger, &rows);
                    rows.ring = empty(budget);
                    (0..).zip(old).for_each(|(slot, p): (usize, u64)| rows.ring[slot] = Some(p));
                    ledger = new;
                }
                Event::Reset => {
                    ledger.reset();
                    told = Told::new(ledger.plan(), window, budget, overflow);
                    (rows.ring, start) = (empty(budget), 0);
                }
            }
        }
    }

    #[test]
    fn numbers_of_other_making_are_refused_or_harmless(
        position in prop_oneof![0u64..50, any::<u64>().prop_map(|p| p >> 8)],
        numbers in prop::collection::vec(prop_oneof![0u64..60, any::<u64>()], 0..20),
    ) {
        let plan = Plan { chunk: 4, offset: 1 };
        let mut ledger = Ledger::new(plan, 7, 5, Overflow::Thin);
        if ledger.decode(position, &mut &numbers[..]).is_some() {
            for _ in 0..20 {
                ledger.begin(1);
                ledger.finish();
            }
        }
    }
}

#[test]
fn a_transformer_sees_everything() {
    let plan = Plan { chunk: 1, offset: 0 };
    let mut ledger = Ledger::new(plan, 0, 64, Overflow::Drop);
    ledger.begin(28);
    assert_eq!(rows(ledger.visible(27)), 28);
    assert_eq!(ledger.visible(27).len(), 1);
}

#[test]
fn chunks_begin_after_boundaries() {
    for (chunk, offset) in [(1, 0), (4, 0), (4, 3), (7, 2)] {
        let plan = Plan { chunk, offset };
        let mut ledger = Ledger::new(plan, 0, 0, Overflow::Drop);
        ledger.begin(50);
        let mut index = 0;
        for position in 0..50 {
            assert_eq!(ledger.in_chunk()[position as usize], index, "{plan:?} at {position}");
            index = if plan.is_boundary(position) { 0 } else { index + 1 };
        }
    }
}

#[test]
fn decode_needs_few_runs() {
    let mut ledger = Ledger::new(Plan { chunk: 8, offset: 3 }, 64, 128, Overflow::Drop);
    for _ in 0..3000 {
        ledger.begin(1);
        assert!(ledger.visible(0).len() <= 8, "{:?}", ledger.visible(0));
        ledger.finish();
    }
}

#[test]
fn a_thinned_ring_reaches_further_back_and_still_forgets() {
    let mut ledger = Ledger::new(Plan { chunk: 1, offset: 0 }, 0, 64, Overflow::Thin);
    let mut told = Told::new(Plan { chunk: 1, offset: 0 }, 0, 64, Overflow::Thin);
    let mut rows = Rows { ring: vec![None; 64], window: vec![None] };
    for t in 0..2000 {
        follow(&mut ledger, &mut told, &mut rows, t, 1);
    }
    let oldest = rows_of(&ledger, &rows)[1];
    assert!((1800..1900).contains(&oldest), "{oldest}");
}
