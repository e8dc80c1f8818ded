//! Tables of any policy compared with the specification, one token at a time.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// Which of the states at these positions are evicted from a full ring, by index, if the first of a
/// ring of two or more were not the sink.
pub type Told = fn(positions: &[u64]) -> Vec<usize>;

/// Window and ring as the specification defines them.
struct Specified {
    plan: Plan,
    next: Option<Plan>,
    window_len: u64,
    budget: usize,
    evict: Told,
    window: VecDeque<(u64, bool)>,
    ring: Vec<u64>,
    in_chunk: u64,
}

impl Specified {
    fn new(plan: Plan, window_len: u64, budget: usize, evict: Told) -> Specified {
        let (window, ring) = (VecDeque::new(), Vec::new());
        Specified { plan, next: None, window_len, budget, evict, window, ring, in_chunk: 0 }
    }

    /// What the token sees, and how many tokens of its chunk come before it.
    fn token(&mut self, position: u64) -> (Vec<u64>, u64) {
        let closes = self.plan.is_boundary(position);
        self.window.push_back((position, closes));
        if self.window.len() as u64 > self.window_len + 1 {
            let (leaving, closed) = self.window.pop_front().unwrap();
            if closed && self.budget > 0 {
                if self.ring.len() == self.budget {
                    self.evict();
                }
                self.ring.push(leaving);
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

    fn evict(&mut self) {
        let sinks = usize::from(self.budget >= 2);
        let gone = (self.evict)(&self.ring[sinks..]);
        let mut place = 0;
        self.ring.retain(|_| {
            place += 1;
            place <= sinks || !gone.contains(&(place - 1 - sinks))
        });
    }

    fn change(&mut self, plan: Plan) {
        if self.in_chunk == 0 {
            (self.plan, self.next) = (plan, None);
        } else {
            self.next = Some(plan);
        }
    }
}

/// The three places, with positions for rows.
struct Rows {
    ring: Vec<Option<u64>>,
    window: Vec<Option<u64>>,
}

/// Processes one block, compares every token with the specification, and moves rows as the table
/// says.
fn follow(
    table: &mut BlockTable,
    specified: &mut Specified,
    rows: &mut Rows,
    start: u64,
    len: usize,
) {
    table.begin(len);
    for t in 0..len {
        let runs = table.visible(t);
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
        let (expected, in_chunk) = specified.token(start + t as u64);
        assert_eq!(seen, expected, "{table:?}, token {t}");
        assert_eq!(table.in_chunk()[t], in_chunk, "{table:?}, token {t}");
        assert_eq!(super::rows(runs), seen.len());
    }
    for m in table.moves() {
        let row = m.row as usize;
        rows.ring[m.slot as usize] = match m.from {
            Place::Ring => rows.ring[row],
            Place::Window => rows.window[row],
            Place::Block => Some(start + row as u64),
        };
    }
    for (row, slot) in table.enter() {
        rows.window[slot] = Some(start + row as u64);
    }
    table.finish();
    assert_eq!(held(table, rows), specified.ring, "a live state is lost: {table:?}");
}

fn held(table: &BlockTable, rows: &Rows) -> Vec<u64> {
    table.order().flatten().map(|slot| rows.ring[slot].unwrap()).collect()
}

/// What may happen between two blocks.
#[derive(Clone, Copy, Debug)]
enum Event {
    Block(usize),
    Plan(Plan),
    Shrink(usize),
    Saved,
    Reset,
}

fn any_plan() -> impl Strategy<Value = Plan> {
    (1u64..20, 0u64..20).prop_map(|(chunk, offset)| plan(chunk, offset % chunk))
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0usize..40).prop_map(Event::Block),
        2 => any_plan().prop_map(Event::Plan),
        1 => (0usize..12).prop_map(Event::Shrink),
        1 => Just(Event::Saved),
        1 => prop_oneof![9 => Just(Event::Saved), 1 => Just(Event::Reset)],
    ]
}

/// Tables with `policy` do what `told` says, whatever the events.
pub fn holds(policy: &'static dyn Policy, told: Told) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) };
    let cases = (any_plan(), 0usize..24, 0usize..14, prop::collection::vec(event(), 1..20));
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&cases, |(plan, window, budget, events)| {
        holds_for(policy, told, plan, window, budget, events)
    });
    result.unwrap_or_else(|e| panic!("{policy:?}: {e}"));
}

fn holds_for(
    policy: &'static dyn Policy,
    told: Told,
    plan: Plan,
    window: usize,
    mut budget: usize,
    events: Vec<Event>,
) -> Result<(), TestCaseError> {
    let new = |budget| BlockTable::with_policy(plan, window, budget, policy).unwrap();
    let mut table = new(budget);
    let mut specified = Specified::new(plan, window as u64, budget, told);
    let empty = |n: usize| vec![None; n];
    let mut rows = Rows { ring: empty(budget), window: empty(window + 1) };
    let mut start = 0;
    for event in events {
        match event {
            Event::Block(len) => {
                follow(&mut table, &mut specified, &mut rows, start, len);
                start += len as u64;
            }
            Event::Plan(plan) => {
                table.set_plan(plan);
                specified.change(plan);
            }
            Event::Shrink(ring) => {
                let ring = ring.min(budget);
                let slots = table.shrink(ring);
                let kept: Vec<_> = slots.iter().map(|slot| rows.ring[*slot]).collect();
                rows.ring = empty(ring);
                rows.ring[..kept.len()].copy_from_slice(&kept);
                (budget, specified.budget) = (ring, ring);
                if ring == 0 {
                    specified.ring.clear();
                }
                while specified.ring.len() > ring {
                    specified.evict();
                }
                prop_assert_eq!(held(&table, &rows), specified.ring.clone());
            }
            Event::Saved => {
                let mut numbers = Vec::new();
                table.encode(&mut numbers);
                let most = BlockTable::most_numbers(window, budget, start);
                prop_assert!(numbers.len() as u64 <= most);
                let kept: Vec<_> = table.order().flatten().map(|slot| rows.ring[slot]).collect();
                table = new(budget);
                let mut rest = &numbers[..];
                prop_assert!(table.decode(start, &mut rest).is_some() && rest.is_empty());
                rows.ring = empty(budget);
                rows.ring[..kept.len()].copy_from_slice(&kept);
            }
            Event::Reset => {
                table.reset();
                specified = Specified::new(table.plan(), window as u64, budget, told);
                (rows.ring, start) = (empty(budget), 0);
            }
        }
        // Once present, the sink stays.
        let sink = held(&table, &rows).first().copied();
        prop_assert!(budget < 2 || sink.is_none_or(|position| position == 0));
    }
    Ok(())
}
