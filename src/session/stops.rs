//! Texts that end a generation, removed from it: what could be the beginning of one waits.

/// Text on its way to the caller.
#[derive(Default)]
pub(super) struct Stops {
    /// What could be the beginning of such a text.
    held: String,
}

impl Stops {
    /// Appends `text`, and moves to `out` what comes before the first of `stops` to be complete, or
    /// what can't be the beginning of one. True if one was found: the rest is discarded.
    pub fn push(&mut self, text: &str, stops: &[String], out: &mut String) -> bool {
        if stops.is_empty() {
            out.push_str(text);
            return false;
        }
        self.held.push_str(text);
        let found = first(&self.held, stops);
        let ready = found.unwrap_or_else(|| {
            let begins = |&at: &usize| stops.iter().any(|stop| stop.starts_with(&self.held[at..]));
            let places = self.held.char_indices().map(|(at, _)| at);
            places.into_iter().find(begins).unwrap_or(self.held.len())
        });
        out.extend(self.held.drain(..ready));
        if found.is_some() {
            self.held.clear();
        }
        found.is_some()
    }

    /// What is left at the end.
    pub fn flush(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }
}

/// Where the text begins that is complete before the others, so that it does not matter in which
/// pieces they come; the longest of those that end together.
fn first(text: &str, stops: &[String]) -> Option<usize> {
    let places = stops.iter().filter_map(|stop| text.find(stop).map(|at| (at + stop.len(), at)));
    places.min().map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stops(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn only_a_possible_beginning_is_held_back() {
        let stops = stops(&["\nUser:", "###"]);
        let mut all = Stops::default();
        let mut out = String::new();
        for (piece, want) in [
            ("Hi", "Hi"),
            (" \nUs", "Hi "),
            ("ing", "Hi \nUsing"),
            ("##", "Hi \nUsing"),
            (" a", "Hi \nUsing## a"),
        ] {
            assert!(!all.push(piece, &stops, &mut out));
            assert_eq!(out, want);
        }
        assert!(!all.push("b#", &stops, &mut out));
        assert!(all.push("## c", &stops, &mut out));
        assert_eq!(out, "Hi \nUsing## ab");
        all.flush(&mut out);
        assert_eq!(out, "Hi \nUsing## ab");
    }

    #[test]
    fn the_text_that_is_complete_first_ends_the_answer() {
        let stops = stops(&["b", "abc", "ab"]);
        for pieces in [&["xabcd"][..], &["xa", "bcd"], &["x", "a", "b", "c"]] {
            let (mut all, mut out) = (Stops::default(), String::new());
            assert!(pieces.iter().any(|piece| all.push(piece, &stops, &mut out)));
            assert_eq!(out, "x");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_what_the_whole_gives(
            pieces in proptest::collection::vec("[abä]{1,3}", 0..12),
            texts in proptest::collection::vec("[abä]{1,4}", 0..3),
        ) {
            let whole = pieces.concat();
            let first = first(&whole, &texts);
            let mut all = Stops::default();
            let mut out = String::new();
            let mut found = false;
            for piece in &pieces {
                found = all.push(piece, &texts, &mut out);
                if found {
                    break;
                }
            }
            all.flush(&mut out);
            prop_assert_eq!(found, first.is_some());
            prop_assert_eq!(&*out, &whole[..first.unwrap_or(whole.len())]);
        }
    }
}
