//! Splitting a text into words before BPE merges within each word.
//!
//! Pre-tokenizers are defined by regular expressions. They are few and simple enough to be written
//! out as scanners, which read every character once or twice, allocate nothing and can't hit a
//! backtracking limit on a megabyte of spaces.

use super::classes::{Case, Class, case, class, is_punctuation};

/// A pre-tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pretokenizer {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// Each `\p{N}` alone, then GPT-2 on what is in between.
    Smollm,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|`
    /// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    Llama3,
    /// As Llama 3, with each `\p{N}` alone.
    Qwen2,
    /// `[^\r\n\p{L}\p{N}]?U*L+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|`
    /// `[^\r\n\p{L}\p{N}]?U+L*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|`
    /// ` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    /// where U is `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]` and L is `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`.
    Gpt4o,
    /// As GPT-4o, with each `\p{N}` alone and without the contractions.
    Tekken,
    /// `[\p{P}\$\+<=>\^~\|]+`, then GPT-2, then `\p{N}+`, then `[0-9][0-9][0-9]`, each on what
    /// the one before left.
    Default,
}

impl Pretokenizer {
    /// Calls `word` with each piece of `text` in order.
    pub(super) fn cut<'a>(self, text: &'a str, word: &mut impl FnMut(&'a str)) {
        match self {
            Pretokenizer::Gpt2 => pieces(text, gpt2, word),
            Pretokenizer::Llama3 => pieces(text, |t| llama3(t, 3), word),
            Pretokenizer::Qwen2 => pieces(text, |t| llama3(t, 1), word),
            Pretokenizer::Gpt4o => pieces(text, gpt4o, word),
            Pretokenizer::Tekken => pieces(text, tekken, word),
            Pretokenizer::Smollm => pieces(text, digit_or_not, &mut |part| {
                if part.starts_with(|c| class(c) == Class::Number) {
                    word(part);
                } else {
                    pieces(part, gpt2, word);
                }
            }),
            Pretokenizer::Default => pieces(text, punctuation_or_not, &mut |part| {
                if part.starts_with(is_default_punctuation) {
                    word(part);
                } else {
                    pieces(part, gpt2, &mut |p| {
                        pieces(p, number_or_not, &mut |p| pieces(p, three_digits_or_not, word))
                    });
                }
            }),
        }
    }
}

/// Splits `text` by `length`, which returns the bytes of the first piece of a text.
fn pieces<'a>(mut text: &'a str, length: impl Fn(&str) -> usize, piece: &mut impl FnMut(&'a str)) {
    while !text.is_empty() {
        let (head, tail) = text.split_at(length(text));
        piece(head);
        text = tail;
    }
}

/// Bytes of the longest prefix of `text` whose characters all satisfy `test`.
fn run(text: &str, test: impl Fn(char) -> bool) -> usize {
    text.find(|c| !test(c)).unwrap_or(text.len())
}

/// Bytes of the first character, 0 if there is none.
fn first(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// The piece at the start of whitespace without a newline to end it: `\s+(?!\S)|\s+`. Before a word
/// the last space stays with the word.
fn space(text: &str) -> usize {
    let end = run(text, char::is_whitespace);
    if end == text.len() {
        return end;
    }
    match text[..end].char_indices().next_back() {
        Some((last, _)) if last > 0 => last,
        _ => end,
    }
}

fn gpt2(text: &str) -> usize {
    for short in ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"] {
        if text.starts_with(short) {
            return short.len();
        }
    }
    let body = text.strip_prefix(' ').unwrap_or(text);
    match body.chars().next().map(class) {
        None | Some(Class::Space) => space(text),
        Some(kind) => text.len() - body.len() + run(body, |c| class(c) == kind),
    }
}

fn llama3(text: &str, most_digits: usize) -> usize {
    if let Some(end) = contraction(text) {
        return end;
    }
    let lead = lead(text);
    match run(&text[lead..], |c| class(c) == Class::Letter) {
        0 => no_word(text, most_digits, &['\r', '\n']),
        letters => lead + letters,
    }
}

fn gpt4o(text: &str) -> usize {
    match cased_word(text) {
        Some(end) => end + contraction(&text[end..]).unwrap_or(0),
        None => no_word(text, 3, &['\r', '\n', '/']),
    }
}

fn tekken(text: &str) -> usize {
    cased_word(text).unwrap_or_else(|| no_word(text, 1, &['\r', '\n', '/']))
}

/// Bytes of the one character that may precede the letters of a word: `[^\r\n\p{L}\p{N}]?`.
fn lead(text: &str) -> usize {
    let may = |c| !matches!(c, '\r' | '\n') && matches!(class(c), Class::Space | Class::Other);
    text.chars().next().filter(|&c| may(c)).map_or(0, char::len_utf8)
}

/// The word at the start, of at most one change from upper to lower case: the first two
/// alternatives of [`Pretokenizer::Gpt4o`].
fn cased_word(text: &str) -> Option<usize> {
    let lead = lead(text);
    // A mark may be what precedes the letters, or the first of them.
    capitalized(&text[lead..])
        .map(|end| lead + end)
        .or_else(|| capitalized(text))
        .or_else(|| Some(lead + run(&text[lead..], is_upper)).filter(|&end| end > lead))
}

fn is_upper(c: char) -> bool {
    matches!(case(c), Some(Case::Upper | Case::Either))
}

/// `U*L+`: capitals, and then at least one letter that is not a capital.
fn capitalized(text: &str) -> Option<usize> {
    let is_lower = |c| matches!(case(c), Some(Case::Lower | Case::Either));
    let upper = run(text, is_upper);
    match run(&text[upper..], is_lower) {
        // The last of them that may count as lower case.
        0 => text[..upper].rfind(is_lower).map(|at| at + first(&text[at..])),
        lower => Some(upper + lower),
    }
}

/// The piece at the start of what is no word: up to `most_digits` numbers, other characters with
/// the `tail` that may follow them, or whitespace.
fn no_word(text: &str, most_digits: usize, tail: &[char]) -> usize {
    let is = |kind| move |c| class(c) == kind;
    if text.starts_with(is(Class::Number)) {
        let numbers = text.chars().take(most_digits).take_while(|&c| class(c) == Class::Number);
        return numbers.map(char::len_utf8).sum();
    }
    let body = text.strip_prefix(' ').unwrap_or(text);
    if body.starts_with(is(Class::Other)) {
        let others = text.len() - body.len() + run(body, is(Class::Other));
        return others + run(&text[others..], |c| tail.contains(&c));
    }
    let blank = &text[..run(text, char::is_whitespace)];
    match blank.rfind(['\r', '\n']) {
        Some(newline) => newline + 1,
        None => space(text),
    }
}

/// The contractions of [`gpt2`] in any case. The long s folds to s, as it does in the regex.
fn contraction(text: &str) -> Option<usize> {
    let mut chars = text.strip_prefix('\'')?.chars();
    let (a, b) = (chars.next()?, chars.next());
    match (a.to_ascii_lowercase(), b.map(|c| c.to_ascii_lowercase())) {
        ('s' | 'ſ' | 't' | 'm' | 'd', _) => Some(1 + a.len_utf8()),
        ('r' | 'v', Some('e')) | ('l', Some('l')) => Some(3),
        _ => None,
    }
}

fn digit_or_not(text: &str) -> usize {
    match run(text, |c| class(c) != Class::Number) {
        0 => first(text),
        end => end,
    }
}

fn is_default_punctuation(c: char) -> bool {
    matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '~' | '|') || is_punctuation(c)
}

/// The prefix of `text` whose characters all agree with the first on `test`.
fn alike(text: &str, test: impl Fn(char) -> bool) -> usize {
    let kind = text.chars().next().is_some_and(&test);
    run(text, |c| test(c) == kind)
}

fn punctuation_or_not(text: &str) -> usize {
    alike(text, is_default_punctuation)
}

fn number_or_not(text: &str) -> usize {
    alike(text, |c| class(c) == Class::Number)
}

/// Three ASCII digits, or what comes before the next three. Only runs of numbers get here with
/// digits in them, so the search is short.
fn three_digits_or_not(text: &str) -> usize {
    let three = |w: &[u8]| w.iter().all(u8::is_ascii_digit);
    match text.as_bytes().windows(3).position(three) {
        Some(0) => 3,
        Some(at) => at,
        None => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;
    use tokenizers::tokenizer::pattern::Pattern;
    use tokenizers::utils::SysRegex;

    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    );
    const QWEN2: &str = concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    );
    const GPT4O: &str = concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    );
    const TEKKEN: &str = concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
        r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    );

    /// Each pre-tokenizer by its regular expressions, to be applied one after the other.
    static JUDGES: LazyLock<Vec<(Pretokenizer, Vec<SysRegex>)>> = LazyLock::new(|| {
        let all: [(Pretokenizer, &[&str]); 7] = [
            (Pretokenizer::Gpt2, &[GPT2]),
            (Pretokenizer::Smollm, &[r"\p{N}", GPT2]),
            (Pretokenizer::Llama3, &[LLAMA3]),
            (Pretokenizer::Qwen2, &[QWEN2]),
            (Pretokenizer::Gpt4o, &[GPT4O]),
            (Pretokenizer::Tekken, &[TEKKEN]),
            (
                Pretokenizer::Default,
                &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
            ),
        ];
        let compile = |e: &&str| SysRegex::new(e).unwrap();
        all.into_iter().map(|(p, e)| (p, e.iter().map(compile).collect())).collect()
    });

    fn by_regex<'a>(regexes: &[SysRegex], text: &'a str) -> Vec<&'a str> {
        let mut parts = vec![text];
        for regex in regexes {
            let cut = |part: &'a str| {
                let cuts = regex.find_matches(part).unwrap();
                cuts.into_iter().map(|((start, end), _)| &part[start..end]).collect::<Vec<_>>()
            };
            parts = parts.into_iter().flat_map(cut).filter(|p| !p.is_empty()).collect();
        }
        parts
    }

    fn by_hand(pretokenizer: Pretokenizer, text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        pretokenizer.cut(text, &mut |w| words.push(w));
        words
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn scanners_cut_as_the_regular_expressions_do(
            text in "([ ]{0,3}('[sStTrRvVmMlLdDeE]{1,2}|[a-zA-ZéÉſKßǅʰ中أ\u{301}\u{94d}]{0,5}|[0-9٣½Ⅷ]{0,7}|\
                     [\\t\\n\\r \u{a0}\u{3000}\u{85}]{0,3}|\
                     ['.,!?/$+<=>^~|`_\u{301}\u{200d}😀«»…€]{0,3}|\\PC|\\pC)){0,8}"
        ) {
            for (pretokenizer, regexes) in JUDGES.iter() {
                let (hand, regex) = (by_hand(*pretokenizer, &text), by_regex(regexes, &text));
                prop_assert_eq!(hand, regex, "{:?}", pretokenizer);
            }
        }
    }
}
