//! Unicode's normal form C, in which a letter and its accent are one character where there is one.

use std::borrow::Cow;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// `text` in normal form C. The tables are those of the `tokenizers` crate.
pub(super) fn nfc(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfc().map(|(c, _)| c).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composes_what_is_apart_and_nothing_else() {
        assert!(matches!(nfc("plain, é 中 😀"), Cow::Borrowed(_)));
        assert_eq!(nfc("e\u{301} a\u{323}\u{302}"), "é ậ");
        assert_eq!(nfc("\u{212b} \u{1100}\u{1161}"), "Å 가");
        assert_eq!(nfc("ﬁ"), "ﬁ");
    }
}
