//! `attamba merge`: a model from its base and a training delta.

use crate::common::{self, FileArgs, size};
use anyhow::{Context, Result, bail};
use attamba::gguf::{Gguf, Tensor, Writer};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

const BASE_NAME: &str = "attamba.delta.base_name";
const BASE_SHA256: &str = "attamba.delta.base_sha256";

/// Combine a base model and a delta into a model
///
/// A delta contains the tensors in which a model differs from a public one, its base, and
/// identifies that file by name and SHA-256. OUT gets the delta's tensors and keys, and everything
/// in the base that the delta does not replace, byte for byte. OUT is written completely or not at
/// all.
///
/// Example: attamba merge base.gguf delta.gguf model.gguf
#[derive(clap::Args)]
pub struct Args {
    /// Model file that the delta belongs to
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// The delta
    #[arg(value_name = "DELTA")]
    delta: PathBuf,
    /// Model file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Take only those tensors of the delta that replace one of the base, and none of its keys: what
    /// training changed in the base, without what it added
    #[arg(long)]
    replace_only: bool,
    /// What the model is called (`general.name`) [default: the delta's name, with --replace-only the
    /// base's]
    #[arg(long)]
    name: Option<String>,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    file: FileArgs,
}

pub fn run(args: Args) -> Result<()> {
    common::check_output(&args.output, &[&args.base, &args.delta], args.force)?;
    let delta = args.file.gguf(&args.delta)?;
    let wanted = common::text(&delta, BASE_SHA256).with_context(|| {
        format!("{} is not a delta: it lacks the key {BASE_SHA256}", args.delta.display())
    })?;
    let found = sha256(&args.base)?;
    if wanted != found {
        bail!(
            "{} belongs to {}, whose SHA-256 is {}; that of {} is {found}",
            args.delta.display(),
            common::printable(common::text(&delta, BASE_NAME).unwrap_or("another file")),
            common::printable(wanted),
            args.base.display()
        );
    }
    let base = args.file.gguf(&args.base)?;
    write(&base, &delta, &args)?;
    let bytes = std::fs::metadata(&args.output).map_or(0, |m| m.len());
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {}", args.output.display(), size(bytes))?;
    Ok(out.flush()?)
}

fn write(base: &Gguf, delta: &Gguf, args: &Args) -> Result<()> {
    let replace_only = args.replace_only;
    let changed: HashSet<&str> = delta.tensors().map(Tensor::name).collect();
    let kept = base.tensors().filter(|t| !changed.contains(t.name()));
    let taken = delta.tensors().filter(|t| !replace_only || base.tensor(t.name()).is_some());
    let sources: Vec<Tensor> = kept.chain(taken).collect();

    let mut writer = Writer::default();
    if replace_only {
        writer.copy_metadata(base, |key| key != "general.file_type");
    } else {
        describe(&mut writer, base, delta);
    }
    if let Some(name) = &args.name {
        writer.set("general.name", name.as_str());
    }
    for &tensor in &sources {
        writer.tensor_like(tensor)?;
    }
    writer.write_file(&args.output, |index, sink| {
        sink.write_all(sources[index].data())?;
        sources[index].release();
        Ok(())
    })?;
    Ok(())
}

/// The keys of the whole.
fn describe(writer: &mut Writer, base: &Gguf, delta: &Gguf) {
    writer.copy_metadata(delta, |key| !key.starts_with("attamba.delta."));
    // What describes the base's own network does not apply to the whole, nor does the type of most
    // of its tensors; the delta's metadata takes precedence.
    let shape = format!("{}.", common::text(base, "general.architecture").unwrap_or("llama"));
    writer.copy_metadata(base, |key| {
        !key.starts_with(&shape) && key != "general.file_type" && delta.get(key).is_none()
    });
}

/// In hexadecimal.
fn sha256(path: &Path) -> Result<String> {
    let context = || path.display().to_string();
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).with_context(context)?);
    let mut hash = Sha256::new();
    loop {
        let part = file.fill_buf().with_context(context)?;
        if part.is_empty() {
            break;
        }
        hash.update(part);
        let length = part.len();
        file.consume(length);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
