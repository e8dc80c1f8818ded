//! What is printed.

use super::measure::{Asked, DEPTHS, Measured};
use super::policy::{Kind, Policy};
use crate::common::printable;
use crate::facts::{self, needle::Outcome};
use serde::Serialize;

#[derive(Serialize)]
pub struct Report {
    pub model: String,
    /// Tokens of each text.
    pub tokens: u64,
    /// Texts that were predicted.
    pub texts: usize,
    /// Facts that were asked for.
    pub needles: u64,
    pub seed: u32,
    pub chat: bool,
    /// Everything first.
    pub rows: Vec<Row>,
    /// Why a policy is missing.
    pub missing: Option<&'static str>,
}

/// One policy.
#[derive(Serialize)]
pub struct Row {
    name: String,
    policy: Kind,
    /// A fraction of the bytes of everything.
    budget: Option<String>,
    budget_bytes: Option<u64>,
    state_bytes: u64,
    /// How far which heads see.
    sees: String,
    /// In the second half of each text.
    late_perplexity: f64,
    /// Late perplexity divided by that of everything.
    late_ratio: f64,
    /// In the first half.
    early_perplexity: f64,
    needles: Outcome,
    depths: Vec<AtDepth>,
    kinds: Vec<OfKind>,
    decode_tokens_per_second: f64,
}

#[derive(Serialize)]
struct AtDepth {
    depth_percent: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
struct OfKind {
    kind: facts::Kind,
    #[serde(flatten)]
    outcome: Outcome,
}

impl Row {
    /// `everything` is the late perplexity of everything.
    pub fn new(policy: &Policy, measured: &Measured, everything: f64) -> Row {
        let Measured { early, late, asked, tokens_per_second } = measured;
        let outcome = |wanted: &dyn Fn(&Asked) -> bool| {
            Outcome::of(asked.iter().filter(|a| wanted(a)).map(|a| &a.recalled))
        };
        Row {
            name: policy.to_string(),
            policy: policy.kind,
            budget: policy.budget.map(|(fraction, _)| fraction.to_string()),
            budget_bytes: policy.budget.map(|(_, bytes)| bytes),
            state_bytes: policy.reach.bytes,
            sees: policy.reach.to_string(),
            late_perplexity: late.perplexity(),
            late_ratio: late.perplexity() / everything,
            early_perplexity: early.perplexity(),
            needles: outcome(&|_| true),
            depths: DEPTHS
                .map(|depth| AtDepth {
                    depth_percent: depth,
                    outcome: outcome(&|a| a.depth == depth),
                })
                .into(),
            kinds: facts::Kind::MADE
                .map(|kind| OfKind { kind, outcome: outcome(&|a| a.kind == kind) })
                .into(),
            decode_tokens_per_second: *tokens_per_second,
        }
    }
}

impl std::fmt::Display for Row {
    /// A row of the table.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (sees, state) = self.sees.rsplit_once("; ").unwrap_or((&*self.sees, ""));
        write!(
            f,
            "| {} | {sees} | {state} | {:.2} | {:.3} | {:.2} | {} | {:.1} |",
            self.name,
            self.late_perplexity,
            self.late_ratio,
            self.early_perplexity,
            self.needles,
            self.decode_tokens_per_second
        )
    }
}

impl Report {
    pub fn table(&self) -> String {
        let mut out = format!(
            "{}: {} texts of {} tokens to predict, {} facts to recall in others of that length\n\n",
            printable(&self.model),
            self.texts,
            self.tokens,
            self.needles
        );
        out += "| policy | what heads see | state | late perplexity | × everything | early \
                | tokens recalled | facts recalled exactly | decode, tokens/s |\n\
                |---|---|--:|--:|--:|--:|--:|--:|--:|\n";
        self.rows.iter().for_each(|row| out += &format!("{row}\n"));
        out += "\nBy the place of the fact in the text, tokens recalled and facts recalled exactly:\n\n| policy |";
        DEPTHS.iter().for_each(|depth| out += &format!(" {depth} % |"));
        out += &format!("\n|---|{}\n", "--:|".repeat(DEPTHS.len()));
        for row in &self.rows {
            out += &format!("| {} |", row.name);
            for AtDepth { outcome, .. } in &row.depths {
                out += &format!(" {}; {:.0} % |", outcome.recalled, 100.0 * outcome.exact.share);
            }
            out += "\n";
        }
        out += "\nIn parentheses 95 % intervals; guessing a digit gets one in ten right.\n";
        if let Some(missing) = self.missing {
            out += &format!("{missing}\n");
        }
        out
    }
}
