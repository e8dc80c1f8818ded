//! The stages by name.

use std::fmt;
use std::str::FromStr;

/// A stage of the chain: a step between the logits and the draw.
///
/// Its text, which [`str::parse`] reads, is the name that it has in llama.cpp, with hyphens:
/// `top-k`. `_` for `-`, `typ-p` and `temp` are also accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Repetition, frequency and presence penalties: recent tokens become less likely.
    Penalties,
    /// DRY: a token that would continue a repetition becomes less likely, increasingly so with the
    /// length of the repetition.
    Dry,
    /// Only the k most likely tokens are kept.
    TopK,
    /// Only the most typical tokens are kept, those whose surprise is closest to the entropy.
    TypicalP,
    /// Only the most likely tokens that together have a probability of p are kept.
    TopP,
    /// Only tokens at least p times as likely as the most likely one are kept.
    MinP,
    /// XTC: with some probability, removes all tokens above a threshold except the least likely of
    /// them.
    Xtc,
    /// Logits are divided by the temperature; at 0 only the most likely token is kept.
    Temperature,
}

impl Stage {
    /// All stages, in the order in which they run by default: that of llama.cpp.
    pub(crate) const DEFAULT: [Stage; 8] = [
        Stage::Penalties,
        Stage::Dry,
        Stage::TopK,
        Stage::TypicalP,
        Stage::TopP,
        Stage::MinP,
        Stage::Xtc,
        Stage::Temperature,
    ];

    fn name(self) -> &'static str {
        match self {
            Stage::Penalties => "penalties",
            Stage::Dry => "dry",
            Stage::TopK => "top-k",
            Stage::TypicalP => "typical-p",
            Stage::TopP => "top-p",
            Stage::MinP => "min-p",
            Stage::Xtc => "xtc",
            Stage::Temperature => "temperature",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Stage, crate::Error> {
        let name = match &*text.replace('_', "-") {
            "typ-p" => "typical-p".to_owned(),
            "temp" => "temperature".to_owned(),
            other => other.to_owned(),
        };
        Stage::DEFAULT.into_iter().find(|stage| stage.name() == name).ok_or_else(|| {
            let names = Stage::DEFAULT.map(Stage::name).join(", ");
            crate::Error::argument(
                format!("{text:?}"),
                format!("is no sampler stage; there are {names}"),
            )
        })
    }
}
