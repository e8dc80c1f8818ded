//! Lists of mostly evenly spaced numbers: slots and positions of the states of a ring.

use std::ops::Range;

/// `first`, `first + step`, …: `len` numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub first: u64,
    /// At least 1.
    pub step: u64,
    pub len: u64,
}

impl Span {
    fn at(self, index: u64) -> u64 {
        self.first + index * self.step
    }

    fn part(self, range: Range<u64>) -> Span {
        let len = range.end - range.start;
        Span { first: self.first + range.start * self.step, step: self.step, len }
    }

    fn iter(self) -> impl Iterator<Item = u64> {
        (0..self.len).map(move |index| self.at(index))
    }
}

/// Any list of numbers, in as few spans as its order allows: operations on the whole list cost
/// O(spans).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    spans: Vec<Span>,
    len: usize,
    /// Empty; memory for [`Sequence::remove`].
    spare: Vec<Span>,
}

impl Sequence {
    /// Reserves room for this many spans.
    pub fn reserve(&mut self, spans: usize) {
        self.spans.reserve(spans);
        self.spare.reserve(spans);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of::<Span>() * (self.spans.capacity() + self.spare.capacity())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.spans.iter().flat_map(|span| span.iter())
    }

    /// The numbers from index `start` on.
    pub fn iter_from(&self, start: usize) -> impl Iterator<Item = u64> {
        let mut before = 0;
        self.spans.iter().flat_map(move |span| {
            let skipped = (start as u64).saturating_sub(before).min(span.len);
            before += span.len;
            span.part(skipped..span.len).iter()
        })
    }

    /// The number at `index`.
    pub fn get(&self, index: usize) -> Option<u64> {
        self.iter_from(index).next()
    }

    /// Ranges of numbers that follow one another, in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.spans.iter().flat_map(|span| {
            let (count, len) = if span.step == 1 { (1, span.len) } else { (span.len, 1) };
            (0..count).map(move |i| span.at(i)..span.at(i) + len)
        })
    }

    pub fn clear(&mut self) {
        self.spans.clear();
        self.len = 0;
    }

    pub fn push(&mut self, number: u64) {
        self.push_span(Span { first: number, step: 1, len: 1 });
    }

    /// Adds a range of numbers.
    pub fn push_range(&mut self, range: Range<u64>) {
        self.push_span(Span { first: range.start, step: 1, len: range.end - range.start });
    }

    pub fn push_span(&mut self, span: Span) {
        if span.len == 0 {
            return;
        }
        self.len += span.len as usize;
        let Some(last) = self.spans.last_mut() else { return self.spans.push(span) };
        let ahead = span.first.checked_sub(last.at(last.len - 1)).filter(|step| *step > 0);
        let step = match (last.len, span.len) {
            (1, 1) => ahead,
            (1, _) => Some(span.step),
            _ => Some(last.step),
        };
        if ahead.is_some() && ahead == step && (span.len == 1 || Some(span.step) == step) {
            (last.step, last.len) = (step.unwrap_or(1), last.len + span.len);
        } else {
            self.spans.push(span);
        }
    }

    pub fn pop_first(&mut self) -> Option<u64> {
        let span = self.spans.first_mut()?;
        let first = span.first;
        *span = span.part(1..span.len);
        if span.len == 0 {
            self.spans.remove(0);
        }
        self.len -= 1;
        Some(first)
    }

    /// Reserves room for this many spans, but not the memory that removing takes.
    pub fn reserve_spans(&mut self, spans: usize) {
        self.spans.reserve(spans);
    }

    /// Gives back what is beyond room for this many spans, if it holds no more.
    pub fn trim(&mut self, spans: usize) {
        if self.spans.len() <= spans && self.spans.capacity() > spans {
            self.spans.shrink_to(spans);
        }
        self.spare = Vec::new();
    }

    /// Like [`Sequence::remove`], with memory that is given back.
    pub fn remove_once(&mut self, places: &Sequence, each: impl FnMut(u64)) {
        self.spare = Vec::with_capacity(self.spans.capacity());
        self.remove(places, each);
        self.spare = Vec::new();
    }

    /// Removes the numbers at the indices `places`, which must ascend, and hands each to `each`.
    pub fn remove(&mut self, places: &Sequence, mut each: impl FnMut(u64)) {
        let mut old = std::mem::replace(&mut self.spans, std::mem::take(&mut self.spare));
        self.len = 0;
        let mut places = places.iter().peekable();
        let mut before = 0;
        for span in old.drain(..) {
            let mut start = 0;
            while let Some(place) = places.next_if(|place| *place < before + span.len) {
                self.push_span(span.part(start..place - before));
                each(span.at(place - before));
                start = place - before + 1;
            }
            self.push_span(span.part(start..span.len));
            before += span.len;
        }
        self.spare = old;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sequence(numbers: &[u64]) -> Sequence {
        let mut sequence = Sequence::default();
        numbers.iter().for_each(|number| sequence.push(*number));
        sequence
    }

    proptest! {
        #[test]
        fn a_sequence_is_a_list(
            numbers in prop::collection::vec(0u64..30, 0..40),
            mut places in prop::collection::vec(0usize..40, 0..20),
            start in 0usize..45,
        ) {
            let mut list = sequence(&numbers);
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), numbers.clone());
            prop_assert_eq!(list.ranges().flatten().collect::<Vec<_>>(), numbers.clone());
            prop_assert_eq!(list.len(), numbers.len());
            prop_assert_eq!(list.get(start), numbers.get(start).copied());
            let rest = numbers.get(start..).unwrap_or_default();
            prop_assert_eq!(list.iter_from(start).collect::<Vec<_>>(), rest);
            places.sort_unstable();
            places.dedup();
            let of_places = sequence(&places.iter().map(|p| *p as u64).collect::<Vec<_>>());
            let mut gone = Vec::new();
            list.remove(&of_places, |number| gone.push(number));
            let (mut kept, mut expected) = (Vec::new(), Vec::new());
            for (place, number) in numbers.into_iter().enumerate() {
                let list = if places.contains(&place) { &mut expected } else { &mut kept };
                list.push(number);
            }
            prop_assert_eq!(gone, expected);
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), kept.clone());
            let mut again = Sequence::default();
            list.spans().iter().for_each(|span| again.push_span(*span));
            prop_assert_eq!(again.iter().collect::<Vec<_>>(), kept.clone());
            prop_assert_eq!(again.pop_first(), kept.first().copied());
            prop_assert_eq!(again.len(), kept.len().saturating_sub(1));
        }
    }

    #[test]
    fn evenly_spaced_numbers_take_few_spans() {
        assert_eq!(sequence(&[0, 1, 2, 3, 5, 7, 9, 4, 8, 12]).spans().len(), 3);
    }
}
