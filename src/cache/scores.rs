//! How much states will be needed once they are far away, for policies that rank states by it.

use super::sequence::Sequence;

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

/// Scores of the states of a ring, then of the tokens after them, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scores(Vec<u32>);

impl Scores {
    pub fn reserve(&mut self, count: usize) {
        self.0.reserve(count);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * self.0.capacity()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// As integers in the same order.
    pub fn list(&self) -> &[u32] {
        &self.0
    }

    /// Takes such integers.
    pub fn restore(&mut self, list: impl Iterator<Item = u32>) {
        self.0.clear();
        self.0.extend(list);
    }

    /// Notes the score of a state or token; those before it that are not known have the lowest.
    pub fn note(&mut self, index: usize, score: f32) {
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        self.0[index] = ordered(score);
    }

    /// As an integer in the same order; 0 if it is not known.
    pub fn of(&self, index: usize) -> u32 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// Forgets the scores at these indices, which must ascend.
    pub fn forget(&mut self, gone: &Sequence) {
        let mut gone = gone.iter().peekable();
        let mut index = 0;
        self.0.retain(|_| {
            let kept = gone.next_if_eq(&index).is_none();
            index += 1;
            kept
        });
    }

    /// Forgets the first.
    pub fn forget_first(&mut self) {
        if !self.0.is_empty() {
            self.0.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        fn scores_are_a_list(
            noted in prop::collection::vec((0usize..60, -9.0f32..9.0), 0..40),
            gone in prop::collection::btree_set(0u64..70, 0..30),
        ) {
            let (mut scores, mut list) = (Scores::default(), Vec::new());
            for (index, score) in noted {
                scores.note(index, score);
                list.resize(list.len().max(index + 1), 0);
                list[index] = ordered(score);
            }
            let mut places = Sequence::default();
            gone.iter().for_each(|place| places.push(*place));
            scores.forget(&places);
            let kept = (0..).zip(&list).filter(|(place, _)| !gone.contains(place));
            let mut kept: Vec<u32> = kept.map(|(_, score)| *score).collect();
            prop_assert_eq!(scores.list(), &kept[..]);
            scores.forget_first();
            kept = kept.into_iter().skip(1).collect();
            prop_assert!((0..80).all(|i| scores.of(i) == kept.get(i).copied().unwrap_or(0)));
        }
    }
}
