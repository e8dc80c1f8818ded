//! Ways to spend a number of bytes on a session's memory.

use super::fraction::Fraction;
use crate::common::size;
use crate::session_args::KvByHead;
use anyhow::{Context, Result};
use attamba::model::Model;
use attamba::session::{Budget, Options, Reach};
use attamba::{Eviction, KvType};
use serde::Serialize;

/// What is kept of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Keys and values of every token.
    Everything,
    /// Those of the last tokens, the same for all heads.
    Window,
    /// Those of many tokens for heads that see far, of the last ones for the others.
    ByHead,
    /// The same, and of those that are not among the last ones for the others what retention gates choose.
    Retained,
    /// States of the last chunks, the same for all heads.
    Chunks,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Everything => "everything",
            Kind::Window => "window",
            Kind::ByHead => "by head",
            Kind::Retained => "by head, retained",
            Kind::Chunks => "chunks",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub kind: Kind,
    /// None for everything.
    pub budget: Option<(Fraction, u64)>,
    pub options: Options,
    pub reach: Reach,
}

impl std::fmt::Display for Policy {
    /// `by head, 1/8`
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.kind.name())?;
        match self.budget {
            Some((fraction, _)) => write!(f, ", {fraction}"),
            None => Ok(()),
        }
    }
}

/// The policies that suit a model, for texts of `tokens` tokens: everything first, then those of
/// each budget.
///
/// # Errors
/// If a budget holds nothing.
pub fn policies(
    model: &Model,
    tokens: u64,
    budgets: &[Fraction],
    kv: Option<KvByHead>,
) -> Result<Vec<Policy>> {
    let everything = Options::default()
        .with_budget(Budget::Tokens(tokens))
        .with_kv(KvType::F16)
        .with_far(0)
        .with_chunk(1)
        .with_eviction(Eviction::Drop);
    let reach = everything.reach(model)?;
    let all = reach.bytes;
    let mut policies =
        vec![Policy { kind: Kind::Everything, budget: None, options: everything, reach }];
    for &fraction in budgets {
        let bytes = fraction.bytes(all);
        let mut kinds = vec![Kind::Window];
        kinds.extend(model.has_profile().then_some(Kind::ByHead));
        kinds.extend(model.has_retention_gates().then_some(Kind::Retained));
        kinds.extend((!model.is_transformer()).then_some(Kind::Chunks));
        for kind in kinds {
            let of = || format!("{fraction} of the {} of everything", size(all));
            let options = options(kind, model, tokens, bytes, kv).with_context(of)?;
            let reach = options.reach(model).with_context(of)?;
            policies.push(Policy { kind, budget: Some((fraction, bytes)), options, reach });
        }
    }
    Ok(policies)
}

/// How a policy spends `bytes`: unless types are given in int8, or in half precision if that is enough
/// for the whole text.
fn options(
    kind: Kind,
    model: &Model,
    tokens: u64,
    bytes: u64,
    kv: Option<KvByHead>,
) -> Result<Options> {
    let within = Options::default().with_budget(Budget::Bytes(bytes));
    let alike = within.with_far(0).with_kv(KvType::F16);
    let options = match kind {
        Kind::ByHead | Kind::Retained => {
            let by_head = kv.unwrap_or_default().apply(within.with_horizon(tokens));
            let retained = kind == Kind::Retained;
            return Ok(if retained { by_head.with_eviction(Eviction::Retain) } else { by_head });
        }
        Kind::Chunks => alike,
        Kind::Window | Kind::Everything => alike.with_chunk(1),
    };
    if let Some(kv) = kv {
        return Ok(kv.apply(options));
    }
    let int8 = options.with_kv(KvType::I8);
    let whole = options.reach(model).is_ok_and(|reach| reach.tokens() >= tokens);
    Ok(if whole { options } else { int8 })
}
