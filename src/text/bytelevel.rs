//! The alphabet of byte-level BPE: every byte is written as one printable character.
//!
//! Source: the GPT-2 tokenizer. Printable Latin-1 represents itself; the other 68 bytes, in order,
//! are the characters from U+0100 on, so that a space is `Ġ` and a newline `Ċ`.

/// Bytes that represent themselves.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The 68 bytes that are written as U+0100 and following.
fn hidden(nth: u32) -> Option<u8> {
    match nth {
        0..=0x20 => Some(nth as u8),
        0x21..=0x42 => Some((nth - 0x21) as u8 + 0x7f),
        0x43 => Some(0xad),
        _ => None,
    }
}

/// The byte that `c` represents, if `c` is in the alphabet.
fn byte(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ 0..=0xff => Some(code as u8).filter(|&b| is_printable(b)),
        code => hidden(code - 0x100),
    }
}

/// The bytes that a token represents; none if one of its characters is not in the alphabet.
pub(super) fn bytes(token: &str) -> Option<impl Iterator<Item = u8> + '_> {
    token.chars().all(|c| byte(c).is_some()).then(|| token.chars().filter_map(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_has_each_byte_once() {
        let mut found: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte).collect();
        found.sort_unstable();
        assert_eq!(found, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte('Ġ'), Some(b' '));
        assert_eq!(byte('Ċ'), Some(b'\n'));
        assert_eq!(byte('ĉ'), Some(b'\t'));
        assert_eq!(byte('Ń'), Some(0xad));
        assert_eq!(byte(' '), None);
        assert!(bytes("Ġa b").is_none());
    }
}
