//! The Unicode classes by which pre-tokenizers split words.
//!
//! The tables are those of the `regex-syntax` crate that the `tokenizers` crate is built with, so
//! that both agree on every character. The standard library has no general categories, and its own
//! tables change with the compiler.

use regex_syntax::hir::{Class as Set, HirKind};
use std::sync::LazyLock;

/// The class of a character for a pre-tokenizer; the four classes are mutually exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// White_Space, `\s`.
    Space,
    /// General category L, `\p{L}`.
    Letter,
    /// General category N, `\p{N}`.
    Number,
    /// Everything else, including marks.
    Other,
}

/// The class of `c`.
pub(super) fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        '0'..='9' => Class::Number,
        _ if c.is_whitespace() => Class::Space,
        _ if c.is_ascii() => Class::Other,
        _ if has(&LETTERS, c) => Class::Letter,
        _ if has(&NUMBERS, c) => Class::Number,
        _ => Class::Other,
    }
}

/// Whether `c` has the general category P, `\p{P}`.
pub(super) fn is_punctuation(c: char) -> bool {
    has(&PUNCTUATION, c)
}

/// The case of a letter or mark, for pre-tokenizers that split words where it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// General categories Lu and Lt.
    Upper,
    /// General category Ll.
    Lower,
    /// Letters without case and marks: general categories Lm, Lo and M.
    Either,
}

/// The case of `c`; none unless it is a letter or a mark.
pub(super) fn case(c: char) -> Option<Case> {
    match c {
        'A'..='Z' => Some(Case::Upper),
        'a'..='z' => Some(Case::Lower),
        _ if c.is_ascii() => None,
        _ if has(&UPPER, c) => Some(Case::Upper),
        _ if has(&LOWER, c) => Some(Case::Lower),
        _ if has(&CASELESS, c) => Some(Case::Either),
        _ => None,
    }
}

/// Sorted, ends included.
type Ranges = Vec<(char, char)>;

static LETTERS: LazyLock<Ranges> = LazyLock::new(|| ranges(r"\p{L}"));
static NUMBERS: LazyLock<Ranges> = LazyLock::new(|| ranges(r"\p{N}"));
static PUNCTUATION: LazyLock<Ranges> = LazyLock::new(|| ranges(r"\p{P}"));
static UPPER: LazyLock<Ranges> = LazyLock::new(|| ranges(r"[\p{Lu}\p{Lt}]"));
static LOWER: LazyLock<Ranges> = LazyLock::new(|| ranges(r"\p{Ll}"));
static CASELESS: LazyLock<Ranges> = LazyLock::new(|| ranges(r"[\p{Lm}\p{Lo}\p{M}]"));

fn ranges(class: &str) -> Ranges {
    match regex_syntax::parse(class).map(|hir| hir.into_kind()) {
        Ok(HirKind::Class(Set::Unicode(set))) => {
            set.iter().map(|range| (range.start(), range.end())).collect()
        }
        // Not one of those above.
        _ => Ranges::new(),
    }
}

fn has(ranges: &[(char, char)], c: char) -> bool {
    let after = ranges.partition_point(|&(first, _)| first <= c);
    after > 0 && c <= ranges[after - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::tokenizer::pattern::Pattern;
    use tokenizers::utils::SysRegex;

    /// Every character in order, and those of them that `pattern` matches.
    fn matched(pattern: &str) -> Vec<bool> {
        let all: String = ('\0'..=char::MAX).collect();
        let regex = SysRegex::new(pattern).unwrap();
        let mut flags = Vec::new();
        for ((start, end), hit) in (&regex).find_matches(&all).unwrap() {
            flags.extend(all[start..end].chars().map(|_| hit));
        }
        flags
    }

    #[test]
    fn the_tables_are_those_of_the_regex_crate() {
        let (l, n, s, p) =
            (matched(r"\p{L}+"), matched(r"\p{N}+"), matched(r"\s+"), matched(r"\p{P}+"));
        let upper = matched(r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+");
        let lower = matched(r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+");
        for (i, c) in ('\0'..=char::MAX).enumerate() {
            let want = match (l[i], n[i], s[i]) {
                (true, _, _) => Class::Letter,
                (_, true, _) => Class::Number,
                (_, _, true) => Class::Space,
                _ => Class::Other,
            };
            assert_eq!(class(c), want, "{c:?} (U+{:04X})", u32::from(c));
            assert_eq!(is_punctuation(c), p[i], "{c:?} (U+{:04X})", u32::from(c));
            let want = match (upper[i], lower[i]) {
                (true, true) => Some(Case::Either),
                (true, false) => Some(Case::Upper),
                (false, true) => Some(Case::Lower),
                (false, false) => None,
            };
            assert_eq!(case(c), want, "{c:?} (U+{:04X})", u32::from(c));
        }
    }
}
