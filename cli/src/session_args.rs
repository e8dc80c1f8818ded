//! Options that determine what a session remembers.

use crate::common::{bytes, note};
use attamba::Eviction;
use attamba::KvType;
use attamba::session::{Budget, Options, Session};
use clap::{Args, ValueEnum};

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kv {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// Chunk states in int8, the window in half precision.
    Int8,
    /// Chunk states in four bits, rotated within heads of 32, 64, 128 or 256 values; the window in
    /// half precision.
    Int4,
}

impl From<Kv> for KvType {
    fn from(kv: Kv) -> KvType {
        match kv {
            Kv::F16 => KvType::F16,
            Kv::F32 => KvType::F32,
            Kv::Int8 => KvType::I8,
            Kv::Int4 => KvType::I4,
        }
    }
}

/// How keys and values of the two kinds of heads are stored, where that is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvByHead {
    near: Option<Kv>,
    far: Option<Kv>,
}

impl KvByHead {
    /// `options` with these types where they are given.
    pub fn apply(self, options: Options) -> Options {
        options.with_kv(self.near.map(KvType::from)).with_far_kv(self.far.map(KvType::from))
    }
}

/// `f16`, or `far=int8,near=f16`, or one of the two.
pub fn kv_by_head(text: &str) -> Result<KvByHead, String> {
    let kv = |name: &str| {
        Kv::from_str(name, false)
            .map_err(|_| format!("{name:?} where f16, f32, int8 or int4 is expected"))
    };
    if !text.contains('=') {
        return Ok(KvByHead { near: Some(kv(text)?), far: None });
    }
    let mut given = KvByHead::default();
    for part in text.split(',') {
        let place = match part.split_once('=') {
            Some(("near", name)) => (&mut given.near, name),
            Some(("far", name)) => (&mut given.far, name),
            _ => return Err(format!("{part:?} where far=TYPE or near=TYPE is expected")),
        };
        *place.0 = Some(kv(place.1)?);
    }
    Ok(given)
}

/// What a session may remember.
#[derive(Args, Clone, Debug)]
pub struct MemoryArgs {
    /// Memory of the session: bytes, optionally with a suffix, such as 512K, 4M, 1G. If the model
    /// has a profile, the heads that it lists see far and the others a window
    #[arg(long, value_name = "BYTES", value_parser = bytes, conflicts_with = "ring")]
    pub budget: Option<u64>,
    /// Chunk states per layer, including the sink [default: the training context]
    #[arg(long, value_name = "STATES", value_parser = crate::number::count)]
    pub ring: Option<usize>,
    /// How keys and values are stored: f16, f32, int8 or int4, or different for heads that see far,
    /// such as far=int4,near=int8 [default: f16; fewer bits where only these fit the budget]
    #[arg(long, value_parser = kv_by_head, value_name = "TYPE")]
    pub kv: Option<KvByHead>,
    /// KV heads that see far, the first ones of the model's profile; 0 for none [default: those
    /// worth their bytes, as many as the budget allows; without one, those of a model with mixers]
    #[arg(long, value_name = "HEADS", value_parser = crate::number::count)]
    pub far: Option<usize>,
    /// Tokens that the other heads see at least [default: as the profile says]
    #[arg(long, value_name = "TOKENS", value_parser = crate::number::long_count)]
    pub near: Option<u64>,
    /// Tokens that heads see if they see far [default: the training context, or as many as --ring holds]
    #[arg(long, value_name = "TOKENS", value_parser = crate::number::long_count, conflicts_with = "ring")]
    pub horizon: Option<u64>,
    /// Eviction policy: what goes when the memory is full
    #[arg(long, alias = "overflow", value_enum, default_value = "drop", value_name = "POLICY")]
    pub eviction: EvictionName,
    /// Tokens per chunk [default: that of the model]
    #[arg(long, value_name = "TOKENS", value_parser = crate::number::count)]
    pub chunk: Option<usize>,
    /// Tokens before the current one that stay visible [default: that of the model]
    #[arg(long, value_name = "TOKENS", value_parser = crate::number::count)]
    pub window: Option<usize>,
}

/// What is evicted when the memory is full.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EvictionName {
    /// The oldest chunk state except the first.
    Drop,
    /// Every second chunk state of the older half.
    Thin,
    /// What the model's retention gates score lowest, head by head.
    Retain,
}

impl MemoryArgs {
    /// Whether any of the options is given.
    pub fn is_given(&self) -> bool {
        let lengths = [self.ring, self.far, self.chunk, self.window];
        let tokens = [self.near, self.horizon, self.budget];
        self.kv.is_some()
            || lengths.iter().any(Option::is_some)
            || tokens.iter().any(Option::is_some)
    }

    /// Whether memory is bounded by anything but the training context.
    pub fn is_bounded(&self) -> bool {
        self.budget.is_some() || self.ring.is_some()
    }

    /// The options of a session.
    pub fn options(&self) -> Options {
        let budget = match (self.budget, self.ring) {
            (Some(bytes), _) => Budget::Bytes(bytes),
            (None, Some(states)) => Budget::States(states),
            (None, None) => Budget::Context,
        };
        let eviction = match self.eviction {
            EvictionName::Drop => Eviction::Drop,
            EvictionName::Thin => Eviction::Thin,
            EvictionName::Retain => Eviction::Retain,
        };
        let kv = self.kv.unwrap_or_default();
        kv.apply(Options::default())
            .with_budget(budget)
            .with_far(self.far)
            .with_near(self.near)
            .with_horizon(self.horizon)
            .with_eviction(eviction)
            .with_chunk(self.chunk)
            .with_window(self.window)
    }

    /// Tells a user whose session forgets because of its budget what a profile would change.
    pub fn hint(&self, session: &Session) {
        let model = session.engine().model();
        let forgets = session.reach().tokens() < model.sizes().context as u64;
        if self.budget.is_some() && forgets && !model.has_profile() {
            note(
                "the model has no profile that says which KV heads retrieve from far back; with one, \
                 made by `attamba profile`, the same bytes remember more",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_given_for_all_heads_or_by_kind() {
        let both = |near, far| Ok(KvByHead { near, far });
        assert_eq!(kv_by_head("int8"), both(Some(Kv::Int8), None));
        assert_eq!(kv_by_head("far=int8"), both(None, Some(Kv::Int8)));
        assert_eq!(kv_by_head("far=int8,near=f16"), both(Some(Kv::F16), Some(Kv::Int8)));
        assert_eq!(kv_by_head("near=int8,far=int4"), both(Some(Kv::Int8), Some(Kv::Int4)));
        for wrong in ["", "f17", "far=", "middle=f16", "far=int8;near=f16", "f16,far=int8"] {
            assert!(kv_by_head(wrong).is_err(), "{wrong}");
        }
    }
}
