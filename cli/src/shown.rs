//! Text from models, files and users, for people to look at: it can't command a terminal.

use std::borrow::Cow;
use std::io::{IsTerminal, Stdout};

/// Whether a terminal would do something with `c` other than show it, or show other characters in
/// another order than they are in.
fn commands(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, keep: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if commands(c) && !keep.contains(&c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A name or a message, on one line.
pub fn printable(text: &str) -> String {
    escaped(text, &[])
}

/// A text of several lines.
pub fn lines(text: &str) -> String {
    escaped(text, &['\n', '\t'])
}

/// What a model writes: as it is for a file or a pipe, and safe for a terminal.
#[derive(Clone, Copy)]
pub struct Shown {
    terminal: bool,
}

impl Shown {
    /// On `out`.
    pub fn on(out: &Stdout) -> Shown {
        Shown { terminal: out.is_terminal() }
    }

    /// The text to write for `piece`.
    pub fn text(self, piece: &str) -> Cow<'_, str> {
        match self.terminal && piece.contains(|c| commands(c) && !matches!(c, '\n' | '\t')) {
            true => lines(piece).into(),
            false => piece.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_commands() {
        let (terminal, pipe) = (Shown { terminal: true }, Shown { terminal: false });
        let hostile = "a\tä\n\u{1b}]0;title\u{7}\r\u{9b}2J \u{202e}evil\u{2066}";
        let shown = r"\u{1b}]0;title\u{7}\r\u{9b}2J \u{202e}evil\u{2066}";
        assert_eq!(terminal.text(hostile), format!("a\tä\n{shown}"));
        assert_eq!(pipe.text(hostile), hostile);
        assert_eq!(terminal.text("naïve 👩‍👧 שלום\n"), "naïve 👩‍👧 שלום\n");
        assert_eq!(printable(hostile), format!(r"a\tä\n{shown}"));
    }
}
