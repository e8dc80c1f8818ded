//! `attamba adapters`: the GPUs of the machine, and whether they can be trusted.

use crate::common::{ModelArgs, engine_options, printable};
use anyhow::Result;
use attamba::Adapter;
use std::io::Write;
use std::sync::Arc;

/// List GPUs, their capabilities, and whether they compute correctly
///
/// Each kernel that the model needs is compiled and run on a small input, and the result is
/// validated against the CPU's. A variant that fails is replaced by the next one; a GPU that has
/// none left for some kernel is not used. The first adapter is the one that --engine gpu uses.
///
/// ATTAMBA_KERNELS=WORD,WORD in the environment moves the variants whose names contain most of
/// these words to the front, here and wherever a GPU is used: to compare them, or to avoid a slow
/// one. ATTAMBA_BLOCK=TOKENS is the most tokens that a GPU processes at once, 16 to 512.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Only adapters whose name contains NAME
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Also list variants of kernels, with the times of those that were measured
    #[arg(long, short)]
    verbose: bool,
}

pub fn run(args: Args) -> Result<()> {
    let wanted = args.adapter.unwrap_or_default().to_lowercase();
    let mut adapters = Adapter::all();
    adapters.retain(|adapter| adapter.name().to_lowercase().contains(&wanted));
    let mut out = std::io::stdout().lock();
    if adapters.is_empty() {
        // Reports which ones exist, or what to install.
        Adapter::find(Some(&wanted).filter(|name| !name.is_empty()).map(String::as_str))?;
        return Ok(());
    }
    let model = args.model.open()?;
    let options = engine_options(None)?;
    for adapter in adapters {
        writeln!(out, "{} ({})", printable(&adapter.describe()), adapter.kind())?;
        for (ability, value) in adapter.abilities() {
            writeln!(out, "  {ability}: {value}")?;
        }
        match adapter.validate(Arc::clone(&model), &options) {
            Ok(kernels) => {
                writeln!(out, "  validation: {} kernels passed", kernels.len())?;
                if args.verbose {
                    for (kernel, variant) in kernels {
                        writeln!(out, "    {kernel}: {variant}")?;
                    }
                }
            }
            Err(e) => writeln!(out, "  validation: failed, this adapter is not used: {e}")?,
        }
    }
    Ok(())
}
