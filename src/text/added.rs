//! Tokens that are found in the text before anything is split or merged: `<|im_start|>` and the
//! like.

use super::vocabulary::{Kind, Vocabulary};

/// The added tokens of a vocabulary, sorted by their bytes.
#[derive(Default)]
pub(super) struct Added {
    ids: Vec<u32>,
    /// For each byte, whether a token begins with it.
    begins: Vec<bool>,
    /// Those that take the whitespace after them with them, sorted.
    strip: Vec<u32>,
}

/// A stretch of text between added tokens, or one of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    Text(&'a str),
    /// A token, and the text that it stands for.
    Token(u32, &'a str),
}

impl Added {
    /// All control, unknown and user-defined tokens of `vocabulary`.
    pub(super) fn new(vocabulary: &Vocabulary) -> Added {
        let mut ids: Vec<u32> = vocabulary
            .of_kind(&[Kind::Control, Kind::Unknown, Kind::UserDefined])
            .filter(|&id| !vocabulary.text(id).is_empty())
            .collect();
        ids.sort_by_key(|&id| vocabulary.text(id));
        // Of two with the same text the first one is found.
        ids.dedup_by_key(|id| vocabulary.text(*id));
        let mut begins = vec![false; 256];
        for &id in &ids {
            begins[vocabulary.text(id)[0] as usize] = true;
        }
        Added { ids, begins, strip: Vec::new() }
    }

    /// With each special token that `test` accepts, the whitespace after it is taken too.
    pub(super) fn stripping(
        mut self,
        vocabulary: &Vocabulary,
        test: impl Fn(&[u8]) -> bool,
    ) -> Added {
        let special = vocabulary.of_kind(&[Kind::Control, Kind::Unknown]);
        self.strip = special.filter(|&id| test(vocabulary.text(id))).collect();
        self
    }

    /// The added token that is exactly `text`.
    pub(super) fn find(&self, vocabulary: &Vocabulary, text: &[u8]) -> Option<u32> {
        let at = self.ids.binary_search_by_key(&text, |&id| vocabulary.text(id)).ok()?;
        Some(self.ids[at])
    }

    /// Splits `text` at the added tokens: the leftmost first, and of those that begin at the same
    /// position the longest. Without `special`, the text of a special token is ordinary text.
    pub(super) fn fragments<'a>(
        &self,
        vocabulary: &Vocabulary,
        text: &'a str,
        special: bool,
        mut each: impl FnMut(Fragment<'a>) -> crate::Result<()>,
    ) -> crate::Result<()> {
        let bytes = text.as_bytes();
        let (mut done, mut at) = (0, 0);
        while at < bytes.len() {
            if !self.ids.is_empty()
                && self.begins[bytes[at] as usize]
                && let Some(id) = self.longest(vocabulary, &bytes[at..])
            {
                let mut end = at + vocabulary.text(id).len();
                if special || !vocabulary.kind(id).is_some_and(Kind::is_special) {
                    if done < at {
                        each(Fragment::Text(&text[done..at]))?;
                    }
                    if self.strip.binary_search(&id).is_ok() {
                        end = text.len() - text[end..].trim_start().len();
                    }
                    each(Fragment::Token(id, &text[at..end]))?;
                    done = end;
                }
                at = end;
            } else {
                at += 1;
            }
        }
        if done < text.len() {
            each(Fragment::Text(&text[done..]))?;
        }
        Ok(())
    }

    /// Whether `text` begins with a special token, or is the beginning of one.
    pub(super) fn begins_special(&self, vocabulary: &Vocabulary, text: &[u8]) -> bool {
        if self.ids.is_empty() || !text.first().is_some_and(|&byte| self.begins[byte as usize]) {
            return false;
        }
        let special = |id: &u32| vocabulary.kind(*id).is_some_and(Kind::is_special);
        let mut range = &self.ids[..];
        for (depth, byte) in text.iter().enumerate() {
            range = self.narrowed(vocabulary, range, depth, *byte);
            // The shortest comes first.
            let Some(first) = range.first() else { return false };
            if vocabulary.text(*first).len() == depth + 1 && special(first) {
                return true;
            }
        }
        range.iter().any(special)
    }

    /// Of `range`, whose tokens share their first `depth` bytes, those that continue with `byte`.
    fn narrowed<'a>(
        &self,
        vocabulary: &Vocabulary,
        range: &'a [u32],
        depth: usize,
        byte: u8,
    ) -> &'a [u32] {
        let at = |id: &u32| vocabulary.text(*id).get(depth).copied();
        let range = &range[range.partition_point(|id| at(id) < Some(byte))..];
        &range[..range.partition_point(|id| at(id) == Some(byte))]
    }

    /// The longest added token that `text` begins with: narrows the sorted list byte by byte.
    fn longest(&self, vocabulary: &Vocabulary, text: &[u8]) -> Option<u32> {
        let mut range = &self.ids[..];
        let mut best = None;
        for (depth, byte) in text.iter().enumerate() {
            range = self.narrowed(vocabulary, range, depth, *byte);
            let Some(&first) = range.first() else { break };
            if vocabulary.text(first).len() == depth + 1 {
                best = Some(first);
            }
        }
        best
    }
}
