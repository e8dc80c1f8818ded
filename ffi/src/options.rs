//! Options as C passes them, and what they mean to the library.

use crate::error::{Failure, Result};
use crate::input;
use crate::model::Model;
use crate::status::Status;
use crate::versioned::{self, Versioned};
use crate::work::{AsChat, Raw, Samplers, Settings};
use runtime::sample::{self, Sampler, Sampling as Options};
use runtime::session::{self, Budget as Bound, Session};
use runtime::{EngineKind, EngineOptions, Eviction, KvType};
use std::ffi::{c_char, c_void};

/// Which engine to use.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// For a model: a GPU if there is one that computes correctly, else the CPU, which also takes
    /// over if the GPU is lost. For a session: that of the model.
    Auto = 0,
    /// The CPU.
    Cpu = 1,
    /// A GPU. ATTAMBA_STATUS_DEVICE if there is no usable one.
    Gpu = 2,
}

impl Engine {
    pub fn of(value: i32) -> Result<Engine> {
        known("engine", value, [Engine::Auto, Engine::Cpu, Engine::Gpu], |e| e as i32)
    }
}

/// How activations are rounded before they are multiplied with quantized weights.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// 14 bits: the logits are those of the weights in the file.
    Int14 = 0,
    /// 8 bits: faster, above all in prefill, with logits that are less exact. On a GPU with matrix units:
    /// half precision in prefill.
    Int8 = 1,
}

/// The unit of attamba_session_options.budget.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// No budget: the session remembers as much as the model was trained with.
    Context = 0,
    /// Chunk states per layer.
    States = 1,
    /// Tokens.
    Tokens = 2,
    /// Bytes of the session's state.
    Bytes = 3,
}

/// How keys and values are stored.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kv {
    /// Half precision, or fewer bits where only these fit a budget in bytes and some KV heads are to
    /// see far.
    Default = 0,
    /// Single precision, 4 bytes per value.
    F32 = 1,
    /// Chunk states as 8-bit integers with a scale per head; the latest tokens in half precision.
    I8 = 2,
    /// Half precision, 2 bytes per value.
    F16 = 3,
    /// Chunk states as 4-bit integers, rotated within heads of 32, 64, 128 or 256 values, with a
    /// scale for every 32; the latest tokens in half precision.
    I4 = 4,
}

/// The eviction policy: what goes when a session's memory is full.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The oldest chunk state except the very first.
    Drop = 0,
    /// Every second chunk state of the older half: the distant past becomes coarser before it is
    /// dropped.
    Thin = 1,
    /// What the model's retention gates score lowest, head by head: for transformers whose file has such
    /// gates.
    Retain = 2,
}

/// Called while a model is loaded, on the thread that loads it, with the fraction that is done, 0
/// to 1. Returns 0 to cancel, anything else to continue.
pub type Progress = Option<unsafe extern "C" fn(user: *mut c_void, done: f32) -> i32>;

/// A part of loading a model that takes time in proportion to bytes.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadingPart {
    /// Reading the file, with `in_memory` or `preload`.
    Read = 0,
    /// Uploading weights to a GPU.
    Upload = 1,
}

/// How far a part of loading is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Loading {
    /// sizeof(attamba_loading) of the library. A function that was compiled with another header
    /// reads no more than this.
    pub struct_size: u32,
    /// An attamba_loading_part.
    pub part: i32,
    /// Bytes that are done.
    pub done: u64,
    /// Bytes in all.
    pub all: u64,
}

/// Called while a model is loaded, on the thread that loads it, after every few megabytes; the struct
/// is valid until the function returns. Returns 0 to cancel, anything else to continue.
pub type LoadingFn =
    Option<unsafe extern "C" fn(user: *mut c_void, loading: *const Loading) -> i32>;

/// How to open a model. Zeros are the defaults; NULL in place of the struct means the same.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ModelOptions {
    /// sizeof(attamba_model_options).
    pub struct_size: u32,
    /// An attamba_engine.
    pub engine: i32,
    /// Threads of the CPU engine; 0 uses the performance cores, on phones at most 4.
    pub threads: u32,
    /// Not 0: read the whole file now, so that the first answer need not wait for the disk.
    pub preload: i32,
    /// Receives the loading progress; may be NULL.
    pub progress: Progress,
    /// Passed to `progress` and to `loading`.
    pub progress_user: *mut c_void,
    /// Part of the name of the GPU to use, case-insensitive, zero-terminated; NULL for the fastest.
    /// A software driver is used only if it is named, or if ATTAMBA_ENGINE_GPU is requested and
    /// there is nothing else.
    pub adapter: *const c_char,
    /// Not 0: read the file into memory instead of mapping it, so that it may change while the model
    /// is open. The system cannot reclaim that memory.
    pub in_memory: i32,
    /// Not 0: sessions of the CPU engine that generate on several threads at the same time decode
    /// together, so that the weights are read once for all of them. Each may wait for others for up
    /// to a quarter of the time of a token.
    pub batching: i32,
    /// A folder for compiled kernels of Vulkan GPUs, zero-terminated, created if needed, such as one
    /// in the application's cache folder: later starts take less time. NULL keeps them nowhere.
    pub cache: *const c_char,
    /// Receives the progress of each part in bytes; may be NULL.
    pub loading: LoadingFn,
    /// An attamba_activations.
    pub activations: i32,
    /// Zero.
    pub reserved: i32,
}

// SAFETY: `repr(C)`, `u32` first, any bits are valid (a function pointer is only called as C's own),
// pairs of 4 bytes and whole pointers.
unsafe impl Versioned for ModelOptions {
    const DEFAULT: ModelOptions = ModelOptions {
        struct_size: size_of::<ModelOptions>() as u32,
        engine: 0,
        threads: 0,
        preload: 0,
        progress: None,
        progress_user: std::ptr::null_mut(),
        adapter: std::ptr::null(),
        in_memory: 0,
        batching: 0,
        cache: std::ptr::null(),
        loading: None,
        activations: 0,
        reserved: 0,
    };
}

/// How to open a session. Zeros are the defaults; NULL in place of the struct means the same.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SessionOptions {
    /// sizeof(attamba_session_options).
    pub struct_size: u32,
    /// An attamba_engine.
    pub engine: i32,
    /// An attamba_budget: the unit of `budget`.
    pub budget_kind: i32,
    /// An attamba_kv.
    pub kv: i32,
    /// How much the session may remember. It determines the session's memory, which is known in
    /// advance.
    pub budget: u64,
    /// An attamba_policy.
    pub policy: i32,
    /// Tokens per chunk; 0 for what the model was trained with. Other lengths work, but worse.
    pub chunk: u32,
    /// How tokens are chosen; NULL for the defaults: those of attamba_sampling_init for raw text
    /// and of attamba_sampling_init_chat in a chat, except for what the model's file recommends
    /// (its keys general.sampling.*, as in llama.cpp).
    pub sampling: *const Sampling,
    /// Not 0: messages of a chat that spell special tokens, such as `<|im_end|>`, become these
    /// tokens. For messages that the application writes itself. With 0 they are ordinary text.
    pub parse_special: i32,
    /// An attamba_kv: how keys and values of heads that see far are stored.
    pub far_kv: i32,
    /// How many KV heads see far, the first ones of the model's profile. 0: with a budget in bytes,
    /// as many as are worth it; for other budgets those of a model with mixers, which was trained
    /// with them, else none. Negative: none.
    pub far_heads: i32,
    /// Tokens that the other heads see at least; 0 for what the profile says.
    pub near_tokens: u32,
    /// Tokens that heads see if they see far; 0 for the training context.
    pub horizon: u64,
    /// The most bytes of the snapshots that a chat keeps in order to go back; 0 for 32 MiB. With fewer
    /// than one takes it keeps none, and undoing a message processes the chat again.
    pub checkpoint_bytes: u64,
}

// SAFETY: as above.
unsafe impl Versioned for SessionOptions {
    const DEFAULT: SessionOptions = SessionOptions {
        struct_size: size_of::<SessionOptions>() as u32,
        engine: 0,
        budget_kind: 0,
        kv: 0,
        budget: 0,
        policy: 0,
        chunk: 0,
        sampling: std::ptr::null(),
        parse_special: 0,
        far_kv: 0,
        far_heads: 0,
        near_tokens: 0,
        horizon: 0,
        checkpoint_bytes: 0,
    };
}

impl SessionOptions {
    /// The contents of a session that has not begun anything.
    pub fn raw(&self, session: Session, samplers: Samplers) -> Raw {
        let as_chat = AsChat { sampler: samplers.chat, settings: self.settings() };
        Raw { session, sampler: samplers.raw, as_chat }
    }

    /// The settings of a chat.
    pub fn settings(&self) -> Settings {
        Settings {
            parse_special: input::boolean(self.parse_special),
            checkpoints: (self.checkpoint_bytes != 0).then_some(self.checkpoint_bytes),
            language: None,
        }
    }

    /// The requested session options.
    pub fn options(&self) -> Result<session::Options> {
        use Budget::{Bytes, Context, States, Tokens};
        let kind =
            known("budget_kind", self.budget_kind, [Context, States, Tokens, Bytes], |b| b as i32)?;
        let budget = match kind {
            Context if self.budget == 0 => Bound::Context,
            Context => {
                return Err(Failure::argument(format!(
                    "a budget of {}, and no budget_kind that says of what",
                    self.budget
                )));
            }
            States => Bound::States(usize::try_from(self.budget).unwrap_or(usize::MAX)),
            Tokens => Bound::Tokens(self.budget),
            Bytes => Bound::Bytes(self.budget),
        };
        let kv = |field, kv| {
            let all = [Kv::Default, Kv::F32, Kv::I8, Kv::F16, Kv::I4];
            Ok::<_, Failure>(match known(field, kv, all, |kv| kv as i32)? {
                Kv::Default => None,
                Kv::F32 => Some(KvType::F32),
                Kv::I8 => Some(KvType::I8),
                Kv::F16 => Some(KvType::F16),
                Kv::I4 => Some(KvType::I4),
            })
        };
        let eviction =
            match known("policy", self.policy, [Policy::Drop, Policy::Thin, Policy::Retain], |p| {
                p as i32
            })? {
                Policy::Drop => Eviction::Drop,
                Policy::Thin => Eviction::Thin,
                Policy::Retain => Eviction::Retain,
            };
        let given = |tokens: u32| (tokens != 0).then_some(tokens as usize);
        let default = session::Options::default();
        Ok(default
            .with_budget(budget)
            .with_kv(kv("kv", self.kv)?)
            .with_far_kv(kv("far_kv", self.far_kv)?)
            .with_far(match self.far_heads {
                0 => None,
                heads => Some(usize::try_from(heads).unwrap_or(0)),
            })
            .with_near(given(self.near_tokens).map(|tokens| tokens as u64))
            .with_horizon((self.horizon != 0).then_some(self.horizon))
            .with_eviction(eviction)
            .with_chunk(given(self.chunk)))
    }
}

/// A value added to the logit of a token; minus infinity forbids it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bias {
    /// The token.
    pub token: u32,
    /// What is added.
    pub bias: f32,
}

/// A stage of the sampler chain.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Repetition, frequency and presence penalty.
    Penalties = 0,
    /// DRY.
    Dry = 1,
    /// Top-k.
    TopK = 2,
    /// Typical-p.
    TypicalP = 3,
    /// Top-p.
    TopP = 4,
    /// Min-p.
    MinP = 5,
    /// XTC.
    Xtc = 6,
    /// The temperature.
    Temperature = 7,
}

/// A seed of attamba_sampling: another one for each session.
pub const SEED_RANDOM: u64 = u64::MAX;

/// How tokens are chosen. attamba_sampling_init or attamba_sampling_init_chat sets the defaults;
/// every field is used as it is. Fields beyond `struct_size` are off.
///
/// The stages run in the order of attamba_stage, which is that of llama.cpp, or in the order of
/// `stages`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sampling {
    /// sizeof(attamba_sampling).
    pub struct_size: u32,
    /// Number of recent tokens that the three penalties consider; 0 turns them off.
    pub repeat_last: u32,
    /// Seed of the draws; the same seed gives the same draws in every version. ATTAMBA_SEED_RANDOM,
    /// the default, is another one for each session: attamba_session_get_info tells which.
    pub seed: u64,
    /// Divides logits of recent tokens that are positive, multiplies those that are not; 1 is off.
    pub repeat_penalty: f32,
    /// Keeps only this many most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps only the most likely tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Keeps only tokens at least this many times as likely as the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Divides logits before the draw; 0 takes the most likely token.
    pub temperature: f32,
    /// 0.
    pub reserved: u32,
    /// Added to logits before anything else; read when the struct is passed. NULL for none.
    pub bias: *const Bias,
    /// Number of entries in `bias`.
    pub bias_count: u64,
    /// Subtracted from the logit of a recent token for each of its occurrences; 0 is off.
    pub frequency_penalty: f32,
    /// Subtracted from the logit of a recent token; 0 is off.
    pub presence_penalty: f32,
    /// Keeps only the most typical tokens that together have this probability; 1 keeps all.
    pub typical_p: f32,
    /// The probability that XTC acts on a token; 0 is off.
    pub xtc_probability: f32,
    /// Of the tokens of at least this probability XTC keeps only the least likely; above 0.5 it is
    /// off.
    pub xtc_threshold: f32,
    /// DRY: a token that would extend a repetition of n tokens loses
    /// `dry_multiplier * dry_base ^ (n - dry_allowed_length)` of its logit; 0 is off.
    pub dry_multiplier: f32,
    /// At least 1.
    pub dry_base: f32,
    /// Shorter repetitions are ignored.
    pub dry_allowed_length: u32,
    /// Number of recent tokens in which DRY looks for repetitions; 0 turns it off.
    pub dry_penalty_last_n: u32,
    /// Number of entries in `stages`.
    pub stage_count: u32,
    /// Stages, each an attamba_stage, in the order in which they run; read when the struct is
    /// passed. NULL for all of them in the order of their numbers.
    pub stages: *const i32,
    /// Texts that no repetition extends across, UTF-8, zero-terminated; read when the struct is
    /// passed. NULL for line feed, colon, quote and asterisk. Special tokens always count as such.
    pub dry_breakers: *const *const c_char,
    /// Number of entries; 0 with a non-NULL pointer for none.
    pub dry_breaker_count: u64,
    /// Texts that end what is generated, UTF-8, zero-terminated; read when the struct is passed.
    /// They are neither passed to the callback nor part of an answer's message; what could be the
    /// beginning of one waits for the next token. NULL for none.
    pub stop: *const *const c_char,
    /// Number of entries in `stop`.
    pub stop_count: u64,
}

// SAFETY: as above.
unsafe impl Versioned for Sampling {
    const DEFAULT: Sampling = Sampling {
        struct_size: size_of::<Sampling>() as u32,
        repeat_last: 64,
        seed: SEED_RANDOM,
        repeat_penalty: 1.0,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.05,
        temperature: 0.8,
        reserved: 0,
        bias: std::ptr::null(),
        bias_count: 0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        typical_p: 1.0,
        xtc_probability: 0.0,
        xtc_threshold: 0.1,
        dry_multiplier: 0.0,
        dry_base: 1.75,
        dry_allowed_length: 2,
        dry_penalty_last_n: 1024,
        stage_count: 0,
        stages: std::ptr::null(),
        dry_breakers: std::ptr::null(),
        dry_breaker_count: 0,
        stop: std::ptr::null(),
        stop_count: 0,
    };
}

impl Sampling {
    /// The defaults for a chat.
    const CHAT: Sampling =
        Sampling { dry_multiplier: 0.8, repeat_penalty: 1.05, ..Sampling::DEFAULT };

    /// Samplers from the caller's numbers, or for null what the model's file recommends and the
    /// defaults.
    ///
    /// # Safety
    /// `from` as in [`versioned::read`], and what it points to is null or as many as it says.
    pub unsafe fn samplers(from: *const Sampling, model: &Model) -> Result<Samplers> {
        if from.is_null() {
            let raw = Sampler::new(Options::default().recommended_by(&model.file)?)?;
            // A model without a language has no chats.
            let Ok(language) = &model.language else { return Ok(Samplers::one(raw)) };
            let mut chat = Options::chat(language.tokenizer())?.recommended_by(&model.file)?;
            chat.seed = Some(raw.seed());
            return Ok(Samplers { chat: Sampler::new(chat)?, raw });
        }
        // SAFETY: as the caller guarantees.
        Ok(Samplers::one(unsafe { versioned::read(from)?.sampler(model) }?))
    }

    /// # Safety
    /// What the struct points to is null or as many as it says.
    unsafe fn sampler(&self, model: &Model) -> Result<Sampler> {
        let length = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        // SAFETY: as the caller guarantees.
        let bias = unsafe { input::slice(self.bias, length(self.bias_count), "the bias") }?;
        let bias = bias.iter().map(|one| (one.token, one.bias)).collect();
        let mut options = self.options();
        options.bias = bias;
        if !self.stages.is_null() {
            let stages = self.stage_count as usize;
            // SAFETY: as above.
            let stages = unsafe { input::slice(self.stages, stages, "the stages") }?;
            options.stages = stages.iter().map(|&stage| Stage::of(stage)).collect::<Result<_>>()?;
        }
        if self.dry_multiplier > 0.0 {
            let tokenizer = model.language()?.tokenizer();
            options.dry_breakers = if self.dry_breakers.is_null() {
                Options::chat(tokenizer)?.dry_breakers
            } else {
                let count = length(self.dry_breaker_count);
                // SAFETY: as above.
                let texts = unsafe { input::names(self.dry_breakers, count, "a DRY breaker") }?;
                tokenizer.dry_breakers(&texts)?
            };
        }
        // SAFETY: as above.
        options.stop = unsafe { input::names(self.stop, length(self.stop_count), "a stop text") }?;
        Ok(Sampler::new(options)?)
    }

    /// The numbers alone.
    fn options(&self) -> Options {
        let mut s = Options::default();
        s.repeat_penalty = self.repeat_penalty;
        s.frequency_penalty = self.frequency_penalty;
        s.presence_penalty = self.presence_penalty;
        s.repeat_last = self.repeat_last as usize;
        s.dry_multiplier = self.dry_multiplier;
        s.dry_base = self.dry_base;
        s.dry_allowed_length = self.dry_allowed_length as usize;
        s.dry_penalty_last_n = self.dry_penalty_last_n as usize;
        s.top_k = self.top_k as usize;
        s.typical_p = self.typical_p;
        s.top_p = self.top_p;
        s.min_p = self.min_p;
        s.xtc_probability = self.xtc_probability;
        s.xtc_threshold = self.xtc_threshold;
        s.temperature = self.temperature;
        s.seed = (self.seed != SEED_RANDOM).then_some(self.seed);
        s
    }
}

impl Stage {
    fn of(value: i32) -> Result<sample::Stage> {
        use Stage::{Dry, MinP, Penalties, Temperature, TopK, TopP, TypicalP, Xtc};
        let all = [Penalties, Dry, TopK, TypicalP, TopP, MinP, Xtc, Temperature];
        Ok(match known("a stage", value, all, |stage| stage as i32)? {
            Penalties => sample::Stage::Penalties,
            Dry => sample::Stage::Dry,
            TopK => sample::Stage::TopK,
            TypicalP => sample::Stage::TypicalP,
            TopP => sample::Stage::TopP,
            MinP => sample::Stage::MinP,
            Xtc => sample::Stage::Xtc,
            Temperature => sample::Stage::Temperature,
        })
    }
}

/// Fills the fields of `sampling` except `struct_size`, which the caller has set, with the defaults
/// for raw text: temperature 0.8, the 40 most likely, top-p 0.95, min-p 0.05, no penalties, a random seed.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_sampling_init(sampling: *mut Sampling) -> Status {
    crate::guard::call(|| {
        // SAFETY: the caller's struct is as long as it says.
        unsafe { versioned::write(Sampling::DEFAULT, sampling) }
    })
}

/// The same with the defaults for a chat: those of attamba_sampling_init plus DRY with multiplier
/// 0.8, and a repetition penalty of 1.05, without which small models often end up in a loop.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_sampling_init_chat(sampling: *mut Sampling) -> Status {
    crate::guard::call(|| {
        // SAFETY: the caller's struct is as long as it says.
        unsafe { versioned::write(Sampling::CHAT, sampling) }
    })
}

/// Reads a model's options.
///
/// # Safety
/// As [`versioned::read`].
pub unsafe fn model(from: *const ModelOptions) -> Result<ModelOptions> {
    // SAFETY: as the caller guarantees.
    unsafe { versioned::read(from) }
}

/// The constant of a caller's number.
pub fn known<T: Copy, const N: usize>(
    what: &str,
    value: i32,
    all: [T; N],
    number: fn(T) -> i32,
) -> Result<T> {
    all.into_iter().find(|&one| number(one) == value).ok_or_else(|| {
        Failure::argument(format!("{what} is {value}, which this library does not know"))
    })
}

impl ModelOptions {
    pub fn in_memory(&self) -> bool {
        input::boolean(self.in_memory)
    }

    pub fn preloads(&self) -> bool {
        input::boolean(self.preload)
    }

    /// Which engine is requested.
    ///
    /// # Safety
    /// `adapter` and `cache` are null or point to bytes that end with a zero byte.
    pub unsafe fn wanted(&self) -> Result<(EngineKind, EngineOptions)> {
        let kind = match Engine::of(self.engine)? {
            Engine::Auto => EngineKind::Auto,
            Engine::Cpu => EngineKind::Cpu,
            Engine::Gpu => EngineKind::Gpu,
        };
        let activations = [Activations::Int14, Activations::Int8];
        let activations = known("activations", self.activations, activations, |a| a as i32)?;
        let options = EngineOptions::default()
            .with_threads(self.threads())
            .with_activations(match activations {
                Activations::Int14 => runtime::Activations::Int14,
                Activations::Int8 => runtime::Activations::Int8,
            })
            .with_batching(input::boolean(self.batching));
        // SAFETY: as the caller guarantees.
        let adapter = unsafe { input::name(self.adapter, "the adapter") }?;
        let options = adapter.into_iter().fold(options, EngineOptions::with_adapter);
        // SAFETY: as the caller guarantees.
        let cache = unsafe { input::name(self.cache, "the cache folder") }?;
        #[cfg(feature = "gpu")]
        let options = cache.into_iter().fold(options, EngineOptions::with_cache);
        #[cfg(not(feature = "gpu"))]
        let _ = cache;
        Ok((kind, options))
    }

    pub fn threads(&self) -> Option<usize> {
        (self.threads != 0).then_some(self.threads as usize)
    }

    /// Reports the loading progress.
    ///
    /// # Safety
    /// `progress` and its `progress_user` are the caller's, who waits for this call.
    pub unsafe fn report(&self, done: f32) -> Result<()> {
        let Some(progress) = self.progress else { return Ok(()) };
        // SAFETY: as the caller guarantees.
        let go_on = unsafe { progress(self.progress_user, done) };
        if input::boolean(go_on) { Ok(()) } else { Err(runtime::Error::Cancelled.into()) }
    }

    /// Reports progress in bytes; returns whether to continue.
    ///
    /// # Safety
    /// As of [`ModelOptions::report`], for `loading`.
    pub unsafe fn report_bytes(&self, part: LoadingPart, done: u64, all: u64) -> bool {
        let Some(loading) = self.loading else { return true };
        let struct_size = size_of::<Loading>() as u32;
        let so_far = Loading { struct_size, part: part as i32, done, all };
        // SAFETY: as the caller guarantees; the struct is alive.
        input::boolean(unsafe { loading(self.progress_user, &raw const so_far) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_library() {
        assert_eq!(Sampling::DEFAULT.options(), Options::default());
        // Which tokens break repetitions is left out of the comparison, so that any tokenizer does.
        let json = r#"{"version":"1.0","added_tokens":[],"decoder":{"type":"ByteLevel"},
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true},
            "model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}"#;
        let tokenizer = runtime::text::Tokenizer::from_json(json).expect("a tokenizer");
        let mut chat = Options::chat(&tokenizer).expect("defaults");
        chat.dry_breakers = Vec::new();
        assert_eq!(Sampling::CHAT.options(), chat);
        let options = SessionOptions::DEFAULT.options().expect("the defaults make sense");
        assert_eq!(options, session::Options::default());
    }
}
