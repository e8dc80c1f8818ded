//! Which engine runs a model.

use super::Engine;
#[cfg(feature = "gpu")]
use super::OrCpu;
use super::cpu::Cpu;
#[cfg(feature = "gpu")]
use super::gpu::{Adapter, BLOCKS, Driver, Gpu, may_be_there, variants};
use crate::error::{Error, Result};
use crate::model::Model;
#[cfg(feature = "gpu")]
use std::path::PathBuf;
use std::sync::Arc;

/// A kind of engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// [`Engine::auto`]
    #[default]
    Auto,
    /// [`Engine::gpu`]
    Gpu,
    /// [`Engine::cpu`]
    Cpu,
}

/// How activations are rounded before they are multiplied with quantized weights: on the CPU to blocks of
/// 32 integers with a scale. GPUs don't round them, unless that is allowed and pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activations {
    /// 14 bits, so that the logits are those of the weights in the file.
    #[default]
    Int14,
    /// 8 bits: faster, above all in prefill, with logits that are off by as much as those of other
    /// runtimes. `benches/README.md` has the figures. On a GPU with matrix units both factors of a prefill
    /// may be rounded to half precision, 11 bits.
    Int8,
}

/// How an engine is started: by default on the fastest GPU, and with as many threads as
/// [`default_threads`](crate::default_threads).
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    pub(super) adapter: Option<String>,
    pub(super) threads: Option<usize>,
    pub(super) activations: Activations,
    pub(super) batching: bool,
    #[cfg(feature = "gpu")]
    pub(super) kernel_times: bool,
    /// Variants of kernels whose names contain the most of these words are tried first.
    #[cfg(feature = "gpu")]
    pub(super) kernels: Vec<String>,
    #[cfg(feature = "gpu")]
    pub(super) cache: Option<PathBuf>,
    /// Maximum tokens per block on a GPU.
    #[cfg(feature = "gpu")]
    pub(super) block: Option<usize>,
    /// Whether the GPU's kernels check indices that are known to be in range.
    #[cfg(feature = "gpu")]
    pub(super) bounds_checks: bool,
}

impl EngineOptions {
    /// Part of the GPU's name, case-insensitive; a software driver that is named is used.
    #[must_use]
    pub fn with_adapter(mut self, name: impl Into<String>) -> EngineOptions {
        self.adapter = Some(name.into());
        self
    }

    /// Tries those variants of the GPU's kernels first whose names contain the most of `words`: to
    /// compare them, or to avoid a slow one. [`Adapter::validate`](crate::Adapter::validate) lists
    /// the names of those in use.
    ///
    /// # Errors
    /// [`Error::Argument`] for a word that no name contains; it lists those that could be meant.
    #[cfg(feature = "gpu")]
    pub fn with_kernels<S: Into<String>>(
        mut self,
        words: impl IntoIterator<Item = S>,
    ) -> Result<EngineOptions> {
        self.kernels = words.into_iter().map(Into::into).collect();
        if let Some((word, known)) = variants::unknown(&self.kernels) {
            let known = known.join(", ");
            return Err(Error::argument(
                format!("the word {word:?}"),
                format!("is in the name of no kernel: {known}"),
            ));
        }
        Ok(self)
    }

    /// With `yes`, a GPU tells how long each of its kernels takes
    /// ([`Engine::take_kernel_times`]), if its driver has timestamps. Each then runs in a pass of
    /// its own, and the host waits after every block, which takes longer. Off by default.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn with_kernel_times(mut self, yes: bool) -> EngineOptions {
        self.kernel_times = yes;
        self
    }

    /// Whether all of the GPU's kernels check their indices, which takes about twice the time: to find
    /// out whether a driver's failure is a kernel's. By default those that can be shown not to need
    /// it don't; debug builds always do.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn with_bounds_checks(mut self, checked: bool) -> EngineOptions {
        self.bounds_checks = checked;
        self
    }

    /// Keeps the GPU's compiled kernels in `folder`, which is created if needed, so that a later
    /// start takes less time. By default they are kept nowhere; drivers other than Vulkan's keep
    /// their own.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn with_cache(mut self, folder: impl Into<PathBuf>) -> EngineOptions {
        self.cache = Some(folder.into());
        self
    }

    /// The most tokens that a GPU processes at once, between 16 and 512: with more it is busier in
    /// prefill, a session takes more memory, and a cancel or a pause waits longer. Large models take
    /// fewer. By default 512 on a GPU with 3 GiB of memory of its own, as far as is known, else 128.
    ///
    /// # Errors
    /// [`Error::Argument`] for any other number.
    #[cfg(feature = "gpu")]
    pub fn with_block(mut self, tokens: usize) -> Result<EngineOptions> {
        if !BLOCKS.contains(&tokens) {
            let (least, most) = (BLOCKS.start(), BLOCKS.end());
            let problem = format!("must be between {least} and {most}, not {tokens}");
            return Err(Error::argument("the number of tokens in a block", problem));
        }
        self.block = Some(tokens);
        Ok(self)
    }

    /// Threads of the CPU engine, at least 1.
    #[must_use]
    pub fn with_threads(mut self, threads: impl Into<Option<usize>>) -> EngineOptions {
        self.threads = threads.into();
        self
    }

    /// How activations are rounded; on the CPU to 14 bits by default.
    #[must_use]
    pub fn with_activations(mut self, activations: Activations) -> EngineOptions {
        self.activations = activations;
        self
    }

    /// With `yes`, sessions of the CPU engine that generate on several threads at the same time
    /// decode together: the weights are read once for all of them. A session that generates may
    /// wait for others, for up to a quarter of the time that a token takes. The results are those of
    /// each session alone, up to rounding. Off by default.
    #[must_use]
    pub fn with_batching(mut self, yes: bool) -> EngineOptions {
        self.batching = yes;
        self
    }
}

impl Engine {
    /// Runs `model` on the CPU.
    ///
    /// # Errors
    /// [`Error::Argument`] if the number of threads is out of range.
    pub fn cpu(model: Arc<Model>, options: &EngineOptions) -> Result<Engine> {
        let engine = Engine::new(Cpu::new(model, options.threads, options.activations)?);
        Ok(if options.batching { engine.batching() } else { engine })
    }

    /// Runs `model` on a GPU, or on a software driver for one.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is none, or none of that name. If it fails validation that is
    /// an [`Error::Kernel`], which names adapter, driver and kernel. [`Error::GpuLimit`],
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`] and [`Error::Gpu`] of the device;
    /// [`Error::Unsupported`] for a model that only the CPU engine runs.
    pub fn gpu(model: Arc<Model>, options: &EngineOptions) -> Result<Engine> {
        Engine::start(EngineKind::Gpu, model, options, &mut |_, _| true)
    }

    /// Runs `model` on a GPU if there is one that computes correctly, else on the CPU, with a
    /// warning that says why. Software drivers for GPUs are skipped: the CPU engine is faster. If
    /// the GPU is lost later, the CPU takes over: a reset or a rewind moves a session to it, and a
    /// chat moves automatically.
    ///
    /// # Errors
    /// As [`Engine::cpu`].
    pub fn auto(model: Arc<Model>, options: &EngineOptions) -> Result<Engine> {
        Engine::start(EngineKind::Auto, model, options, &mut |_, _| true)
    }

    /// Starts an engine of any kind. While weights are uploaded to a GPU, `progress` gets the bytes
    /// uploaded so far and the total, every few megabytes, and returns whether to continue.
    ///
    /// # Errors
    /// Those of the kind, and [`Error::Cancelled`] if `progress` returns false.
    pub fn start(
        kind: EngineKind,
        model: Arc<Model>,
        options: &EngineOptions,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Engine> {
        let engine = match kind {
            EngineKind::Cpu => Engine::cpu(model, options)?,
            EngineKind::Gpu => on_gpu(model, options, progress)?,
            EngineKind::Auto => match on_gpu_if_real(&model, options, progress)? {
                Some(engine) => engine,
                None => Engine::cpu(model, options)?,
            },
        };
        log::info!("{}", engine.describe());
        Ok(engine)
    }
}

#[cfg(feature = "gpu")]
fn on_gpu(
    model: Arc<Model>,
    options: &EngineOptions,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Engine> {
    let adapter = Adapter::find(options.adapter.as_deref())?;
    Ok(Engine::new(Gpu::load(model, &Driver::open(&adapter, options)?, progress)?))
}

#[cfg(not(feature = "gpu"))]
fn on_gpu(_: Arc<Model>, _: &EngineOptions, _: &mut dyn FnMut(u64, u64) -> bool) -> Result<Engine> {
    Err(Error::no_adapter("this build", "has no GPU engine"))
}

#[cfg(feature = "gpu")]
fn on_gpu_if_real(
    model: &Arc<Model>,
    options: &EngineOptions,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<Engine>> {
    let named = options.adapter.as_deref();
    if named.is_none() && !may_be_there() {
        log::info!("there is no GPU; computing on the CPU");
        return Ok(None);
    }
    let adapter = match Adapter::find(named) {
        Ok(adapter) => adapter,
        Err(e) => {
            // A missing GPU is no news; a missing GPU that was named is.
            let level = if named.is_some() { log::Level::Warn } else { log::Level::Info };
            log::log!(level, "{e}; computing on the CPU");
            return Ok(None);
        }
    };
    if adapter.is_software() && named.is_none() {
        log::info!("{} is a software driver; computing on the CPU", adapter.describe());
        return Ok(None);
    }
    let started = Driver::open(&adapter, options)
        .and_then(|driver| Gpu::load(Arc::clone(model), &driver, progress));
    match started {
        Ok(engine) => Ok(Some(Engine::new(OrCpu::new(engine, options.clone())))),
        Err(e @ Error::Cancelled) => Err(e),
        Err(e) => {
            let adapter = adapter.describe();
            log::warn!("{adapter} can't be used: {e}; computing on the CPU");
            Ok(None)
        }
    }
}

#[cfg(not(feature = "gpu"))]
fn on_gpu_if_real(
    _: &Arc<Model>,
    _: &EngineOptions,
    _: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<Engine>> {
    Ok(None)
}
