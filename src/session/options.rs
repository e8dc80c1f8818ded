//! Options of a session.

use super::Budget;
use crate::cache::{Eviction, KvType};

/// Options with which a session is opened.
///
/// ```
/// use attamba::{Budget, KvType, Options};
///
/// let options = Options::default().with_budget(Budget::Bytes(4 << 20)).with_kv(KvType::I8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) budget: Budget,
    pub(crate) kv: Option<KvType>,
    pub(crate) far_kv: Option<KvType>,
    pub(crate) far: Option<usize>,
    pub(crate) near: Option<u64>,
    pub(crate) horizon: Option<u64>,
    pub(crate) eviction: Eviction,
    pub(crate) chunk: Option<usize>,
    pub(crate) window: Option<usize>,
}

impl Default for Options {
    /// The training context, with keys and values in half precision.
    fn default() -> Options {
        Options {
            budget: Budget::Context,
            kv: None,
            far_kv: None,
            far: None,
            near: None,
            horizon: None,
            eviction: Eviction::Drop,
            chunk: None,
            window: None,
        }
    }
}

impl Options {
    /// How much the session may remember; by default the training context.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Options {
        self.budget = budget;
        self
    }

    /// How keys and values are stored. By default in half precision, or in fewer bits where only
    /// these fit a budget in bytes and some heads are to see far: in int8 if heads that
    /// see near then see four times what the profile wants, else in four bits if the model's heads
    /// have one of their widths.
    #[must_use]
    pub fn with_kv(mut self, kv: impl Into<Option<KvType>>) -> Options {
        self.kv = kv.into();
        self
    }

    /// How those of the heads that see far are stored; by default like the others.
    #[must_use]
    pub fn with_far_kv(mut self, far_kv: impl Into<Option<KvType>>) -> Options {
        self.far_kv = far_kv.into();
        self
    }

    /// How many KV heads see far: the first ones of the model's profile. By default as many as the
    /// profile thinks worth their bytes and a budget in bytes allows. For other budgets that is so
    /// of a model with mixers, which was trained with such heads, or if a near window or a horizon is
    /// given; else none do.
    #[must_use]
    pub fn with_far(mut self, far: impl Into<Option<usize>>) -> Options {
        self.far = far.into();
        self
    }

    /// Tokens that the other heads see, at least if the budget is in bytes; by default as the
    /// profile says.
    #[must_use]
    pub fn with_near(mut self, near: impl Into<Option<u64>>) -> Options {
        self.near = near.into();
        self
    }

    /// Tokens that heads see if they see far; by default the training context, or the budget if it
    /// is in tokens or states.
    #[must_use]
    pub fn with_horizon(mut self, horizon: impl Into<Option<u64>>) -> Options {
        self.horizon = horizon.into();
        self
    }

    /// Which states are evicted when the ring is full; by default the oldest.
    #[must_use]
    pub fn with_eviction(mut self, eviction: Eviction) -> Options {
        self.eviction = eviction;
        self
    }

    /// Tokens per chunk, if different from the file. Lengths that the model was not trained with
    /// work, but worse.
    #[must_use]
    pub fn with_chunk(mut self, chunk: impl Into<Option<usize>>) -> Options {
        self.chunk = chunk.into();
        self
    }

    /// Tokens before the current one that stay visible, if different from the file.
    #[must_use]
    pub fn with_window(mut self, window: impl Into<Option<usize>>) -> Options {
        self.window = window.into();
        self
    }
}
