//! Options as C hands them in, and what they mean to the library.

use crate::error::{Failure, Result};
use crate::input;
use crate::status::Status;
use crate::versioned::{self, Versioned};
use runtime::engine::{Choice, KvType, Wanted};
use runtime::sample::Sampling as Sampler;
use runtime::session::{Budget as Bound, Eviction, Options};
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
    /// How tokens are chosen; NULL for the defaults of attamba_sampling_init.
    pub sampling: *const Sampling,
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
    };
}

impl SessionOptions {
    /// What the library is asked for.
    pub fn options(&self) -> Result<Options> {
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
        Ok(Options { budget, kv, eviction, chunk: given(self.chunk), ..Options::default() })
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

/// How tokens are chosen; attamba_sampling_init sets the defaults. The steps run in the order of the
/// fields from `repeat_penalty` on, and every field counts as it stands.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sampling {
    /// sizeof(attamba_sampling).
    pub struct_size: u32,
    /// Recent tokens that `repeat_penalty` looks at.
    pub repeat_last: u32,
    /// Seed of the draws; a seed means the same for ever.
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
    };
}

impl Sampling {
    /// A sampler of the caller's numbers.
    ///
    /// # Safety
    /// `from` as in [`versioned::read`], and its `bias` is null or points to as many as it says.
    pub unsafe fn sampler(from: *const Sampling) -> Result<runtime::sample::Sampler> {
        // SAFETY: as the caller guarantees, here and below.
        let numbers = unsafe { versioned::read(from) }?;
        let count = usize::try_from(numbers.bias_count).unwrap_or(usize::MAX);
        let bias = unsafe { input::slice(numbers.bias, count, "the bias") }?;
        let bias = bias.iter().map(|one| (one.token, one.bias)).collect();
        numbers.with(bias)
    }

    fn with(&self, bias: Vec<(u32, f32)>) -> Result<runtime::sample::Sampler> {
        let sampling = Sampler::default()
            .with_bias(bias)
            .with_repeat_penalty(self.repeat_penalty)
            .with_repeat_last(self.repeat_last as usize)
            .with_top_k(self.top_k as usize)
            .with_top_p(self.top_p)
            .with_min_p(self.min_p)
            .with_temperature(self.temperature)
            .with_seed(self.seed);
        Ok(runtime::sample::Sampler::new(sampling)?)
    }
}

/// Fills the fields of `sampling` but `struct_size`, which the caller has set, with the defaults:
/// temperature 0.8, the 40 most likely, top-p 0.95, min-p 0.05, no penalty, seed 0.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_sampling_init(sampling: *mut Sampling) -> Status {
    crate::guard::call(|| {
        // SAFETY: the caller's struct is as long as it says.
        unsafe { versioned::write(Sampling::DEFAULT, sampling) }
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
        let ours = Sampling::DEFAULT;
        let theirs = Sampler::default();
        assert_eq!(ours.repeat_penalty, theirs.repeat_penalty);
        assert_eq!(ours.repeat_last as usize, theirs.repeat_last);
        assert_eq!(ours.top_k as usize, theirs.top_k);
        assert_eq!(ours.top_p, theirs.top_p);
        assert_eq!(ours.min_p, theirs.min_p);
        assert_eq!(ours.temperature, theirs.temperature);
        assert_eq!(ours.seed, theirs.seed);
        let options = SessionOptions::DEFAULT.options().expect("the defaults make sense");
        assert_eq!(options, Options::default());
    }
}
