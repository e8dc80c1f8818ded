//! Which tokens end a generation.
//!
//! The file's own ids come first: its EOS, EOT and EOM. Many files specify only one of them. For an
//! end that a file does not specify, tokens with the usual names are used: end of text, of turn, of
//! message within a turn. A chat model's EOS is often the end of a turn by its name; it then counts
//! as that.

use super::added::Added;
use super::source::TextSource;
use super::vocabulary::{Kind, Vocabulary};

/// Names of the end-of-text token.
const TEXT: [&str; 3] = ["<|endoftext|>", "<|end_of_text|>", "</s>"];
/// Names of the end-of-turn token.
const TURN: [&str; 4] = ["<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>"];
/// Names of the end-of-message token.
const MESSAGE: [&str; 1] = ["<|eom_id|>"];

/// The tokens that end a generation, starting with those that the file specifies.
pub(super) fn of(source: &TextSource, vocabulary: &Vocabulary, added: &Added) -> Vec<u32> {
    let is_named =
        |id: u32, names: &[&str]| names.iter().any(|name| vocabulary.text(id) == name.as_bytes());
    let turn = source.eot.or(source.eos.filter(|&id| is_named(id, &TURN)));
    let text = source.eos.filter(|&id| Some(id) != turn);
    let mut ends: Vec<u32> = [source.eos, source.eot, source.eom].into_iter().flatten().collect();
    for (given, names) in [(text, &TEXT[..]), (turn, &TURN), (source.eom, &MESSAGE)] {
        if given.is_some() {
            continue;
        }
        let found = names.iter().filter_map(|name| added.find(vocabulary, name.as_bytes()));
        ends.extend(found.filter(|&id| vocabulary.kind(id).is_some_and(Kind::is_special)));
    }
    let mut seen = Vec::new();
    ends.retain(|id| {
        !seen.contains(id) && {
            seen.push(*id);
            true
        }
    });
    ends
}
