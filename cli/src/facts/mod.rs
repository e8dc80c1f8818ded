//! Facts to hide in a text and to ask for later.

pub mod interval;
pub mod needle;
pub mod random;
mod words;

use crate::common;
use anyhow::{Context, Result, bail};
use random::Random;
use serde::{Deserialize, Serialize};

/// The first chapters of Alice in Wonderland, in the public domain: a text to hide facts in.
pub const BOOK: &str = include_str!("../sample.txt");

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Five digits.
    Number,
    /// Six digits, in pairs.
    Code,
    /// The name of somebody.
    Name,
    /// Where somebody lives.
    City,
    /// A password of two words.
    Words,
    /// From a file of the user's.
    Own,
}

impl Kind {
    /// The kinds that are generated here.
    pub const MADE: [Kind; 5] = [Kind::Number, Kind::Code, Kind::Name, Kind::City, Kind::Words];
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Number => "number",
            Kind::Code => "code",
            Kind::Name => "name",
            Kind::City => "city",
            Kind::Words => "words",
            Kind::Own => "own",
        })
    }
}

/// Which wordings a fact may have. Heads are never measured with the wordings that selected them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// To measure recall.
    Measure,
    /// To find the heads that look far back.
    Profile,
}

/// Something that a text states once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its subject.
    pub kind: Kind,
    /// The sentence in the text.
    pub statement: String,
    /// The question.
    pub question: String,
    /// How the answer begins, up to the secret.
    pub lead: String,
    /// The secret.
    pub answer: String,
}

impl Fact {
    /// The fact number `index` of the trial `trial`: the same one each time.
    pub fn make(kind: Kind, wording: Wording, trial: u64, index: u64) -> Fact {
        let set = match wording {
            Wording::Measure => 0,
            Wording::Profile => 1,
        };
        let seed = trial.wrapping_mul(0x1_0001).wrapping_add(index).wrapping_mul(0x101);
        let mut random = Random::new(seed.wrapping_add(set << 60) ^ (kind as u64) << 56);
        // Facts of one text are about different things.
        let about = |list: &[&'static str; 16]| list[(7 * trial + index) as usize % list.len()];
        // Measuring uses the first half of each list, profiling the second.
        let half = |random: &mut Random, list: &[&'static str]| {
            let half = list.len() / 2;
            random.of(&list[set as usize * half..][..half])
        };
        let digits = |random: &mut Random, n| -> String {
            (0..n)
                .map(|i| {
                    char::from(
                        b'0' + random.below(if i == 0 { 9 } else { 10 }) as u8 + u8::from(i == 0),
                    )
                })
                .collect()
        };
        let (about, what, answer) = match kind {
            Kind::Number => (about(&words::NUMBERED), "number of", digits(&mut random, 5)),
            Kind::Code => {
                let pairs: Vec<String> = (0..3).map(|_| digits(&mut random, 2)).collect();
                (about(&words::CODED), "code for", pairs.join(" "))
            }
            Kind::Name => {
                (about(&words::NAMED), "name of", half(&mut random, &words::NAMES).into())
            }
            Kind::City => {
                (about(&words::LIVING), "home city of", half(&mut random, &words::CITIES).into())
            }
            Kind::Words | Kind::Own => {
                let first = half(&mut random, &words::FIRST);
                let second = half(&mut random, &words::SECOND);
                (about(&words::GUARDED), "password of", format!("{first} {second}"))
            }
        };
        let statements: [String; 4] = match wording {
            Wording::Measure => [
                format!("The {what} {about} is {answer}."),
                format!("By the way, the {what} {about} is {answer}."),
                format!("The {what} {about}, as everybody should know, is {answer}."),
                format!("With care he wrote down {answer}, which is the {what} {about}."),
            ],
            Wording::Profile => [
                format!("Remember this: {answer} is the {what} {about}."),
                format!("As for the {what} {about}, it is {answer}."),
                format!("They had agreed that the {what} {about} would be {answer}."),
                format!("She said that the {what} {about} was {answer}."),
            ],
        };
        let pick = random.below(statements.len());
        let [a, b, c, d] = statements;
        let statement = [a, b, c, d].into_iter().nth(pick).unwrap_or_default();
        Fact {
            kind,
            statement,
            question: format!("What is the {what} {about}?"),
            lead: format!("The {what} {about} is"),
            answer,
        }
    }
}

/// A line of a file of facts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    statement: String,
    question: String,
    answer: String,
    /// How the answer begins; nothing by default.
    #[serde(default)]
    lead: String,
}

/// The facts of a file: a JSON object per line with `statement`, `question`, `answer` and, if the
/// answer does not begin with the secret, `lead`.
pub fn read(path: &str) -> Result<Vec<Fact>> {
    let text = common::read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut facts = Vec::new();
    for (number, line) in lines {
        let place = || format!("{path}, line {}", number + 1);
        let Line { statement, question, answer, lead } =
            serde_json::from_str(line).with_context(place)?;
        if statement.trim().is_empty() || answer.trim().is_empty() {
            bail!("{}: a fact needs a statement and an answer", place());
        }
        let answer = answer.trim().to_owned();
        facts.push(Fact { kind: Kind::Own, statement, question, lead, answer });
    }
    if facts.is_empty() {
        bail!("{path} has no facts: a JSON object per line is expected");
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn facts_say_their_secret_and_do_not_repeat_within_a_text() {
        for kind in Kind::MADE {
            for wording in [Wording::Measure, Wording::Profile] {
                for trial in 0..50 {
                    let facts: Vec<Fact> =
                        (0..10).map(|i| Fact::make(kind, wording, trial, i)).collect();
                    let leads: HashSet<&str> = facts.iter().map(|f| f.lead.as_str()).collect();
                    assert_eq!(leads.len(), facts.len());
                    for fact in &facts {
                        assert!(fact.statement.contains(&fact.answer), "{fact:?}");
                        assert!(!fact.question.contains(&fact.answer), "{fact:?}");
                    }
                    assert_eq!(facts[3], Fact::make(kind, wording, trial, 3));
                }
            }
        }
    }

    #[test]
    fn profiling_and_measuring_share_no_statement_and_no_secret_word() {
        let all = |wording| -> HashSet<String> {
            let made = |kind| (0..300).map(move |t| Fact::make(kind, wording, t, 0));
            Kind::MADE[2..].iter().flat_map(|&kind| made(kind)).map(|f| f.answer).collect()
        };
        let (measure, profile) = (all(Wording::Measure), all(Wording::Profile));
        assert!(measure.len() > 40 && measure.is_disjoint(&profile));
    }

    #[test]
    fn numbers_have_their_length() {
        for trial in 0..100 {
            let number = Fact::make(Kind::Number, Wording::Measure, trial, 0).answer;
            assert!(
                number.len() == 5 && (10_000..=99_999).contains(&number.parse().unwrap()),
                "{number}"
            );
            let code = Fact::make(Kind::Code, Wording::Measure, trial, 0).answer;
            assert_eq!(code.split(' ').map(str::len).collect::<Vec<_>>(), [2, 2, 2]);
        }
    }
}
