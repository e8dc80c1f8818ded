//! Options that several subcommands share, and opening what they name.

use crate::shown::lines;
pub use crate::shown::printable;
use anyhow::{Context, Result, anyhow, bail};
use attamba::gguf::Gguf;
use attamba::model::Model;
use attamba::text::Language;
use attamba::{Activations, Engine, EngineKind, EngineOptions};
use clap::{Args, ValueEnum};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::session_args::{Kv, MemoryArgs};
pub use attamba::memory::size;

/// The file of the bundled model, under `models/`.
const BUNDLED: &str = "attamba-stories.gguf";

/// Which engine to use.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EngineName {
    /// A hardware GPU if there is one, else the CPU.
    Auto,
    /// A GPU, or a software driver; an error if it can't be used.
    Gpu,
    /// The CPU.
    Cpu,
}

impl From<EngineName> for EngineKind {
    fn from(name: EngineName) -> EngineKind {
        match name {
            EngineName::Auto => EngineKind::Auto,
            EngineName::Gpu => EngineKind::Gpu,
            EngineName::Cpu => EngineKind::Cpu,
        }
    }
}

/// How activations are rounded.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Rounding {
    /// 14 bits: the logits are those of the weights in the file.
    Int14,
    /// 8 bits: faster, above all in prefill; logits of a 4-bit file are off by 3 %, as in llama.cpp, instead of 0.1 %.
    /// On a GPU with matrix units: half precision in prefill.
    Int8,
}

impl From<Rounding> for Activations {
    fn from(rounding: Rounding) -> Activations {
        match rounding {
            Rounding::Int14 => Activations::Int14,
            Rounding::Int8 => Activations::Int8,
        }
    }
}

/// Where to compute.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// Engine to use
    #[arg(long, value_enum, default_value = "auto", value_name = "NAME")]
    pub engine: EngineName,
    /// Use the GPU whose name contains NAME; `attamba adapters` lists them
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// Threads of the CPU engine [default: the performance cores]
    #[arg(long, short, value_name = "N", value_parser = crate::number::count)]
    pub threads: Option<usize>,
    /// How activations are rounded before they are multiplied with quantized weights
    #[arg(long, value_enum, default_value = "int14", value_name = "TYPE")]
    pub activations: Rounding,
}

impl EngineArgs {
    /// Starts the engine with an open model.
    pub fn start(&self, model: Arc<Model>) -> Result<Engine> {
        self.start_timed(model, false)
    }

    /// The same; if `timed`, a GPU times its kernels.
    pub fn start_timed(&self, model: Arc<Model>, timed: bool) -> Result<Engine> {
        let options = engine_options(self.threads)?.with_activations(self.activations.into());
        let mut options = with_kernel_times(options, timed);
        if let Some(adapter) = &self.adapter {
            options = options.with_adapter(adapter);
        }
        Ok(Engine::start(self.engine.into(), model, &options, &mut |_, _| true)?)
    }
}

/// The options of an engine, with those from the environment.
pub fn engine_options(threads: Option<usize>) -> Result<EngineOptions> {
    Ok(from_environment()?.with_threads(threads))
}

#[cfg(feature = "gpu")]
fn with_kernel_times(options: EngineOptions, yes: bool) -> EngineOptions {
    options.with_kernel_times(yes)
}

#[cfg(not(feature = "gpu"))]
fn with_kernel_times(options: EngineOptions, _: bool) -> EngineOptions {
    options
}

#[cfg(feature = "gpu")]
fn from_environment() -> Result<EngineOptions> {
    let words = std::env::var("ATTAMBA_KERNELS").unwrap_or_default();
    let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
    let options = EngineOptions::default().with_kernels(words).context("ATTAMBA_KERNELS")?;
    let checked = std::env::var_os("ATTAMBA_GPU_CHECKS").is_some_and(|value| value == "1");
    let options = options.with_bounds_checks(checked);
    let options = match std::env::var("ATTAMBA_BLOCK") {
        Ok(tokens) if !tokens.is_empty() => {
            with_block(options, &tokens).context("ATTAMBA_BLOCK")?
        }
        _ => options,
    };
    let named = std::env::var_os("ATTAMBA_CACHE").filter(|folder| !folder.is_empty());
    let folder = named.map(PathBuf::from).or_else(|| Some(dirs::cache_dir()?.join("attamba")));
    Ok(folder.into_iter().fold(options, EngineOptions::with_cache))
}

#[cfg(feature = "gpu")]
fn with_block(options: EngineOptions, tokens: &str) -> Result<EngineOptions> {
    let number = tokens.parse().with_context(|| format!("{tokens:?} is not a number of tokens"))?;
    Ok(options.with_block(number)?)
}

#[cfg(not(feature = "gpu"))]
fn from_environment() -> Result<EngineOptions> {
    Ok(EngineOptions::default())
}

/// The model.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// Model file [default: $ATTAMBA_MODEL, else the bundled model]
    #[arg(short, long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub file: FileArgs,
}

/// How a model file is read.
#[derive(Args, Clone, Copy, Debug)]
pub struct FileArgs {
    /// Read the model into memory instead of mapping its file, which must not be modified while it
    /// is mapped
    #[arg(long)]
    pub no_mmap: bool,
}

impl FileArgs {
    /// Opens the file at `path`.
    pub fn gguf(self, path: &Path) -> attamba::Result<Gguf> {
        match self.no_mmap {
            true => Gguf::read(path),
            // SAFETY: the help of the option tells the user what not to do to the file; this
            // program only ever replaces files as a whole.
            false => unsafe { Gguf::map(path) },
        }
    }

    /// Opens the model at `path`.
    pub fn model(self, path: &Path) -> attamba::Result<Model> {
        Model::from_gguf(self.gguf(path)?)
    }
}

impl ModelArgs {
    /// Opens the model.
    pub fn open(&self) -> Result<Arc<Model>> {
        Ok(Arc::new(self.file.model(&self.path()?)?))
    }

    /// The file to open.
    pub fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.model {
            return Ok(path.clone());
        }
        if let Some(path) = std::env::var_os("ATTAMBA_MODEL").filter(|path| !path.is_empty()) {
            return Ok(path.into());
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(BUNDLED);
        let program = std::env::current_exe().unwrap_or_default();
        let installed = program.join("../../share/attamba").join(BUNDLED);
        // Not one in the current folder, which may be anybody's.
        match [&installed, &source].into_iter().find(|p| p.is_file()) {
            Some(path) => Ok(path.clone()),
            None => bail!(
                "the bundled model is neither at {} nor at {}; name a model with -m",
                source.display(),
                installed.display()
            ),
        }
    }
}

/// The chat template.
#[derive(Args, Clone, Debug)]
pub struct TemplateArgs {
    /// Chat template in FILE instead of the one of the model
    #[arg(long, value_name = "FILE")]
    pub template: Option<String>,
}

impl TemplateArgs {
    /// The text side of `model`.
    pub fn language(&self, model: &Model) -> Result<Language> {
        match &self.template {
            None => Ok(Language::from_model(model)?),
            Some(file) => {
                Ok(Language::with_template(model, &read_text(file)?)
                    .with_context(|| file.clone())?)
            }
        }
    }
}

/// A number of bytes with an optional binary suffix, which may have decimals: `22.5M`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || (shift == 0 && whole != digits) {
        return Err("expected a number such as 4194304, 512K or 4.5M".to_owned());
    }
    let part: f64 = format!("0.{part}").parse().map_err(|_| "expected a number")?;
    let whole = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(1 << shift));
    let part = (part * (1u64 << shift) as f64) as u64;
    let bytes = whole.and_then(|whole| whole.checked_add(part));
    bytes.ok_or_else(|| "more bytes than any machine has".to_owned())
}

/// Token ids: `1,2,3`, or `@FILE` with such a list.
pub fn token_ids(text: &str) -> Result<Vec<u32>> {
    let list = match text.strip_prefix('@') {
        Some(path) => read_text(path)?,
        None => text.to_owned(),
    };
    let ids = list.split([',', ' ', '\n', '\r', '\t']).filter(|s| !s.is_empty());
    let id = |s: &str| {
        s.parse().map_err(|_| anyhow!("{s:?} is not a token id, a number from 0 to {}", u32::MAX))
    };
    ids.map(id).collect()
}

/// Bytes of a text or a line, at most: a device such as /dev/zero never ends.
pub const LONGEST_TEXT: u64 = 256 << 20;

/// The text of a file, or of standard input for `-`.
pub fn read_text(source: &str) -> Result<String> {
    match source {
        "-" => decode("standard input", &mut std::io::stdin().lock()),
        path => read_file(Path::new(path)),
    }
}

/// The text of a file.
pub fn read_file(path: &Path) -> Result<String> {
    let name = path.display().to_string();
    let mut file = File::open(path).with_context(|| name.clone())?;
    decode(&name, &mut file)
}

fn decode(name: &str, from: &mut dyn Read) -> Result<String> {
    let mut bytes = Vec::new();
    from.take(LONGEST_TEXT + 1).read_to_end(&mut bytes).with_context(|| name.to_owned())?;
    if bytes.len() as u64 > LONGEST_TEXT {
        bail!("{name} is longer than {}", size(LONGEST_TEXT));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        anyhow!("{name} is not UTF-8 text: the byte at {at} is out of place")
    })?;
    // Some editors begin a file with a byte order mark.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Refuses to write `output` where that would cost the user a file.
pub fn check_output(output: &Path, inputs: &[&Path], force: bool) -> Result<()> {
    let name = output.display();
    check_not_input(output, inputs)?;
    let Ok(found) = output.metadata() else { return Ok(()) };
    if !found.is_file() {
        bail!("{name} is not a regular file; name another file to write");
    }
    if !force {
        bail!("{name} already exists; use --force to replace it");
    }
    Ok(())
}

/// Refuses to write `output` where that is a directory or one of the inputs.
pub fn check_not_input(output: &Path, inputs: &[&Path]) -> Result<()> {
    let name = output.display();
    if output.file_name().is_none() || output.is_dir() {
        bail!("{name} is a directory; name the file to write");
    }
    if !output.exists() {
        return Ok(());
    }
    let whole = |path: &Path| path.canonicalize().with_context(|| path.display().to_string());
    for input in inputs {
        if whole(input)? == whole(output)? {
            bail!("{name} is the input; name another file to write");
        }
    }
    Ok(())
}

/// Writes lines to stderr. That nobody may be there to read them is not a failure.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", lines(&text.to_string()));
}

/// What to do about too little memory.
pub const NEEDS_LESS: &str =
    "; a smaller --budget, --ring, --horizon or --near needs less, and so do fewer --threads";

/// An error with its causes, on one line, and what to do about it.
pub fn sentence(e: &anyhow::Error) -> String {
    let advice = e.chain().filter_map(|cause| cause.downcast_ref()).find_map(|e| match e {
        attamba::Error::OutOfMemory { .. } => Some(NEEDS_LESS),
        attamba::Error::Template(_) => Some("; --template FILE takes another template"),
        _ => None,
    });
    printable(&format!("{e:#}")) + advice.unwrap_or_default()
}

/// Whether an error means that the reader went away.
pub fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The value of a key of a file, if it is a text.
pub fn text<'a>(gguf: &'a Gguf, key: &str) -> Option<&'a str> {
    gguf.get(key).and_then(|value| value.as_str())
}
