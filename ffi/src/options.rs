//! Options as C hands them in, and what they mean to the library.

use crate::error::{Failure, Result};
use crate::input;
use crate::model::Model;
use crate::status::Status;
use crate::versioned::{self, Versioned};
use crate::work::{AsChat, Raw, Samplers};
use runtime::engine::{Choice, KvType, Wanted};
use runtime::sample::{self, Sampler, Sampling as Options};
use runtime::session::{self, Budget as Bound, Eviction, Session};
use std::ffi::{c_char, c_void};

/// Which engine computes.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// For a model: a GPU where there is one that computes what it should, else the CPU, which also
    /// takes over should the GPU be lost. For a session: that of the model.
    Auto = 0,
    /// The CPU.
    Cpu = 1,
    /// A GPU. ATTAMBA_STATUS_DEVICE where there is none that can be used.
    Gpu = 2,
}

impl Engine {
    pub fn of(value: i32) -> Result<Engine> {
        known("engine", value, [Engine::Auto, Engine::Cpu, Engine::Gpu], |e| e as i32)
    }
}

/// What the number in attamba_session_options.budget counts.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Nothing: the session remembers as much as the model was trained with.
    Context = 0,
    /// Chunk states a layer.
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
    /// Half precision, 2 bytes a number.
    F16 = 0,
    /// Single precision, 4 bytes a number.
    F32 = 1,
    /// Chunk states in integers of eight bits with a scale for each head; the newest tokens in half
    /// precision.
    I8 = 2,
}

/// What goes when a session's memory is full.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The oldest chunk state but the very first.
    Drop = 0,
    /// Of the older half, every second chunk state: what is long ago grows coarse before it goes.
    Thin = 1,
}

/// Called while a model is loaded, on the thread that loads it, with the part that is done, 0 to 1.
/// Returns 0 to cancel, anything else to go on.
pub type Progress = Option<unsafe extern "C" fn(user: *mut c_void, done: f32) -> i32>;

/// How a model is opened. Zeros are the defaults; so is a NULL instead of the struct.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ModelOptions {
    /// sizeof(attamba_model_options).
    pub struct_size: u32,
    /// An attamba_engine.
    pub engine: i32,
    /// Threads of the CPU engine; 0 takes the fast cores, on phones at most 4.
    pub threads: u32,
    /// Not 0: read all of the file now, so that the first answer need not wait for the disk.
    pub preload: i32,
    /// Told how far loading has come; NULL for nobody.
    pub progress: Progress,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
    /// A part of the name of the GPU to take, in any case, with a zero byte behind; NULL for the
    /// fastest. A program that acts as a GPU is taken only if it is named, or if ATTAMBA_ENGINE_GPU
    /// is asked for and there is nothing else.
    pub adapter: *const c_char,
    /// Not 0: read the file into memory instead of mapping it, so that it may change while the model
    /// is open. The system cannot reclaim that memory.
    pub in_memory: i32,
    /// 0.
    pub reserved: u32,
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
        reserved: 0,
    };
}

/// How a session is opened. Zeros are the defaults; so is a NULL instead of the struct.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SessionOptions {
    /// sizeof(attamba_session_options).
    pub struct_size: u32,
    /// An attamba_engine.
    pub engine: i32,
    /// An attamba_budget: what `budget` counts.
    pub budget_kind: i32,
    /// An attamba_kv.
    pub kv: i32,
    /// How much the session may remember. Its memory is fixed by this, and known beforehand.
    pub budget: u64,
    /// An attamba_policy.
    pub policy: i32,
    /// Tokens a chunk; 0 for what the model was trained with. Other lengths work, but worse.
    pub chunk: u32,
    /// How tokens are chosen; NULL for the defaults, of attamba_sampling_init for raw text and of
    /// attamba_sampling_init_chat in a chat.
    pub sampling: *const Sampling,
    /// Not 0: messages of a chat that spell special tokens, such as `<|im_end|>`, become these tokens.
    /// For messages that the application writes itself. With 0 they are text like any other.
    pub parse_special: i32,
    /// 0.
    pub reserved: u32,
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
        reserved: 0,
    };
}

impl SessionOptions {
    /// The inside of a session that has begun nothing.
    pub fn raw(&self, session: Session, samplers: Samplers) -> Raw {
        let parse_special = input::truth(self.parse_special);
        let as_chat = AsChat { sampler: samplers.chat, parse_special };
        Raw { session, sampler: samplers.raw, as_chat }
    }

    /// What the library is asked for.
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
        let kv = match known("kv", self.kv, [Kv::F16, Kv::F32, Kv::I8], |kv| kv as i32)? {
            Kv::F16 => KvType::F16,
            Kv::F32 => KvType::F32,
            Kv::I8 => KvType::I8,
        };
        let eviction =
            match known("policy", self.policy, [Policy::Drop, Policy::Thin], |p| p as i32)? {
                Policy::Drop => Eviction::Drop,
                Policy::Thin => Eviction::Thin,
            };
        let given = |tokens: u32| (tokens != 0).then_some(tokens as usize);
        let default = session::Options::default();
        Ok(session::Options { budget, kv, eviction, chunk: given(self.chunk), ..default })
    }
}

/// What is added to the logit of a token; minus infinity forbids it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bias {
    /// The token.
    pub token: u32,
    /// What is added.
    pub bias: f32,
}

/// A stage of the chain that tokens are chosen by.
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

/// How tokens are chosen; attamba_sampling_init or attamba_sampling_init_chat sets the defaults, and
/// every field counts as it stands. Fields that `struct_size` leaves out are off.
///
/// The stages run in the order of attamba_stage, which is that of llama.cpp, or as `stages` has them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sampling {
    /// sizeof(attamba_sampling).
    pub struct_size: u32,
    /// Recent tokens that the three penalties look at; 0 turns them off.
    pub repeat_last: u32,
    /// Seed of the draws; a seed means the same in every version.
    pub seed: u64,
    /// Logits of recent tokens are divided by it where positive, else multiplied; 1 is off.
    pub repeat_penalty: f32,
    /// Only the most likely are kept; 0 keeps all.
    pub top_k: u32,
    /// Only the most likely that together have this probability are kept; 1 keeps all.
    pub top_p: f32,
    /// Only those at least this many times as likely as the most likely are kept; 0 keeps all.
    pub min_p: f32,
    /// Logits are divided by it before the draw; 0 takes the most likely.
    pub temperature: f32,
    /// 0.
    pub reserved: u32,
    /// Added to logits before all else; read when the struct is handed over. NULL for none.
    pub bias: *const Bias,
    /// How many there are.
    pub bias_count: u64,
    /// Subtracted from the logit of a recent token for each of its occurrences; 0 is off.
    pub frequency_penalty: f32,
    /// Subtracted from the logit of a recent token; 0 is off.
    pub presence_penalty: f32,
    /// Only the most typical tokens that together have this probability are kept; 1 keeps all.
    pub typical_p: f32,
    /// How probable it is that XTC acts on a token; 0 is off.
    pub xtc_probability: f32,
    /// Of the tokens of at least this probability XTC keeps only the least likely; above 0.5 it is off.
    pub xtc_threshold: f32,
    /// DRY: a token that would make a repetition of n tokens longer loses
    /// `dry_multiplier * dry_base ^ (n - dry_allowed_length)` of its logit; 0 is off.
    pub dry_multiplier: f32,
    /// At least 1.
    pub dry_base: f32,
    /// Shorter repetitions are not looked at.
    pub dry_allowed_length: u32,
    /// How many tokens DRY looks for repetitions in; 0 turns it off.
    pub dry_penalty_last_n: u32,
    /// How many `stages` there are.
    pub stage_count: u32,
    /// Stages, each an attamba_stage, in the order in which they run; read when the struct is handed
    /// over. NULL for all of them in the order of their numbers.
    pub stages: *const i32,
    /// Texts that no repetition reaches across, UTF-8 with a zero byte behind; read when the struct is
    /// handed over. NULL for line end, colon, quote and asterisk. Special tokens always are such.
    pub dry_breakers: *const *const c_char,
    /// How many there are; 0 with a pointer for none.
    pub dry_breaker_count: u64,
}

// SAFETY: as above.
unsafe impl Versioned for Sampling {
    const DEFAULT: Sampling = Sampling {
        struct_size: size_of::<Sampling>() as u32,
        repeat_last: 64,
        seed: 0,
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
    };
}

impl Sampling {
    /// The defaults for a chat.
    const CHAT: Sampling =
        Sampling { dry_multiplier: 0.8, repeat_penalty: 1.05, ..Sampling::DEFAULT };

    /// Samplers of the caller's numbers, or of the defaults for null.
    ///
    /// # Safety
    /// `from` as in [`versioned::read`], and what it points to is null or as many as it says.
    pub unsafe fn samplers(from: *const Sampling, model: &Model) -> Result<Samplers> {
        if from.is_null() {
            let raw = Sampler::new(Options::default())?;
            let chat = match &model.language {
                Ok(language) => Sampler::new(Options::chat(language.tokenizer())?)?,
                // Such a model has no chats.
                Err(_) => raw.clone(),
            };
            return Ok(Samplers { raw, chat });
        }
        // SAFETY: as the caller guarantees.
        let sampler = unsafe { versioned::read(from)?.sampler(model) }?;
        Ok(Samplers { raw: sampler.clone(), chat: sampler })
    }

    /// # Safety
    /// What the struct points to is null or as many as it says.
    unsafe fn sampler(&self, model: &Model) -> Result<Sampler> {
        let length = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        // SAFETY: as the caller guarantees.
        let bias = unsafe { input::slice(self.bias, length(self.bias_count), "the bias") }?;
        let bias = bias.iter().map(|one| (one.token, one.bias)).collect();
        let mut options = self.options().with_bias(bias);
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
                let texts = unsafe { input::slice(self.dry_breakers, count, "dry_breakers") }?;
                // SAFETY: as above.
                let text = |&text: &*const c_char| unsafe { input::name(text, "a DRY breaker") };
                let texts = texts.iter().map(text).collect::<Result<Vec<_>>>()?;
                let texts: Vec<String> = texts.into_iter().flatten().collect();
                tokenizer.dry_breakers(&texts)?
            };
        }
        Ok(Sampler::new(options)?)
    }

    /// The numbers alone.
    fn options(&self) -> Options {
        Options::default()
            .with_repeat_penalty(self.repeat_penalty)
            .with_frequency_penalty(self.frequency_penalty)
            .with_presence_penalty(self.presence_penalty)
            .with_repeat_last(self.repeat_last as usize)
            .with_dry_multiplier(self.dry_multiplier)
            .with_dry_base(self.dry_base)
            .with_dry_allowed_length(self.dry_allowed_length as usize)
            .with_dry_penalty_last_n(self.dry_penalty_last_n as usize)
            .with_top_k(self.top_k as usize)
            .with_typical_p(self.typical_p)
            .with_top_p(self.top_p)
            .with_min_p(self.min_p)
            .with_xtc_probability(self.xtc_probability)
            .with_xtc_threshold(self.xtc_threshold)
            .with_temperature(self.temperature)
            .with_seed(self.seed)
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

/// Fills the fields of `sampling` but `struct_size`, which the caller has set, with the defaults for
/// raw text: temperature 0.8, the 40 most likely, top-p 0.95, min-p 0.05, no penalties, seed 0.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_sampling_init(sampling: *mut Sampling) -> Status {
    crate::guard::call(|| {
        // SAFETY: the caller's struct is as long as it says.
        unsafe { versioned::write(Sampling::DEFAULT, sampling) }
    })
}

/// The same with the defaults for a chat: those of attamba_sampling_init with DRY, of multiplier 0.8,
/// and a repetition penalty of 1.05, without which small models often end in a loop.
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

/// The constant that a caller's number stands for.
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
        input::truth(self.in_memory)
    }

    pub fn preloads(&self) -> bool {
        input::truth(self.preload)
    }

    /// What engine is wanted.
    ///
    /// # Safety
    /// `adapter` is null or points to bytes that end with a zero byte.
    pub unsafe fn wanted(&self) -> Result<Wanted> {
        let engine = match Engine::of(self.engine)? {
            Engine::Auto => Choice::Auto,
            Engine::Cpu => Choice::Cpu,
            Engine::Gpu => Choice::Gpu,
        };
        // SAFETY: as the caller guarantees.
        let adapter = unsafe { input::name(self.adapter, "the adapter") }?;
        Ok(Wanted { engine, adapter, threads: self.threads() })
    }

    pub fn threads(&self) -> Option<usize> {
        (self.threads != 0).then_some(self.threads as usize)
    }

    /// Tells how far loading has come.
    ///
    /// # Safety
    /// `progress` and its `progress_user` are the caller's, who waits for this call.
    pub unsafe fn report(&self, done: f32) -> Result<()> {
        let Some(progress) = self.progress else { return Ok(()) };
        // SAFETY: as the caller guarantees.
        let go_on = unsafe { progress(self.progress_user, done) };
        if input::truth(go_on) { Ok(()) } else { Err(runtime::Error::Cancelled.into()) }
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
        let source =
            runtime::text::TextSource { huggingface_json: Some(json), ..Default::default() };
        let tokenizer = runtime::text::Tokenizer::new(&source).expect("a tokenizer");
        let chat = Options::chat(&tokenizer).expect("defaults").with_dry_breakers(Vec::new());
        assert_eq!(Sampling::CHAT.options(), chat);
        let options = SessionOptions::DEFAULT.options().expect("the defaults make sense");
        assert_eq!(options, session::Options::default());
    }
}
