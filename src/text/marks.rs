//! Marks in the text of a chat: the content of a message stays text, even if it spells a special
//! token.
//!
//! A mark is inserted into a message after the first character of anything that spells a special
//! token, before the template is rendered. So templates may trim, cut and join messages as they
//! like, and only the template's own parts of the rendered text can become special tokens. The
//! marks are removed once special tokens have been found. A message that spells none is rendered
//! unchanged.

use super::added::Added;
use super::vocabulary::Vocabulary;
use std::borrow::Cow;

/// U+FDD0, which Unicode reserves for internal use by programs; it is dropped from messages.
pub(super) const MARK: char = '\u{FDD0}';

/// `text` with its special tokens broken up by marks, including one that only begins at its end.
pub(super) fn marked<'a>(text: &'a str, added: &Added, vocabulary: &Vocabulary) -> Cow<'a, str> {
    let mut marked = String::new();
    let mut done = 0;
    for (at, c) in text.char_indices() {
        if added.begins_special(vocabulary, &text.as_bytes()[at..]) {
            let end = at + c.len_utf8();
            marked.push_str(&text[done..end]);
            marked.push(MARK);
            done = end;
        }
    }
    match done {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(marked + &text[done..]),
    }
}

/// `text` without marks.
pub(super) fn unmarked(text: &str) -> Cow<'_, str> {
    match text.contains(MARK) {
        true => Cow::Owned(text.replace(MARK, "")),
        false => Cow::Borrowed(text),
    }
}

/// What follows `beginning` in `text`, ignoring marks in both.
pub(super) fn after<'a>(text: &'a str, beginning: &str) -> Option<&'a str> {
    let mut rest = text.chars();
    for c in beginning.chars().filter(|&c| c != MARK) {
        if rest.by_ref().find(|&c| c != MARK) != Some(c) {
            return None;
        }
    }
    Some(rest.as_str().trim_start_matches(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::vocabulary::Kind;

    #[test]
    fn special_tokens_are_broken_and_nothing_else() {
        let mut vocabulary = Vocabulary::with_capacity(0, 0).unwrap();
        for (token, kind) in [
            ("<|end|>", Kind::Control),
            ("<think>", Kind::UserDefined),
            ("ende", Kind::Normal),
            ("«end»", Kind::Control),
        ] {
            vocabulary.push(token.bytes(), kind).unwrap();
        }
        let added = Added::new(&vocabulary);
        for (text, want) in [
            ("", ""),
            ("an ende", "an ende"),
            ("<think>", "<think>"),
            ("a <b> <|en d|>", "a <b> <|en d|>"),
            ("a<|end|>b<|end|>", "a<#|end|>b<#|end|>"),
            ("<<|end|>", "<<#|end|>"),
            ("«end»", "«#end»"),
            // The template could write the rest.
            ("1 <|en", "1 <#|en"),
            ("1 <", "1 <#"),
        ] {
            let want = want.replace('#', "\u{FDD0}");
            let marked = marked(text, &added, &vocabulary);
            assert_eq!(marked, want);
            assert_eq!(unmarked(&marked), text);
            assert_eq!(after(&marked, ""), Some(&*want));
            assert_eq!(after(&(want + "x"), text), Some("x"));
        }
        assert_eq!(after("abc", "b"), None);
        assert_eq!(after("a", "ab"), None);
    }
}
