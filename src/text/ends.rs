//! Which tokens end a generation.
//!
//! The file's own ids come first: its EOS, EOT and EOM. Many files specify only one of them, or
//! one by the name of another, so special tokens with the usual names of the end of a text, a turn
//! or a message end a generation too.

use super::added::Added;
use super::source::TextSource;
use super::vocabulary::{Kind, Vocabulary};

/// The usual names: of the end of a text, of a turn, and of a message within a turn.
const NAMES: [&str; 17] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "[EOS]",
    "<EOT>",
    "<|return|>",
    "<｜end▁of▁sentence｜>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eot|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<|eom_id|>",
    "<|eom|>",
    "<|call|>",
];
/// The end of a turn, unless the family has `<|return|>` and `<|call|>`: then it ends each message.
const END: &str = "<|end|>";

/// The tokens that end a generation, starting with those that the file specifies.
pub(super) fn of(source: &TextSource, vocabulary: &Vocabulary, added: &Added) -> Vec<u32> {
    let mut ends: Vec<u32> = [source.eos, source.eot, source.eom].into_iter().flatten().collect();
    let special = |name: &str| {
        let found = added.find(vocabulary, name.as_bytes());
        found.filter(|&id| vocabulary.kind(id).is_some_and(Kind::is_special))
    };
    ends.extend(NAMES.iter().filter_map(|name| special(name)));
    if special("<|return|>").is_none() || special("<|call|>").is_none() {
        ends.extend(special(END));
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
