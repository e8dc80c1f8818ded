//! How much states will be needed once they are far away, for policies that go by it.

/// Bits of a score that say less than the forms of a product differ by: two tokens that are the same to a layer
/// should have the same score.
const NOISE: u32 = 12;

/// A score, rounded, as an integer in the same order; 0 if there is none.
fn ordered(score: f32) -> u32 {
    let bits = score.to_bits().wrapping_add(1 << (NOISE - 1)) >> NOISE << NOISE;
    if score.is_nan() {
        0
    } else if score.is_sign_negative() {
        !bits
    } else {
        bits | 1 << 31
    }
}

/// Scores of tokens by position, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scores(Vec<(u64, u32)>);

impl Scores {
    pub fn reserve(&mut self, count: usize) {
        self.0.reserve(count);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of::<(u64, u32)>() * self.0.capacity()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Positions and scores, as integers.
    pub fn pairs(&self) -> &[(u64, u32)] {
        &self.0
    }

    /// Notes the score of the token at `position`, which is beyond all others.
    pub fn note(&mut self, position: u64, score: f32) {
        self.put(position, ordered(score));
    }

    /// The same of a score that is an integer already. Positions that don't ascend are ignored.
    pub fn put(&mut self, position: u64, score: u32) {
        if self.0.last().is_none_or(|(last, _)| *last < position) {
            self.0.push((position, score));
        }
    }

    /// Forgets the scores of the tokens at these positions, which must ascend.
    pub fn forget(&mut self, mut gone: impl Iterator<Item = u64>) {
        let mut next = gone.next();
        self.0.retain(|(position, _)| {
            while next.is_some_and(|gone| gone < *position) {
                next = gone.next();
            }
            next != Some(*position)
        });
    }

    /// To look up positions in ascending order.
    pub fn in_order(&self) -> InOrder<'_> {
        InOrder(&self.0)
    }
}

/// Scores that have not been passed.
pub(super) struct InOrder<'a>(&'a [(u64, u32)]);

impl InOrder<'_> {
    /// That of a position, which must not be before the last one asked for; 0 if there is none.
    pub fn of(&mut self, position: u64) -> u32 {
        let passed = self.0.iter().take_while(|(known, _)| *known < position).count();
        self.0 = &self.0[passed..];
        match self.0.first() {
            Some((known, score)) if *known == position => *score,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn integers_are_in_the_order_of_the_scores(a in any::<f32>(), b in any::<f32>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            let same = ordered(a) == ordered(b);
            prop_assert!(same || ordered(a).cmp(&ordered(b)) == a.total_cmp(&b));
            prop_assert!(!same || (a - b).abs() <= a.abs() / 2048.0 || a.abs() < f32::MIN_POSITIVE);
            prop_assert!(ordered(a) > ordered(f32::NAN));
        }

        #[test]
        fn scores_are_a_map(
            noted in prop::collection::vec((0u64..60, -9.0f32..9.0), 0..40),
            gone in prop::collection::btree_set(0u64..60, 0..30),
            asked in prop::collection::btree_set(0u64..70, 0..30),
        ) {
            let (mut scores, mut map) = (Scores::default(), BTreeMap::new());
            for (position, score) in noted {
                scores.note(position, score);
                if map.last_key_value().is_none_or(|(last, _)| *last < position) {
                    map.insert(position, ordered(score));
                }
            }
            scores.forget(gone.iter().copied());
            map.retain(|position, _| !gone.contains(position));
            let mut known = scores.in_order();
            for position in asked {
                prop_assert_eq!(known.of(position), map.get(&position).copied().unwrap_or(0));
            }
        }
    }
}
